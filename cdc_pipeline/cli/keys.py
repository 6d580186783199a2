"""`keys`: the masking key ring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.project import Project
from cdc_pipeline.transform import KeyRing

keys_app = typer.Typer(help="The masking key ring.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command()
def generate(
    file: Annotated[Path, typer.Argument(help="The new file; an existing one is never overwritten.")],
    as_json: JsonOption = False,
) -> int:
    """Makes a key ring with one active key, mode 0600. Keep a copy: without it nobody can join or reveal.

    Example: `cdc-pipeline keys generate keys.json`
    """
    out = output(as_json)
    for key in KeyRing.generate(file).listing():
        out.record({"file": str(file), **key})
        out.text(f"{file}: key {key['id']}, fingerprint {key['fingerprint']}")
    return 0


@keys_app.command("list")
def list_keys(
    file: Annotated[Path | None, typer.Argument(help="A key ring; default the configured one.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Lists keys with their fingerprints, never their secrets.

    Example: `cdc-pipeline keys list`
    """
    out = output(as_json)
    ring = KeyRing.load(file) if file is not None else Project.load(config_path(config)).policy.keyring
    if ring is None:
        raise ConfigurationError("expected a key ring, found none configured", key="masking.keys")
    rows = [(key["id"], key["status"], key["created_at"], key["fingerprint"]) for key in ring.listing()]
    for key in ring.listing():
        out.record(key)
    out.table("", ["id", "status", "created at", "fingerprint"], rows)
    return 0
