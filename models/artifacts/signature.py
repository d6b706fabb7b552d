"""Signatures of artifacts: Ed25519 (RFC 8032) over the manifest's digest, which covers the digests of all files.

What can go wrong. The digests prove that the files belong together, but not who made them: whoever can write to the
folder can write other files with other digests. A signature needs a private key, which is stored elsewhere.

The signed bytes begin with CONTEXT, so that a signature made for another purpose is not valid for an artifact. The
signed digest is of the manifest's bytes at the time of signing. A manifest that a newer quantd would write differently
is not signed again (docs/decisions/011). A private key that others may read is refused, and a key file is never
overwritten.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantd.models.artifacts.folder import first_line, read_bytes
from quantd.models.artifacts.manifest import ArtifactError
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CONFIG, ExplainedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE: Final = "signature"
CONTEXT: Final = b"quantd artifact 1\n"
"""Prefix of the signed bytes, so that no other signature is valid for an artifact."""

KEY_BYTES: Final = 1 << 14
"""Maximum size of a key file."""


class KeyFault(ExplainedError, ValueError):
    """An invalid key file; the message names the file and the remedy."""

    exit_code = CONFIG


def generate(private: Path, public: Path) -> None:
    """Write new keys as PEM files, the private one readable by its owner only. Raises KeyFault for existing files."""
    from cryptography.hazmat.primitives import serialization

    public_key = new_key(private).public_key()
    pem = public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(public, pem, 0o644)


def new_key(private: Path) -> "Ed25519PrivateKey":
    """Make a private key, and write it as a PEM file of mode 600. Raises KeyFault for a file that exists."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(private, secret, 0o600)
    return key


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is new. Raises KeyFault if it cannot be made."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFault(f"{path}: there is a file already, and a key is never overwritten; name a new file") from None
    except OSError as error:
        raise KeyFault(f"{path}: {(error.strerror or str(error)).lower()}; name a file in a folder of yours") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def sign(folder: Path, digest: str, private: Path) -> Path:
    """Write the signature of the artifact in `folder`, whose manifest has `digest`. Returns the path of the signature.

    Raises KeyFault as `private_key`.
    """
    path = folder / SIGNATURE
    write_whole(path, f"{private_key(private).sign(CONTEXT + digest.encode()).hex()}\n".encode())
    return path


def private_key(private: Path) -> "Ed25519PrivateKey":
    """The private key in a PEM file.

    Raises KeyFault for a key that others may read, one with a passphrase, and one that is not Ed25519 in PEM.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if private.is_file() and private.stat().st_mode & 0o077:
        raise KeyFault(f"{private}: others may read this private key; chmod 600 {private}")
    try:
        key = load_pem_private_key(_bytes(private), None)  # None: no passphrase
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFault(f"{private}: no private key in PEM without a passphrase: {first_line(error)}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(f"{private}: a key of another kind; Ed25519 is expected (quantd models sign --new-key FILE)")
    return key


def signature_fault(folder: Path, digest: str, trusted: Sequence[Path]) -> str:
    """Return why no public key verifies the signature of `digest` in `folder`; empty when one does.

    Raises KeyFault for a trusted key that is not an Ed25519 public key in PEM.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys: list[Ed25519PublicKey] = []
    for path in trusted:
        try:
            key = load_pem_public_key(_bytes(path))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFault(f"{path}: no public key in PEM: {first_line(error)}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFault(f"{path}: a key of another kind; Ed25519 is expected (quantd models sign --new-key FILE)")
        keys.append(key)
    signature_path = folder / SIGNATURE
    if not signature_path.exists() and not signature_path.is_symlink():
        return f"{folder}: it is not signed; sign it (quantd models sign) or leave [models] trusted_keys empty"
    try:
        # a signature has 64 bytes, 128 hex digits: 200 leaves room for line ends
        signature = bytes.fromhex(read_bytes(signature_path, 200).decode("ascii").strip())
    except (ArtifactError, ValueError):
        return f"{signature_path}: it has no signature in it; sign the artifact again (quantd models sign)"
    for key in keys:
        try:
            key.verify(signature, CONTEXT + digest.encode())
        except InvalidSignature:
            continue
        return ""
    return f"{signature_path}: no trusted key made this signature of this artifact ({', '.join(map(str, trusted))})"


def artifacts_in(policy: object) -> Iterator[tuple[Path, str]]:
    """Yield (folder, digest) of each artifact that a policy loaded; an ensemble counts as one artifact."""
    artifacts = getattr(policy, "artifacts", None)
    if artifacts is not None:
        yield from ((artifact.folder, artifact.manifest.digest) for artifact in artifacts)


def _bytes(path: Path) -> bytes:
    """Return the content of a key file. Raises KeyFault for a file that is too large or cannot be read."""
    try:
        if path.stat().st_size > KEY_BYTES:
            raise KeyFault(f"{path}: {path.stat().st_size} bytes are too many for a key; name the file of a key")
        return path.read_bytes()
    except OSError as error:
        raise KeyFault(f"{path}: {(error.strerror or str(error)).lower()}") from None
