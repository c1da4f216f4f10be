"""Content credentials (C2PA): a manifest, signed with a person's certificate, that says how a file was made.

Certificate and key are PEM files, whose paths `models.secrets.keys` reads from the environment or `.env`. Nothing is
asked of the network: no time stamp, no revocation list.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from models.errors import InputError
from models.origin.mark import PAINTED
from models.records import Record
from models.secrets.keys import Keys

if TYPE_CHECKING:
    from cryptography import x509

CERTIFICATE, KEY = "STORYBOARD_C2PA_CERT", "STORYBOARD_C2PA_KEY"
RECIPE_LABEL: Final = "io.github.aldar-kose-storyboard.recipe"
"""Label of the assertion that holds the recipe, in the reverse-domain form that the standard asks for."""
MODEL: Final = "c2pa.types.model"
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_SHORTEST_RSA = 2048
_PURPOSES = {"1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.311.76.59.1.9"}
"""emailProtection, documentSigning and C2PA's own, one of which the standard asks of a certificate."""
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


class Signing(NamedTuple):
    """What signs. Never printed: it holds the key."""

    algorithm: str
    chain: bytes
    """Certificates in PEM, the signer's first."""
    key: bytes
    """Key in PEM, as PKCS #8."""

    def __repr__(self) -> str:
        return f"Signing({self.algorithm})"


class Ingredient(Record):
    """Something that a file was made from."""

    title: str
    sha256: str
    """Its fingerprint in the recipe."""
    picture: str | None = None
    """Path of a picture, whose own manifest is taken over; None for weights."""


class Manifest(Record):
    """What is said of a file, and signed."""

    title: str
    """Its name."""
    version: str
    """Version of this project."""
    recipe: str
    """How it was made, in JSON. Signed as text, because c2pa takes a list of small numbers for bytes."""
    ingredients: tuple[Ingredient, ...] = ()
    action: str = "c2pa.created"
    source_type: str = PAINTED


def load_signing(keys: Keys) -> Signing | None:
    """Return what signs, or None where no certificate is set.

    Raises:
        InputError: one of the two is unset, can't be read, or signs nothing that is valid. The key is never shown.
    """
    certificate, key = keys.storyboard_c2pa_cert, keys.storyboard_c2pa_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        there, missing = (KEY, CERTIFICATE) if certificate is None else (CERTIFICATE, KEY)
        raise InputError(f"{there} is set, {missing} is not: set both, or neither")
    if "PRIVATE KEY" in key:
        raise InputError(
            f"{KEY} holds a key itself: write it to a file that only you can read, and set the file's path"
        )
    return _parsed(certificate, _bytes_of(CERTIFICATE, certificate), key, _bytes_of(KEY, key))


def find_signing_problem(keys: Keys) -> str | None:
    """Return one line on why nothing can be signed, or None; signs a tiny picture to see."""
    try:
        signing = load_signing(keys)
        if signing is not None:
            _try(signing, keys.storyboard_c2pa_cert or "")
    except InputError as error:
        return str(error)
    return None


def sign(data: bytes, kind: str, manifest: Manifest, signing: Signing) -> bytes:
    """Return the file with its manifest. Its bytes differ each time, since ECDSA's signatures do.

    Args:
        data: the file.
        kind: its media type: image/png or video/mp4.
        manifest: what is said of it.
        signing: what signs.

    Raises:
        InputError: the certificate or the file can't be used.
    """
    import c2pa

    about = c2pa.C2paSignerInfo(signing.algorithm, signing.chain, signing.key, None)
    signed = io.BytesIO()
    try:
        context = c2pa.Context.from_dict(_SETTINGS)
        with c2pa.Builder(_definition(manifest, kind), context=context) as builder:
            for each in manifest.ingredients:
                if each.picture is not None:
                    media = _media_type(each.picture)
                    told = _told_of(each) | {"format": media}
                    builder.add_ingredient(told, media, io.BytesIO(Path(each.picture).read_bytes()))
            with c2pa.Signer.from_info(about) as signer:
                builder.sign(signer, kind, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise InputError(f"{manifest.title} can't be signed with {CERTIFICATE}: {_one_line(error)}") from None
    return signed.getvalue()


def _definition(manifest: Manifest, kind: str) -> dict[str, Any]:
    created = {
        "action": manifest.action,
        "digitalSourceType": manifest.source_type,
        "softwareAgent": {"name": "aldar-kose-storyboard", "version": manifest.version},
        "parameters": {"ingredientIds": [_id_of(each) for each in manifest.ingredients]},
    }
    if not manifest.ingredients:
        del created["parameters"]
    weights = [each for each in manifest.ingredients if each.picture is None]
    return {
        "claim_generator_info": [{"name": "aldar-kose-storyboard", "version": manifest.version}],
        "title": manifest.title,
        "format": kind,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": RECIPE_LABEL, "data": {"json": manifest.recipe}},
        ],
        "ingredients": [
            _told_of(each) | {"format": "application/octet-stream", "data_types": [{"type": MODEL}]} for each in weights
        ],
    }


