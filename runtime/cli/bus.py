"""`rlgpt keys`, `dead` and `compact`: who may join a run's bus, the events its consumers gave up on, and its journal made small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlgpt.runtime.cli.command import Runs, Which, find_run, plain_errors

if TYPE_CHECKING:
    from rlgpt.runtime.run import RunFolder

keys = typer.Typer(help="Keys of a run that was launched with --bus: who may join it from another machine.", no_args_is_help=True)
dead = typer.Typer(help="Events that a consumer gave up on, with the reason; they can be handed out again.", no_args_is_help=True)

Topics = Annotated[str, typer.Option(metavar="TOPICS", help="Topics, comma-separated: exact, `prefix.*` or `*`.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the key, and of the process that may use it.")]


def _with_keys(which: str, runs: Path | None) -> RunFolder:
    from rlgpt.bus.errors import Refused

    run = find_run(which, runs)
    if not run.keys.is_dir():
        raise Refused(f"{run.name} was launched without --bus: only processes of this machine reach it, and they need no keys")
    return run


@keys.command("list")
@plain_errors
def list_keys(which: Which = "latest", runs: Runs = None) -> None:
    """Every key that may join, with its names and topics."""
    from rlgpt.bus.security import grants

    run = _with_keys(which, runs)
    for grant in grants(run.keys / "allowed.json"):
        rights = f"publishes {','.join(grant.publish)}  reads {','.join(grant.subscribe)}{'  admin' if grant.admin else ''}"
        typer.echo(f"{','.join(grant.names):<20} {grant.key}  {rights}")


@keys.command("add")
@plain_errors
def add_key(
    name: Name, which: Which = "latest", runs: Runs = None, publish: Topics = "*", subscribe: Topics = "*", admin: bool = False
) -> None:
    """Make a key for another machine's process. The file it names is a secret: carry it there over a safe way."""
    from rlgpt.bus.security import make_client

    run = _with_keys(which, runs)
    path = make_client(run.keys, name, publish=publish.split(","), subscribe=subscribe.split(","), admin=admin)
    typer.echo(f"{path}\nthere: rlgpt attach AGENT --name {name} --keys {path.name} --bus {run.bind}")


@keys.command("revoke")
@plain_errors
def revoke_key(name: Name, which: Which = "latest", runs: Runs = None) -> None:
    """Take a key off the list; its connections end within a second."""
    from rlgpt.bus.errors import Refused
    from rlgpt.bus.security import revoke
    from rlgpt.runtime.run import LOCAL

    run = _with_keys(which, runs)
    if not (run.keys / f"{name}.json").is_file() or name == LOCAL:
        raise Refused(f"{run.name} has no key {name!r} to revoke; `rlgpt keys list {run.name}` shows those it has")
    revoke(run.keys, name)
    typer.echo(f"{name} may not join any more")


@dead.command("list")
@plain_errors
def list_dead(which: Which = "latest", runs: Runs = None) -> None:
    """What was given up in a run, running or finished."""
    from rlgpt.bus.journal import Journal
    from rlgpt.bus.messages import DeadLettered

    found = False
    for seq, envelope in Journal.read(find_run(which, runs).journal):
        if envelope.type == DeadLettered.TYPE:
            found, letter = True, DeadLettered.model_validate(envelope.message())
            typer.echo(f"{seq:>6}  {letter.consumer}: event {letter.seq} ({letter.type}), {letter.attempts} attempts: {letter.reason}")
    if not found:
        typer.echo("none: no event was given up")


@dead.command("requeue")
@plain_errors
def requeue(
    consumer: Annotated[str, typer.Argument(help="Whose event it was.")],
    seq: Annotated[int, typer.Argument(help="Number of the event.")],
    which: Which = "latest",
    runs: Runs = None,
) -> None:
    """Hand an event out again, with all its attempts before it. The run has to be running."""
    from rlgpt.bus.client import BusClient
    from rlgpt.bus.security import ClientKeys

    run = find_run(which, runs)
    credentials = ClientKeys.load(run.credentials) if run.credentials else None
    bus = BusClient(run.address, "command-line", role="operator", credentials=credentials)
    try:
        bus.start()
        bus.requeue(consumer, seq)
    finally:
        bus.close()
    typer.echo(f"event {seq} is {consumer}'s again")


@plain_errors
def compact(which: Which = "latest", runs: Runs = None) -> None:
    """Make a finished run's journal smaller: nothing in it is lost, every command goes on reading it."""
    from rlgpt.bus.compaction import compact as shrink
    from rlgpt.runtime.run import RunFolderError
    from rlgpt.runtime.story import read

    run = find_run(which, runs)
    if run.running:
        raise RunFolderError(f"{run.name} is running; compact it when it has finished")
    if read(run).state.finished is None:
        raise RunFolderError(f"{run.name} has not finished; `rlgpt resume {run.name}` continues it, and writes to its journal")
    with run.locked():  # nobody resumes it meanwhile
        before = _bytes_on_disk(run)
        shrink(run.journal)
        after = _bytes_on_disk(run)
    typer.echo(f"{run.journal}: {before:,} bytes before, {after:,} after")


def _bytes_on_disk(run: RunFolder) -> int:
    """Of the journal with its write-ahead log, which a broker that was killed leaves behind."""
    files = (run.journal, run.journal.with_name(f"{run.journal.name}-wal"))
    return sum(path.stat().st_size for path in files if path.exists())
