"""The command line. Everything heavy is imported inside the commands, so that `rlgpt --help` answers at once.

Exit status: 0 target reached (or the command did what it should), 1 finished below the target, 2 the scenario or the command is not valid,
3 a budget was spent, 4 a process gave up, 130 interrupted.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlgpt.runtime.preflight import Described
    from rlgpt.runtime.run import RunFolder
    from rlgpt.runtime.scenario import Scenario

INVALID = 2

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
    from rlgpt.runtime import cli_card, cli_evaluate, cli_replay, cli_report, cli_study  # noqa: F401  their commands
    from rlgpt.runtime.cli_bus import compact, dead, keys
    from rlgpt.runtime.cli_host import host
    from rlgpt.runtime.cli_library import library
    from rlgpt.runtime.cli_starts import starts

    app.add_typer(keys, name="keys")
    app.add_typer(dead, name="dead")
    app.add_typer(starts, name="starts")
    app.add_typer(library, name="library")
    app.command("host")(host)
    app.command("compact")(compact)
    app()


def plain_errors(command: C) -> C:
    """Errors that a user can do something about are a few lines on stderr and exit status 2, without a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from rlgpt.agents.library import LibraryError
        from rlgpt.agents.llm.transcript import TranscriptError
        from rlgpt.bus.errors import BusError, JournalFailed
        from rlgpt.runtime.attach import CannotAttach
        from rlgpt.runtime.preflight import NotReady
        from rlgpt.runtime.prices import PricesInvalid
        from rlgpt.runtime.record import CannotRecord
        from rlgpt.runtime.run import RunFolderError
        from rlgpt.runtime.scenario import ScenarioInvalid
        from rlgpt.runtime.study import StudyInvalid

        try:
            return command(*args, **kwargs)
        except (
            *(ScenarioInvalid, PricesInvalid, NotReady, RunFolderError, CannotAttach),
            *(CannotRecord, JournalFailed, LibraryError, StudyInvalid, TranscriptError, BusError),
        ) as error:
            typer.echo(f"rlgpt: {error}", err=True)
            raise typer.Exit(INVALID) from None
        except BrokenPipeError:
            # `rlgpt tail | head`: the reader has seen enough. As any Unix tool ends then; what is left in the buffer goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run  # type: ignore[return-value]


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe or a file has no width; rich would fold tables at 80 columns.
    return console if console.is_terminal else Console(highlight=False, width=200)


def _ready(scenario: Scenario) -> Described:
    from rlgpt.runtime.preflight import check_environment, check_models

    check_models(scenario)
    described = check_environment(scenario.task)
    for warning in described.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return described


@app.command()
@plain_errors
def launch(
    scenario: ScenarioName,
    sets: Sets = None,
    runs: Runs = None,
    bus: Annotated[str | None, typer.Option("--bus", metavar="tcp://HOST:PORT", help="Let other machines attach, with keys.")] = None,
) -> None:
    """Run a scenario to its end, with a live view."""
    from rlgpt.runtime.launcher import prepare
    from rlgpt.runtime.run import runs_folder
    from rlgpt.runtime.scenario import load

    loaded = load(scenario, sets or ())
    described = _ready(loaded)
    run = prepare(loaded, runs_folder(runs), bus)
    _go(run, loaded, described)


@app.command()
@plain_errors
def resume(which: Which = "latest", runs: Runs = None) -> None:
    """Continue a run that was interrupted: nothing is asked twice, training goes on from its checkpoint."""
    from rlgpt.runtime.launcher import STATUS
    from rlgpt.runtime.report import summarize
    from rlgpt.runtime.scenario import Scenario, load

    run = find_run(which, runs)
    finished = summarize(run).story.state.finished
    if finished is not None:
        _close(run, STATUS[finished.outcome])
    loaded = load(str(run.scenario))
    recorded = run.recorded.read_bytes() if run.recorded.is_file() else None
    loaded = Scenario(loaded.task, loaded.source, transcript=recorded)
    _go(run, loaded, _ready(loaded))


