"""Commands that make a run go: launch, resume, check, attach."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlgpt.runtime.cli.command import Runs, ScenarioName, Sets, Which, app, console, find_run, plain_errors

if TYPE_CHECKING:
    from rlgpt.runtime.preflight import Described
    from rlgpt.runtime.run import RunFolder
    from rlgpt.runtime.scenario import Scenario


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
    from rlgpt.runtime.run import runs_folder, try_to_bind
    from rlgpt.runtime.scenario import load

    if bus is not None:
        try_to_bind(bus)
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
        typer.echo(f"{run.name} has ended; there is nothing to resume", err=True)
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


def _ready(scenario: Scenario) -> Described:
    from rlgpt.runtime.preflight import check_environment, check_models

    check_models(scenario)
    described = check_environment(scenario.task)
    for warning in described.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return described


def _go(run: RunFolder, scenario: Scenario, described: Described) -> None:
    """Launch, then the summary; exits with the run's status."""
    from rlgpt.runtime.launcher import Launcher
    from rlgpt.runtime.view import LiveView, PlainView

    screen = console()
    view = LiveView(screen, run.glimpses) if screen.is_terminal and not screen.is_dumb_terminal else PlainView(screen)
    view.note(f"{run.name} in {run.path}")
    _close(run, Launcher(run, scenario, described.card, view).go())


def _close(run: RunFolder, status: int) -> None:
    say_summary(run)
    raise typer.Exit(status)


def say_summary(run: RunFolder) -> None:
    """What the run came to, and what to type next."""
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
