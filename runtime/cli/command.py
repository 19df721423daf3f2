"""What every command shares: the application, common options, errors in plain words, and how a run is found."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlgpt.runtime.run import RunFolder

INVALID = 2
"""Exit status where the scenario, or the command, is not valid."""

app = typer.Typer(
    help="RL-GPT as independent processes on a message bus. Begin with: rlgpt launch mountain_car",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Which = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, its folder, or `latest`.")]
Runs = Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where runs lie (default: $RLGPT_RUNS, else ./runs).")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as trainer.env_steps=50000.")]
ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A bundled scenario's name, a YAML file, or a folder with one.")]

C = TypeVar("C", bound=Callable[..., Any])


def plain_errors(command: C) -> C:
    """Errors that a user can do something about are a few lines on stderr and exit status 2, without a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from rlgpt.bus.errors import Explained

        try:
            return command(*args, **kwargs)
        except Explained as error:
            typer.echo(f"rlgpt: {error}", err=True)
            raise typer.Exit(INVALID) from None
        except BrokenPipeError:
            # `rlgpt tail | head`: the reader has seen enough. As any Unix tool ends then; what is left in the buffer goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run  # type: ignore[return-value]


def find_run(which: str, runs: Path | None) -> RunFolder:
    from rlgpt.runtime.run import RunFolder, runs_folder

    return RunFolder.find(runs_folder(runs), which)


def console() -> Console:
    from rich.console import Console

    made = Console(highlight=False)
    # A pipe or a file has no width; rich would fold tables at 80 columns.
    return made if made.is_terminal else Console(highlight=False, width=200)
