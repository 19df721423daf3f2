"""`rlgpt keys` and `rlgpt dead`: who may join a run's bus, and the events its consumers gave up on."""

from __future__ import annotations

from typing import Annotated

import typer

from rlgpt.runtime.cli import Runs, Which, find_run, plain_errors

keys = typer.Typer(help="Keys of a run that was launched with --bus: who may join it from another machine.", no_args_is_help=True)
dead = typer.Typer(help="Events that a consumer gave up on, with the reason; they can be handed out again.", no_args_is_help=True)

Topics = Annotated[str, typer.Option(metavar="TOPICS", help="Topics, comma-separated: exact, `prefix.*` or `*`.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the key, and of the process that may use it.")]


@keys.command("list")
@plain_errors
def list_keys(which: Which = "latest", runs: Runs = None) -> None:
    """Every key that may join, with its names and topics."""
    from rlgpt.bus.security import grants

    run = find_run(which, runs)
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

    run = find_run(which, runs)
    path = make_client(run.keys, name, publish=publish.split(","), subscribe=subscribe.split(","), admin=admin)
    typer.echo(f"{path}\nthere: rlgpt attach AGENT --name {name} --keys {path.name} --bus {run.bind}")


@keys.command("revoke")
@plain_errors
def revoke_key(name: Name, which: Which = "latest", runs: Runs = None) -> None:
    """Take a key off the list; its connections end within a second."""
    from rlgpt.bus.security import revoke

    revoke(find_run(which, runs).keys, name)
    typer.echo(f"{name} may not join any more")


@dead.command("list")
@plain_errors
def list_dead(which: Which = "latest", runs: Runs = None) -> None:
    """What was given up in a run, running or finished."""
    from rlgpt.bus.journal import Journal
    from rlgpt.bus.messages import DeadLettered

    for seq, envelope in Journal.read(find_run(which, runs).journal):
        if envelope.type == DeadLettered.TYPE:
            letter = DeadLettered.model_validate(envelope.message())
            typer.echo(f"{seq:>6}  {letter.consumer}: event {letter.seq} ({letter.type}), {letter.attempts} attempts: {letter.reason}")


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
