"""The command line. Everything heavy is imported inside the commands, so that `rlgpt --help` answers at once.

Exit status: 0 target reached (or the command did what it should), 1 finished below the target, 2 the scenario or the command is not valid,
3 a budget was spent, 4 a process gave up or no plan led to a policy, 130 interrupted.
"""

from __future__ import annotations

from typing import Annotated

import typer

from rlgpt.runtime.cli import card, evaluate, look, replay, report, run, study  # noqa: F401  their commands
from rlgpt.runtime.cli.bus import compact, dead, keys
from rlgpt.runtime.cli.command import app
from rlgpt.runtime.cli.host import host
from rlgpt.runtime.cli.library import library
from rlgpt.runtime.cli.starts import starts

app.add_typer(keys, name="keys")
app.add_typer(dead, name="dead")
app.add_typer(starts, name="starts")
app.add_typer(library, name="library")
app.command("host")(host)
app.command("compact")(compact)

ORDER = (
    *("launch", "resume", "check", "attach"),
    *("tail", "runs", "summary", "compare", "report", "replay", "evaluate", "transcript"),
    *("record", "study", "card", "doctor", "host", "compact"),
)
"""Of the commands in `rlgpt --help`; groups of commands follow."""
app.registered_commands.sort(key=lambda command: ORDER.index(str(command.name or getattr(command.callback, "__name__", ""))))


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rlgpt {version('rlgpt')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """RL-GPT as independent processes on a message bus. Begin with: rlgpt launch mountain_car"""


def main() -> None:
    """The console script."""
    app()
