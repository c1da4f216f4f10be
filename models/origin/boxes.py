"""XMP in MP4: a box `uuid` at the file's top level (XMP specification, part 3, section 1.1.6)."""

from __future__ import annotations

import struct

from models.origin.mark import PAINTED, xmp_packet

XMP_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")


def xmp_box(source_type: str = PAINTED) -> bytes:
    """Return the whole box. FFmpeg's muxer writes none, so it is appended to the finished file."""
    packet = xmp_packet(source_type).encode()
    return struct.pack(">I4s", 8 + len(XMP_UUID) + len(packet), b"uuid") + XMP_UUID + packet