@app.command()
@plain_errors
def check(scenario: ScenarioName, sets: Sets = None) -> None:
    """Tell what is wrong with a scenario, its models or its environment, before anything costs time."""
    from rlgpt.runtime.child import planners
    from rlgpt.runtime.scenario import load

    loaded = load(scenario, sets or ())
    card = _ready(loaded).card
    task = loaded.task
    names = sorted({task.llm.of(role).model for role in (*planners(task), "critic")})
    models = "none asked" if task.mode == "rl-only" else ", ".join(names)
    typer.echo(f"{loaded.source}: good. {task.mode}, {task.environment.id} ({card.kind} actions), models: {models}")


@app.command()
@plain_errors
def tail(
    which: Which = "latest",
    role: Annotated[list[str] | None, typer.Option("--role", help="Only this role or process (repeatable).")] = None,
    level: Annotated[str, typer.Option("--level", help="This level and worse: debug, info, warning, error, critical.")] = "debug",
    event: Annotated[list[str] | None, typer.Option("--event", help="Only this event; * stands for anything (repeatable).")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Not older than 30s, 10m, 2h, 1d, or than a time.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The raw lines, as written.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    runs: Runs = None,
) -> None:
    """The logs of all processes of a run as one stream."""
    from rlgpt.runtime import tail as tailing

    try:
        since_time = tailing.since(since) if since else None
        wanted = tailing.Filter(tuple(role or ()), level, tuple(event or ()), since_time)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run = find_run(which, runs)
    color = sys.stdout.isatty()
    for _, raw, fields in tailing.follow(run) if follow else tailing.history(run):
        if wanted.passes(fields):
            sys.stdout.write((raw if json else tailing.readable(fields, color=color)) + "\n")
            if follow:
                sys.stdout.flush()


@app.command("runs")
@plain_errors
def list_runs(runs: Runs = None) -> None:
    """All runs, the newest first."""
    from rich.table import Table

    from rlgpt.bus.errors import JournalFailed
    from rlgpt.runtime.report import summarize
    from rlgpt.runtime.run import listing, runs_folder
    from rlgpt.runtime.text import duration, percent

    found = listing(runs_folder(runs))
    if not found:
        typer.echo(f"no runs in {runs_folder(runs).absolute()}")
        return
    table = Table("run", "mode", "outcome", "success [95 %]", "wall time", box=None, pad_edge=False)
    for run in found:
        try:
            summary = summarize(run)
        except JournalFailed as error:
            table.add_row(run.name, "?", f"journal not readable: {error}")
            continue
        state = summary.story.state
        mode = state.task.mode if state.submitted else "?"
        table.add_row(run.name, mode, summary.outcome, percent(state.score), duration(summary.story.wall_s))
    _console().print(table)


@app.command()
@plain_errors
def compare(
    which: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs, in the order of the columns (default: all).")] = None,
    runs: Runs = None,
) -> None:
    """Runs side by side: success with its interval, environment steps, time, tokens, cost."""
    from rlgpt.runtime import report
    from rlgpt.runtime.run import RunFolderError, listing, runs_folder

    folder = runs_folder(runs)
    chosen = [find_run(name, runs) for name in which] if which else list(reversed(listing(folder)))
    if not chosen:
        raise RunFolderError(f"no runs in {folder.absolute()} to compare")
    _console().print(report.compare([report.summarize(run) for run in chosen]))


@app.command()
@plain_errors
def summary(which: Which = "latest", runs: Runs = None) -> None:
    """What a run came to."""
    run = find_run(which, runs)
    _summary(run)


@app.command()
@plain_errors
def attach(
    target: Annotated[str, typer.Argument(metavar="AGENT", help="file.py:Class, file.py:agent with --as, trainer, or rollout.")],
    run: Annotated[str, typer.Option("--run", help="A run's name, its folder, or `latest`.")] = "latest",
    name: Annotated[str | None, typer.Option("--name", help="Name of the process: `x-2` shares the work of `x`.")] = None,
    role: Annotated[str | None, typer.Option("--as", metavar="critic", help="file.py:agent, a plain AutoGen agent, is to review.")] = None,
    runs: Runs = None,
    bus: Annotated[str | None, typer.Option("--bus", metavar="tcp://HOST:PORT", help="Of a run on another machine; with --keys.")] = None,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="A key file made there with `rlgpt keys add`.")] = None,
) -> None:
    """Let an agent of your own, or one more built-in process, join a running run, here or on another machine."""
    from rlgpt.runtime.attach import attach as attach_to
    from rlgpt.runtime.run import RunFolder, runs_folder

    if (bus is None) != (keys is None):
        raise typer.BadParameter("--bus and --keys go together: the address of the other machine's run, and a key file made there")
    if bus and keys:
        if name is None:
            raise typer.BadParameter("--bus needs --name: a name the key was made for")
        raise typer.Exit(attach_to(RunFolder.remote(runs_folder(runs), bus, keys), target, name, role))
    raise typer.Exit(attach_to(find_run(run, runs), target, name, role))


