"""`rlgpt starts`: saved states in which episodes begin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlgpt.runtime.cli.command import INVALID, Runs, ScenarioName, Sets, plain_errors

starts = typer.Typer(help="Start states: saved states in which a scenario's episodes begin.", no_args_is_help=True)

Where = Annotated[str, typer.Option("--where", metavar="EXPRESSION", help="The state to save: the first one after which this holds.")]
Episodes = Annotated[int, typer.Option(min=1, help="Episodes to play; each gives at most one state.")]
To = Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to write, such as dusk.starts.")]
Policy = Annotated[
    str | None, typer.Option("--policy", metavar="RUN|POLICY.pt", help="Who plays: a run's best policy (default: at random).")
]
SkillFile = Annotated[Path | None, typer.Option("--skill", metavar="FILE.py", help="Who plays: the skill that this file is named after.")]
FirstSeed = Annotated[int, typer.Option(min=0, help="Seed of the first episode; keep clear of evaluation.first_seed.")]
Snapshots = Annotated[bool, typer.Option("--snapshots", help="Save the environment's own snapshots, not seed and actions.")]


@starts.command()
@plain_errors
def make(
    scenario: ScenarioName,
    where: Where,
    to: To,
    episodes: Episodes = 100,
    policy: Policy = None,
    skill: SkillFile = None,
    first_seed: FirstSeed = 0,
    snapshots: Snapshots = False,
    sets: Sets = None,
    runs: Runs = None,
) -> None:
    """Play a scenario's environment and save the states in which an expression holds."""
    from rlgpt.agents.learning import start_states as making
    from rlgpt.bus.parts import Skill
    from rlgpt.envs import starts as files
    from rlgpt.runtime.cli.evaluate import from_file, from_run
    from rlgpt.runtime.scenario import load

    environment = load(scenario, sets or ()).task.environment
    if policy and skill:
        raise typer.BadParameter("--policy and --skill: one of them plays")
    try:
        plays = making.random_play(first_seed)
        if skill:
            plays = making.skill_play(Skill(name=skill.stem, source=skill.read_text(encoding="utf-8"), max_steps=making.EPISODE_STEPS))
        elif policy:
            _, request, weights = from_file(Path(policy)) if policy.endswith(".pt") else from_run(policy, runs)
            plays = making.policy_play(request, weights)
        found = making.collect(environment, where, plays, range(first_seed, first_seed + episodes), snapshots=snapshots)
        if not found.states:
            typer.echo(
                f"rlgpt: `{where}` held in none of {found.episodes} episodes ({found.steps:,} steps), so there is nothing to save", err=True
            )
            raise typer.Exit(INVALID)
        artifact = files.write(to, found.states)
    except OSError as error:
        raise typer.BadParameter(f"{error.filename or to}: {error.strerror or error}") from None
    except ValueError as error:
        typer.echo(f"rlgpt: {error}", err=True)
        raise typer.Exit(INVALID) from None
    typer.echo(f"{len(found.states)} states of {found.episodes} episodes ({found.steps:,} steps) in {to}, sha256 {artifact.sha256[:12]}")
    typer.echo(f"begin there: --set environment.starts={to}, or in the scenario `environment: {{starts: {to.name}}}`, beside it")
