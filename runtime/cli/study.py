"""`rlgpt study`: scenarios under several settings and seeds, and the table of what came out."""

from __future__ import annotations

import importlib.resources
import signal
from pathlib import Path
from typing import Annotated

import typer

from rlgpt.runtime.cli.command import Runs, app, plain_errors


@app.command()
@plain_errors
def study(
    which: Annotated[str, typer.Argument(metavar="STUDY", help="A bundled study's name (ablations), or a YAML file.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at a time; each is several processes.")] = 1,
    table: Annotated[bool, typer.Option("--table", help="Launch nothing; the table of what there is.")] = False,
    runs: Runs = None,
) -> None:
    """Run a matrix of scenarios, settings and seeds; an interrupted study goes on where it stopped. Writes table.md, .csv and .svg."""
    from rlgpt.runtime import study as studies
    from rlgpt.runtime import study_table
    from rlgpt.runtime.run import runs_folder

    path = _file(which)
    plan = studies.read(path)
    folder = runs_folder(runs) / f"study-{plan.name}"
    cells = studies.cells(plan, path.parent, folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the runs under way are ended, and resumed by the next call
    failures = [] if table else studies.carry_out(cells, jobs, typer.echo)
    folder.mkdir(parents=True, exist_ok=True)
    found = study_table.rows(cells)
    for name, text in (("table.md", study_table.markdown(found)), ("table.csv", study_table.comma_separated(found))):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "table.svg").write_text(study_table.picture(found), encoding="utf-8")
    typer.echo(f"\n{study_table.markdown(found)}\n{folder}")
    for failure in failures:
        typer.echo(f"rlgpt: {failure}", err=True)
    raise typer.Exit(1 if failures else 0)


def _file(which: str) -> Path:
    path = Path(which)
    if path.is_file():
        return path
    folder = Path(str(importlib.resources.files("rlgpt.scenarios") / "studies"))
    bundled = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if which not in bundled:
        raise typer.BadParameter(f"no such file, and no bundled study of this name ({', '.join(bundled)})")
    return bundled[which]
