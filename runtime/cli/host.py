"""`rlgpt host`: serve an environment to runs on this machine or others, from an interpreter of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlgpt.runtime.cli.command import plain_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = "host-keys"
MINEDOJO = "hosted.minedojo:MineDojo"


@plain_errors
def host(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="A gymnasium or gym id, module:Id, module:factory, or minedojo.")],
    bind: Annotated[str, typer.Option("--bind", metavar="tcp://HOST:PORT", help="Where to listen.")] = "tcp://127.0.0.1:7711",
    slots: Annotated[int, typer.Option("--slots", min=1, help="Environments side by side, a process each.")] = 1,
    python: Annotated[str, typer.Option("--python", metavar="PATH", help="Interpreter of the environments (default: this one).")] = "",
    kwargs: Annotated[str, typer.Option("--kwargs", metavar="JSON", help="Passed to the environment.")] = "{}",
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="DIR", help=f"Folder of keys (default beyond this machine: {KEYS}).")
    ] = None,
    path: Annotated[list[Path] | None, typer.Option("--path", metavar="DIR", help="Folder to import from (repeatable).")] = None,
    setup: Annotated[bool, typer.Option("--setup", help="Only make the venv that `minedojo` runs in (--python: what from).")] = False,
) -> None:
    """Serve an environment that does not fit into the locked workers: an old gym, Java, sockets, another machine's hardware."""
    from rlgpt.envs.hosting import serve
    from rlgpt.envs.hosting.curve import needs_keys
    from rlgpt.envs.venvs import MADE, interpreter

    if setup:
        _set_up(environment, python)
        return
    if environment in MADE:
        environment, python = MINEDOJO, python or environment
    python = interpreter(python) if python else sys.executable
    try:
        arguments = json.loads(kwargs)
    except ValueError as error:
        raise typer.BadParameter(f"--kwargs {kwargs!r} is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise typer.BadParameter(f"--kwargs {kwargs!r} has to be a JSON object of arguments")
    folder = keys or (Path(KEYS) if needs_keys(bind) else None)
    reached = bind.replace("//*", "//THIS_MACHINE").replace("//0.0.0.0", "//THIS_MACHINE")
    lines = [f"in the scenario of a run that plays here: environment.id {environment}, environment.host.address {reached}"]
    if folder is not None:
        player = _player(folder)
        lines.append(f"and environment.host.keys: a copy of {player}, carried to its machine over a safe way")
    for line in lines:
        typer.echo(line)
    command = [environment, "--bind", bind, "--slots", str(slots), "--python", python, "--kwargs", json.dumps(arguments)]
    command += ["--keys", str(folder)] if folder is not None else []
    serve.main([*command, *_paths(path or [])])


def _set_up(environment: str, python: str) -> None:
    from rlgpt.runtime import minedojo

    if environment != minedojo.NAME:
        raise typer.BadParameter(f"--setup knows how to make a venv for {minedojo.NAME} alone, not for {environment!r}")
    try:
        made = minedojo.set_up(python or None, typer.echo)
    except minedojo.SetupFailed as failed:
        typer.echo(f"rlgpt: {failed}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"scenarios reach it as environment.host.python {environment} ({made}); what else is needed: rlgpt doctor {environment}")


def _player(folder: Path) -> Path:
    """The folder's keys, made if there are none, and the key file for players."""
    from rlgpt.bus.security import make_broker, make_client

    make_broker(folder)
    player = folder / "player.json"
    return player if player.exists() else make_client(folder, "player")


def _paths(folders: Sequence[Path]) -> list[str]:
    return [word for folder in folders for word in ("--path", str(folder))]
