"""`bench sign`: vouch for a bundle with an Ed25519 key, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench sign bundle --key key.pem"


def command(
    bundle: Annotated[Path, typer.Argument(help="A folder that `bench export` wrote.")],
    key: Annotated[Path, typer.Option(help="Ed25519 private key in PEM, without a password.")],
    as_json: JsonOption = False,
) -> None:
    """Sign a bundle, so that a site whose data may not leave it can vouch for its numbers.

    `openssl genpkey -algorithm ed25519 -out key.pem` makes a key, `openssl pkey -in key.pem -pubout` its
    public half, which goes to results-registry/keys/NAME.pem by a pull request. Nothing is sent anywhere.
    """
    from benchmark.exchange.bundle import read_bundle
    from benchmark.exchange.signing import sign

    path = sign(read_bundle(bundle), key)
    emit({"signature": str(path)}, f"{path}", as_json)
