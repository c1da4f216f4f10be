"""A certificate chain made on the spot, as C2PA asks for one: a root, and a signer below it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier


class Chain(NamedTuple):
    """The files of a signer, and what a reader must know to trust it."""

    certificate: Path
    key: Path
    root: str
    """The root's certificate in PEM."""

    def read(self, data: Path, *, trusted: bool = True) -> c2pa.Reader:
        """A reader that knows the root, or does not."""
        settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
        if trusted:
            settings["trust"] = {"trust_anchors": self.root}
        return c2pa.Reader(data, context=c2pa.Context.from_dict(settings))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def make_chain(
    folder: Path,
    *,
    days: tuple[int, int] = (-1, 30),
    purpose: ObjectIdentifier | None = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> Chain:
    """Write the signer's files into the folder.

    Args:
        folder: created if missing.
        days: from when until when the signer's certificate is valid, from today.
        purpose: its extended key usage; None: without the extension.
    """
    folder.mkdir(parents=True, exist_ok=True)
    of_root, of_signer = new_key(), new_key()
    root = _certificate("Root", of_root, "Root", of_root, (-2, 60))
    signer = _certificate("Signer", of_signer, "Root", of_root, days, purpose, is_root=False)
    certificate, key = folder / "chain.pem", folder / "key.pem"
    certificate.write_bytes(_pem(signer) + _pem(root))
    key.write_bytes(key_pem(of_signer))
    return Chain(certificate, key, _pem(root).decode())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Steppe"))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    days: tuple[int, int],
    purpose: ObjectIdentifier | None = None,
    *,
    is_root: bool = True,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