def _media_type(picture: str) -> str:
    from PIL import Image

    with Image.open(picture) as image:
        return Image.MIME[image.format or ""]


def _told_of(each: Ingredient) -> dict[str, Any]:
    return {"title": each.title, "relationship": "inputTo", "instance_id": _id_of(each)}


def _id_of(each: Ingredient) -> str:
    return f"sha256:{each.sha256}"


def _bytes_of(variable: str, path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"{variable} {path!r}: {(error.strerror or 'cannot be read').lower()}") from None


def _parsed(certificate: str, chain: bytes, key: str, secret: bytes) -> Signing:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise InputError(f"{CERTIFICATE} {certificate!r}: no certificate in PEM") from None
    try:
        private = serialization.load_pem_private_key(secret, password=None)
    except TypeError:
        raise InputError(f"{KEY} {key!r}: the key has a password; give one without") from None
    except Exception:  # of several kinds, and their messages may quote the file
        raise InputError(f"{KEY} {key!r}: no private key in PEM") from None
    algorithm = _algorithm_of(private)
    if algorithm is None:
        raise InputError(f"{KEY} {key!r}: a key on P-256, P-384, P-521 or Ed25519, or RSA of 2048 bits, is needed")
    if private.public_key() != certificates[0].public_key():
        raise InputError(f"{KEY} {key!r} is not the key of the first certificate in {CERTIFICATE} {certificate!r}")
    fault = next(_faults_of(certificates[0]), None)
    if fault is not None:
        raise InputError(f"{CERTIFICATE} {certificate!r}: {fault}")
    pem = serialization.Encoding.PEM
    plain = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Signing(algorithm, b"".join(each.public_bytes(pem) for each in certificates), plain)


def _algorithm_of(key: object) -> str | None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _SHORTEST_RSA:
        return "ps256"
    return "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else None


def _faults_of(certificate: x509.Certificate) -> Iterator[str]:
    """Yield what the standard (C2PA 2.2, section 14.5) asks of a signer's certificate and this one lacks."""
    from cryptography import x509

    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        yield f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        yield f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    extensions = certificate.extensions
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
        purposes = {each.dotted_string for each in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
    except x509.ExtensionNotFound as missing:
        yield f"the extension {missing.oid._name} is missing"
        return
    if not signs:
        yield "its keyUsage lacks digitalSignature"
    if not purposes & _PURPOSES:
        yield "its extendedKeyUsage holds neither emailProtection nor documentSigning"


def _try(signing: Signing, certificate: str) -> None:
    """Sign a tiny picture and read it back.

    Raises:
        InputError: a reader would refuse it for another reason than that it does not know the certificate's root.
    """
    import c2pa
    from PIL import Image

    def refuse(why: str) -> InputError:
        return InputError(f"{CERTIFICATE} {certificate!r}: {why}")

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    try:
        signed = sign(
            buffer.getvalue(), "image/png", Manifest(title="a tiny picture", version="0", recipe="{}"), signing
        )
        told = json.loads(
            c2pa.Reader("image/png", io.BytesIO(signed), context=c2pa.Context.from_dict(_SETTINGS)).json()
        )
    except c2pa.C2paError as error:
        raise refuse(_one_line(error)) from None
    faults = [each for each in told.get("validation_status", ()) if each["code"] != "signingCredential.untrusted"]
    if faults:
        raise refuse(f"{faults[0]['code']}: {faults[0].get('explanation', '')}")


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))
