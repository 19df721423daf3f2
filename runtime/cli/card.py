"""`rlgpt card`: what language models are told of an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlgpt.runtime.cli.command import Sets, app, plain_errors


@app.command()
@plain_errors
def card(
    which: Annotated[str, typer.Argument(metavar="ENV|SCENARIO", help="An environment's id, a bundled scenario, a YAML file or a folder.")],
    sets: Sets = None,
) -> None:
    """Print the card of an environment: all that language models are told of it."""
    from rlgpt.agents.prompts import tokens
    from rlgpt.runtime.preflight import check_environment
    from rlgpt.runtime.scenario import bundled, load, parse

    if Path(which).exists() or which in bundled() or which.endswith((".yaml", ".yml")):
        task = load(which, sets or ()).task
    else:
        # No scenario, hence no task: what stands for it is said to.
        text = f"{{name: card, goal: (the task in a sentence), success: terminated, environment: {{id: {which!r}}}}}"
        task = parse(text, which, sets or ())
    described = check_environment(task)
    for warning in described.warnings:
        typer.echo(f"warning: {warning}", err=True)
    text = described.card.text
    typer.echo(text.rstrip())
    words = task.environment.card or "drawn from its spaces"
    size = f"about {tokens(text):,} tokens ({len(text):,} characters, at four a token)"
    typer.echo(f"\nrlgpt: {words}, text {described.card.version}: {size}, in every question to a model", err=True)