@app.command()
@plain_errors
def transcript(
    which: Which = "latest",
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Show these questions whole; a part of the key will do.")] = None,
    runs: Runs = None,
) -> None:
    """What the models were asked in a run, and what they answered."""
    from rlgpt.agents.llm.transcript import read_folder, show, summary

    lines = read_folder(find_run(which, runs).transcript)
    if not lines:
        typer.echo("no model was asked in this run")
        return
    found = [line for line in lines if key is None or key in line.key]
    if not found:
        raise typer.BadParameter(f"no question's key contains {key!r}; there are: {', '.join(line.key for line in lines)}")
    for line in found:
        typer.echo(summary(line) if key is None else show(line))


@app.command()
@plain_errors
def record(
    which: Annotated[list[str], typer.Argument(metavar="RUN...", help="Further runs add answers, of other modes say.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the new scenario.")],
    runs: Runs = None,
) -> None:
    """Make a scenario that replays the model answers of a run, or of several, offline."""
    from rlgpt.runtime.record import record as write

    number = write([find_run(one, runs) for one in which], to)
    typer.echo(f"{number} answers in {to}; play them with: rlgpt launch {to}")


@app.command()
@plain_errors
def doctor(
    what: Annotated[str | None, typer.Argument(metavar="[minedojo]", help="Examine what this environment needs instead.")] = None,
    runs: Runs = None,
) -> None:
    """Examine this installation and this machine."""
    from rlgpt.runtime import doctor as installation
    from rlgpt.runtime import minedojo
    from rlgpt.runtime.run import runs_folder

    if what not in (None, minedojo.NAME):
        raise typer.BadParameter(f"{what!r} is nothing to examine; leave it out, or say {minedojo.NAME}")
    faults = 0
    for finding in minedojo.examine() if what else installation.examine(runs_folder(runs)):
        faults += finding.ok is False
        mark = {True: "ok  ", False: "BAD ", None: "    "}[finding.ok]
        typer.echo(f"{mark}{finding.what:<9} {finding.words}")
    raise typer.Exit(1 if faults else 0)


def find_run(which: str, runs: Path | None) -> RunFolder:
    from rlgpt.runtime.run import RunFolder, runs_folder

    return RunFolder.find(runs_folder(runs), which)


def _go(run: RunFolder, scenario: Scenario, described: Described) -> None:
    """Launch, then the summary; exits with the run's status."""
    from rlgpt.runtime.launcher import Launcher
    from rlgpt.runtime.view import LiveView, PlainView

    console = _console()
    view = LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)
    view.note(f"{run.name} in {run.path}")
    _close(run, Launcher(run, scenario, described.card, view).go())


def _close(run: RunFolder, status: int) -> None:
    _summary(run)
    raise typer.Exit(status)


def _summary(run: RunFolder) -> None:
    from rlgpt.runtime.report import next_steps, summarize, summary_lines

    found = summarize(run)
    program = _program()
    steps = (f"  {command.replace('rlgpt ', f'{program} ', 1)}" for command in next_steps(found))
    for line in ("", *summary_lines(found), "", "next:", *steps):
        typer.echo(line)


def _program() -> str:
    """What to type for `rlgpt`: its path, where the virtual environment is not activated."""
    called = Path(sys.argv[0])
    if shutil.which("rlgpt") or called.name != "rlgpt":
        return "rlgpt"
    return min(os.path.relpath(called), str(called.absolute()), key=len)
