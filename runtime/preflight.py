"""Everything that can be known to be wrong before a run costs time: models, keys, recorded answers, the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from pydantic import ValidationError

from rlgpt.agents.llm.prices import price_of
from rlgpt.agents.llm.providers import RECORDED, problem_with
from rlgpt.bus.errors import Explained
from rlgpt.bus.parts import Card
from rlgpt.bus.task import Task
from rlgpt.runtime.child import Spec, inherited, planners
from rlgpt.runtime.prices import user_file
from rlgpt.runtime.scenario import TRANSCRIPT, Scenario

DESCRIBE_S = 320.0  # of an environment that is not hosted


class NotReady(Explained):
    """The run cannot start as it is; a line a reason, each with what to do."""


@dataclass(frozen=True)
class Described:
    """What a worker found: the card for the models, and the environment's warnings."""

    card: Card
    warnings: tuple[str, ...] = ()


def check_models(scenario: Scenario) -> None:
    """Raises NotReady if a role's model cannot be asked: no key, no package, or no recorded answers. Asks nobody."""
    if scenario.task.mode == "rl-only":
        return
    reasons = []
    models = {role: scenario.task.llm.of(role) for role in (*planners(scenario.task), "critic")}
    if scenario.transcript is None and any(model.model == RECORDED for model in models.values()):
        reasons.append(
            f"llm.model is {RECORDED!r}, but {scenario.source} has no {TRANSCRIPT} beside it. Name a model (--set llm.model=NAME, with "
            f"--set llm.base_url=URL for an OpenAI-compatible endpoint), or make one with: rlgpt record RUN --to FOLDER"
        )
    found = {role: problem.reason for role, model in models.items() if (problem := problem_with(model))}
    for reason in dict.fromkeys(found.values()):
        roles = [role for role, words in found.items() if words == reason]
        reasons.append(reason if len(roles) == len(models) else f"{', '.join(roles)}: {reason}")
    reasons += _unpriced(scenario.task)
    if reasons:
        raise NotReady("\n".join(reasons))


def _unpriced(task: Task) -> list[str]:
    """Models whose price nobody knows, where a budget in money would never be noticed to be spent."""
    budgets = task.budgets
    asking = (*planners(task), "critic")
    roles = [role for role in asking if budgets.usd or any(own.usd for name, own in budgets.roles.items() if name == role)]
    unknown = dict.fromkeys(model.model for model in map(task.llm.of, roles) if problem_with(model) is None and price_of(model)[0] is None)
    return [
        f"there is a budget in usd, but the price of model {name!r} is not known: name it in US dollars per million tokens, in the "
        f"scenario (llm: {{prices: {{{name}: {{prompt: 2.5, completion: 10}}}}}}) or in {user_file()}"
        for name in unknown
    ]


def check_environment(task: Task) -> Described:
    """Start the environment once, in a worker, and describe it. Raises NotReady with the worker's reason.

    In a process of its own, so that the launcher stays free of the environment's libraries.
    """
    command = [sys.executable, "-P", "-m", "rlgpt.runtime.describe"]
    environment = inherited(os.environ, Spec("describe", "describe"))
    host = task.environment.host
    wait_s = DESCRIBE_S + (host.first_s if host else 0.0)
    try:
        done = subprocess.run(
            command, input=task.model_dump_json().encode(), capture_output=True, timeout=wait_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise NotReady(f"environment {task.environment.id!r} did not answer within {wait_s:g} s of being started") from None
    try:
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise NotReady(answer["error"])
        return Described(Card.model_validate(answer["card"]), tuple(answer["warnings"]))
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-8:]
        words = "\n  ".join(said) or str(error)
        raise NotReady(f"environment {task.environment.id!r} could not be described (status {done.returncode}):\n  {words}") from error
