"""`rlgpt report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlgpt.runtime.cli.command import Runs, Which, app, find_run, plain_errors


@app.command()
@plain_errors
def report(
    which: Which = "latest",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to write it (default: report.html in the run's folder).")
    ] = None,
    runs: Runs = None,
) -> None:
    """A run as one HTML file: outcome, plans with every attempt's code and review, curves, cost, failures, how to repeat it."""
    from rlgpt.runtime.html.page import page
    from rlgpt.runtime.report import summarize

    run = find_run(which, runs)
    file = to or run.path / "report.html"
    try:
        file.write_text(page(summarize(run)), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror or error}") from None
    typer.echo(str(file))
