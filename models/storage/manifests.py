"""The manifest of a publication: `manifest.json`, which promises the sha256 and size of every other file."""

from __future__ import annotations

from pydantic import BaseModel

MANIFEST = "manifest.json"
EARLIER = "an earlier publication is there; choose another --name, or let this one take its place with --replace"
"""Why nothing is published over other weights, in a folder or in S3."""


class ManifestEntry(BaseModel):
    """The publisher's checksum and size of one file."""

    sha256: str
    size: int


class Manifest(BaseModel):
    """The checksums that the publisher computed before sending the files."""

    files: dict[str, ManifestEntry]
