"""`rlgpt library`: what earlier runs left there, to look at, take away or delete. Nothing of it is executed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlgpt.runtime.cli.command import plain_errors

if TYPE_CHECKING:
    from rlgpt.agents.library import About, Library

library = typer.Typer(help="Skills and policies kept by runs with library.add, for those with library.use.", no_args_is_help=True)

Folder = Annotated[
    str | None, typer.Option("--folder", metavar="DIR", help="The library (default: $RLGPT_LIBRARY, else ~/.local/share/rlgpt/library).")
]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `rlgpt library list` shows it.")]


def _library(folder: str | None) -> Library:
    from rlgpt.agents.library import Library, place

    return Library(place(folder))


@library.command("list")
@plain_errors
def list_entries(
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", help="Only entries with all of these words.")] = None,
    folder: Folder = None,
) -> None:
    """Every entry: its environment, how often it was tried, what it is for."""
    from rlgpt.runtime.text import short

    found, wanted = _library(folder), [word.lower() for word in words or ()]
    shown = 0
    for entry in found.entries():
        about = entry.about
        text = f"{entry.id} {about.kind} {about.environment.id} {about.purpose} {about.goal} {about.success}".lower()
        if all(word in text for word in wanted):
            shown += 1
            typer.echo(f"{entry.id:<36} {about.environment.id:<28} {_tried(about):<24} {short(about.purpose, 100)}")
    if not shown:
        with_words = f" with {' '.join(wanted)}" if wanted else ""
        typer.echo(f"nothing{with_words} in {found.folder}; runs with --set library.add=true keep their skills there")


@library.command("show")
@plain_errors
def show_entry(entry_id: Id, folder: Folder = None) -> None:
    """One entry whole: what it is for, every trial, where it comes from, and its source."""
    from rlgpt.runtime.text import printable

    entry = _library(folder).find(entry_id)
    about = entry.about
    facts = {
        "kind": about.kind,
        "purpose": about.purpose,
        "task": about.goal,
        "success": about.success,
        "environment": f"{about.environment.id} {about.environment.kwargs or ''}".strip(),
        "card": f"{about.card.version} ({about.card.kind})",
        "steps": f"at most {about.max_steps:,} a call" if about.max_steps else "",
        "calls": ", ".join(about.needs),
        "folder": str(entry.path),
    }
    for title, words in facts.items():
        if words:
            typer.echo(f"{title:<12}{printable(words)}")
    for trial in about.trials:
        where = f"plan {trial.plan}, attempt {trial.attempt}" if trial.attempt else f"plan {trial.plan}, evaluation"
        by = f", by {trial.model}" if trial.model else ""
        line = f"{trial.successes} of {trial.episodes} episodes in {trial.run} ({trial.scenario}, {where}{by}) on {trial.date[:10]}"
        typer.echo(f"{'tried':<12}{printable(line)}")
    if entry.source:
        typer.echo("\n" + "\n".join(_line(line) for line in entry.source.rstrip().splitlines()))


@library.command("remove")
@plain_errors
def remove_entry(entry_id: Id, folder: Folder = None) -> None:
    """Delete an entry."""
    typer.echo(f"removed {_library(folder).remove(entry_id)}")


@library.command("export")
@plain_errors
def export_entry(entry_id: Id, to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where to.")], folder: Folder = None) -> None:
    """Copy an entry's folder."""
    typer.echo(str(_library(folder).export(entry_id, to)))


def _tried(about: About) -> str:
    successes, episodes = (sum(getattr(trial, name) for trial in about.trials) for name in ("successes", "episodes"))
    return f"{about.kind}, {successes} of {episodes}"


def _line(text: str) -> str:
    """A line of source, its indentation kept, without what would command the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text.expandtabs(4))
