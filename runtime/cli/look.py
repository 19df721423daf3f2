"""Commands that look at runs, and at this machine: tail, runs, compare, summary, transcript, record, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rlgpt.runtime.cli.command import Runs, Which, app, console, find_run, plain_errors
from rlgpt.runtime.cli.run import say_summary


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
    console().print(table)


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
    console().print(report.compare([report.summarize(run) for run in chosen]))


@app.command()
@plain_errors
def summary(which: Which = "latest", runs: Runs = None) -> None:
    """What a run came to."""
    run = find_run(which, runs)
    say_summary(run)


@app.command()
@plain_errors
def transcript(
    which: Which = "latest",
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Show these questions whole; a part of the key will do.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Only questions with this text in them or their answers.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Export them, whole: .md as Markdown, .jsonl as JSON lines.")
    ] = None,
    runs: Runs = None,
) -> None:
    """What the models were asked in a run, and what they answered."""
    from rlgpt.agents.llm.transcript import TranscriptError, export, holding, read_folder, show, summary

    lines = read_folder(find_run(which, runs).transcript)
    if not lines:
        typer.echo("no model was asked in this run")
        return
    found = [line for line in lines if key is None or key in line.key]
    if not found:
        raise typer.BadParameter(f"no question's key contains {key!r}; there are: {', '.join(line.key for line in lines)}")
    found = [line for line in found if search is None or holding(line, search)]
    if not found:
        raise TranscriptError(f"none of the {len(lines)} questions and answers contains {search!r}")
    if to is not None:
        export(found, to)
        typer.echo(f"{to}: {len(found)} questions with their answers")
        return
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
