"""Ed25519 signatures of bundles (RFC 8032, by the library `cryptography`), with keys that lie in files.

A signature is of bundle.json, which holds the sha256 of every other file. Public keys that this project
trusts lie in results-registry/keys/NAME.pem; adding one is a pull request that people review.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import read_json, write_json
from benchmark.exchange.bundle import RECORD, SIGNATURE, Bundle

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "ed25519"
MAKE_ONE = "Make one by `openssl genpkey -algorithm ed25519 -out key.pem`."


def sign(bundle: Bundle, key: Path) -> Path:
    """Write signature.json. Raises BenchError where the file holds no unencrypted Ed25519 private key."""
    private = _private(key)
    signature = base64.b64encode(private.sign((bundle.folder / RECORD).read_bytes())).decode()
    value = {"algorithm": ALGORITHM, "public_key": _text(private.public_key()), "signature": signature}
    write_json(bundle.folder / SIGNATURE, value)
    return bundle.folder / SIGNATURE


def signer(bundle: Bundle, trusted: Path) -> str | None:
    """Name of the trusted key that signed the bundle; None where it is not signed, or by an unknown key.

    Raises DataError where the signature is not of this bundle.json: then it was changed after signing.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    path = bundle.folder / SIGNATURE
    if not path.is_file():
        return None
    value = read_json(path)
    try:
        if value["algorithm"] != ALGORITHM or set(value) != {"algorithm", "public_key", "signature"}:
            raise ValueError
        raw = base64.b64decode(value["public_key"], validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(
            base64.b64decode(value["signature"], validate=True), (bundle.folder / RECORD).read_bytes()
        )
    except InvalidSignature:
        raise DataError(f"{path}: is not the signature of this {RECORD}. Sign the bundle again.") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: holds no Ed25519 signature. Sign the bundle by `bench sign`.") from None
    return next(
        (name for name, public in trusted_keys(trusted).items() if public == value["public_key"]), None
    )


def trusted_keys(folder: Path) -> dict[str, str]:
    """Name → public key of every NAME.pem of a folder. Raises DataError for a file that holds none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found = {}
    for path in sorted(folder.glob("*.pem")):
        try:
            public = load_pem_public_key(path.read_bytes())
        except Exception:
            public = None
        if not isinstance(public, Ed25519PublicKey):
            raise DataError(f"{path}: holds no Ed25519 public key. Write one by `openssl pkey -pubout`.")
        found[path.stem] = _text(public)
    return found


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not path.is_file():
        raise BenchError(f"--key {path}: no such file. {MAKE_ONE}")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except Exception:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BenchError(f"--key {path}: holds no Ed25519 private key without a password. {MAKE_ONE}")
    return key


def _text(public: Ed25519PublicKey) -> str:
    return base64.b64encode(public.public_bytes_raw()).decode()
