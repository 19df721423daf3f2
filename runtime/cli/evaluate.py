"""`rlgpt evaluate`: a run's policy, or a policy file, on further seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rlgpt.bus.errors import Explained
from rlgpt.runtime.cli.command import Runs, app, find_run, plain_errors

if TYPE_CHECKING:
    from rlgpt.agents.learning.again import Again
    from rlgpt.bus.messages import TrainingRequested

Subject = Annotated[str, typer.Argument(metavar="RUN|POLICY.pt", help="A run's name, its folder, `latest`, or a policy file.")]
Episodes = Annotated[int | None, typer.Option(min=1, help="How many (default: as many as the scenario's evaluation had).")]
FirstSeed = Annotated[
    int | None, typer.Option(min=0, help="The first of the seeds (default: the one after those of the run's evaluation).")
]
Actions = Annotated[Literal["sampled", "greedy"] | None, typer.Option(help="How choices are made (default: as the scenario says).")]


class CannotEvaluate(Explained):
    """There is no policy to score; the text says why."""


@app.command()
@plain_errors
def evaluate(
    which: Subject = "latest", episodes: Episodes = None, first_seed: FirstSeed = None, actions: Actions = None, runs: Runs = None
) -> None:
    """Score a finished run's best policy, or a policy file, on further held-out seeds, with the 95 % interval. Nothing is learned."""
    from rlgpt.agents.learning.again import again

    _log_to_stderr()
    name, request, weights = from_file(Path(which)) if which.endswith(".pt") else from_run(which, runs)
    asked = _with(request, episodes, first_seed, actions)
    typer.echo(f"{name}: playing up to {asked.evaluation.episodes} episodes of {asked.environment.id} ...", err=True)
    found = again(asked, weights)
    for line in words(asked, request, found):
        typer.echo(line)


def _log_to_stderr() -> None:
    """What goes wrong on the way is told beside the figures, not among them."""
    import logging

    import structlog

    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr), wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )


def words(asked: TrainingRequested, learned: TrainingRequested, found: Again) -> list[str]:
    """What was found, and what was done to find it. `learned` is the request as the run had it."""
    score = found.score
    seeds = f"seeds {score.first_seed:,} to {score.first_seed + score.episodes - 1:,}"
    if asked.environment.starts:
        seeds = f"{score.episodes} start states, each once"
    lines = [
        f"{score.successes} of {score.episodes} episodes succeeded: {100 * score.rate:.1f} % "
        f"(95 % interval {100 * score.low:.1f} to {100 * score.high:.1f} %), {seeds}",
        f"mean return {score.mean_return:.6g}, mean length {score.mean_steps:.6g} environment steps",
    ]
    if score.actions == "code":
        lines.append("played by code alone, with what it reads of observations and infos; nothing was learned")
    else:
        how = "sampled from the policy" if score.actions == "sampled" else "greedy: the likeliest one each time"
        lines.append(f"choices {how}; the policy sees {found.sees}, and skills whatever their code reads")
        if score.actions != learned.evaluation.actions:
            lines.append(
                f"the scenario had fixed {learned.evaluation.actions} actions beforehand; this is another figure than the run's own"
            )
    lines.append(
        {
            True: "every episode was replayed from its seed and actions in a clean worker, and all agreed",
            False: "replayed from seed and actions in a clean worker, some episodes did NOT agree; those count as failures",
            None: "not verified by replay: the environment is declared not deterministic",
        }[score.verified]
    )
    own, again = _seeds(learned), range(score.first_seed, score.first_seed + score.episodes)
    shared = len(range(max(own.start, again.start), min(own.stop, again.stop)))
    if shared and not asked.environment.starts:
        lines.append(f"{shared} of these seeds were the run's own evaluation: this is no independent figure")
    if len(score.usage) > 1:
        shares = sorted(score.usage.items(), key=lambda item: -item[1])
        lines.append("choices: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares))
    return lines


def _seeds(request: TrainingRequested) -> range:
    return range(request.evaluation.first_seed, request.evaluation.first_seed + request.evaluation.episodes)


def _with(request: TrainingRequested, episodes: int | None, first_seed: int | None, actions: Any) -> TrainingRequested:
    if request.environment.starts and first_seed is not None:
        raise CannotEvaluate("its episodes begin in start states, each of which is played once: --first-seed says nothing here")
    changes = {
        "episodes": episodes or request.evaluation.episodes,
        "first_seed": _seeds(request).stop if first_seed is None else first_seed,
        "actions": actions or request.evaluation.actions,
    }
    if request.controller and actions:
        raise CannotEvaluate("this is played by code alone: --actions says nothing here")
    return request.model_copy(update={"evaluation": request.evaluation.model_copy(update=changes)})


def from_file(path: Path, sha256: str | None = None) -> tuple[str, TrainingRequested, Any]:
    import pickle

    from rlgpt.agents.learning.policy import read_policy

    try:
        request, weights = read_policy(path.read_bytes(), sha256)
    except OSError as error:
        raise CannotEvaluate(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise CannotEvaluate(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
    return str(path), request, weights


def from_run(which: str, runs: Path | None) -> tuple[str, TrainingRequested, Any]:
    from urllib.parse import unquote, urlsplit

    from rlgpt.agents.trainer import place_of
    from rlgpt.runtime.story import read

    run = find_run(which, runs)
    state = read(run).state
    plan = state.plans.get(state.best) if state.best is not None else None
    best = plan.best_training if plan else None
    if plan is None or best is None or best.result is None:
        raise CannotEvaluate(f"{run.name} has no scored policy (yet); `rlgpt report` says how far it got")
    name = f"{run.name}, plan {plan.number}" + (f", seed {best.request.seed}" if len(plan.trainings) > 1 else "")
    policy = best.result.policy
    if policy is None:
        return name, best.request, None
    path = Path(unquote(urlsplit(policy.uri).path))
    if not path.exists():  # the folder was moved since
        path = run.checkpoints / place_of(best.request, len(plan.trainings)) / path.name
    _, request, weights = from_file(path, policy.sha256)
    return name, request, weights
