"""An environment's card: what language models are told of it. Compact, because it is sent with every question. No gymnasium here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np

from rlgpt.bus.parts import Card
from rlgpt.bus.task import Environment, Task
from rlgpt.envs.actions import TAKEN
from rlgpt.envs.description import Description
from rlgpt.envs.errors import EnvironmentUnsupported
from rlgpt.envs.space import SpaceData, bound, leaves
from rlgpt.envs.words import MANY, constant, number

NAMED = 64  # more actions than this are not listed one by one


def make_card(task: Task, description: Description) -> Card:
    """The card of a task's environment, from its spaces and the scenario's own words.

    Raises EnvironmentUnsupported if its actions are of a kind that skills and learners here cannot take.
    """
    environment = task.environment
    kind = description.action_space["type"]
    if kind not in TAKEN:
        raise EnvironmentUnsupported(
            f"environment {environment.id!r} has {kind} actions; only {', '.join(TAKEN)} can be learned and coded here"
        )
    parts = [
        f"# Environment `{environment.id}`",
        _actions(description.action_space, environment),
        _observations(description, environment),
        _toolkit(description),
        _rules(task, description),
        _skills(description.action_space, description.observation_space, task),
        EXPRESSIONS,
    ]
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    literal = cast(Literal["Discrete", "MultiDiscrete", "Box"], kind)
    return Card(text=text, kind=literal, actions=action_names(description.action_space, environment.actions), version=version)


def action_names(space: SpaceData, words: Sequence[str]) -> tuple[str, ...]:
    """Names of the primitive actions: the scenario's words, else their numbers; none where there are too many or no separate ones."""
    if space["type"] != "Discrete" or space["n"] > NAMED:
        return ()
    return tuple(words) if len(words) == space["n"] else tuple(str(space["start"] + i) for i in range(space["n"]))


def _actions(space: SpaceData, environment: Environment) -> str:
    match space["type"]:
        case "Discrete":
            lines = [f"One of {space['n']} discrete actions, an integer from {space['start']} to {space['start'] + space['n'] - 1}."]
            if len(environment.actions) == space["n"] <= NAMED:
                lines.append("In skills, these constants stand for them:")
                lines += [f"- `{constant(name)}` = {space['start'] + i}: {name}" for i, name in enumerate(environment.actions)]
        case "MultiDiscrete":
            lines = [f"An integer array of shape {_shape(space)}, one choice per component:"]
            starts = zip(space["start"], space["nvec"], strict=True)
            lines += [f"- [{i}]{_word(environment.actions, i)}: {start} to {start + n - 1}" for i, (start, n) in enumerate(starts)][:MANY]
        case _:
            lines = [f"A {space['dtype']} array of shape {_shape(space)}; values out of range are an error:"]
            lines += [f"- [{i}]{_word(environment.actions, i)}: {low} to {high}" for i, (low, high) in enumerate(_ranges(space))]
    return "## Actions\n" + "\n".join(lines)


def _observations(description: Description, environment: Environment) -> str:
    lines = _observed(description.observation_space, "obs", list(environment.observations))
    lines.append(f"At the start, for example: {description.words}")
    if description.info:
        lines.append(f"`info` (a dict) then holds: {description.info}")
    return "## Observations\n" + "\n".join(lines)


def _observed(space: SpaceData, path: str, words: list[str]) -> list[str]:
    """Lines that explain a space; `words` are used up in order by its scalar components."""
    match space["type"]:
        case "Box" if int(np.prod(space["shape"])) <= MANY:
            lines = [f"`{path}` is a {space['dtype']} array of shape {_shape(space)}:"] if space["shape"] else []
            shape = tuple(space["shape"])
            for index, (low, high) in zip(np.ndindex(shape), _ranges(space), strict=True):
                word = f" {words.pop(0)}" if words else ""
                lines.append(f"- `{path}{''.join(f'[{i}]' for i in index)}`{word}: {low} to {high}")
            return lines
        case "Box":
            return [f"`{path}` is a {space['dtype']} array of shape {_shape(space)}{f': {words.pop(0)}' if words else ''}"]
        case "Discrete":
            if len(words) == space["n"] > 1:
                return [f"`{path}` is an integer: " + ", ".join(f"{space['start'] + i} {word}" for i, word in enumerate(words))]
            word = f" ({words.pop(0)})" if words else ""
            return [f"`{path}` is an integer{word} from {space['start']} to {space['start'] + space['n'] - 1}"]
        case "MultiDiscrete" | "MultiBinary":
            most = ", values below " + str(space["nvec"]) if space["type"] == "MultiDiscrete" else " of 0 and 1"
            return [f"`{path}` is an integer array of shape {_shape(space)}{most}"]
        case "Dict":
            return [f"`{path}` is a dict:", *(line for key, part in space["spaces"] for line in _observed(part, f"{path}[{key!r}]", words))]
        case "Tuple":
            return [
                f"`{path}` is a tuple:",
                *(line for i, part in enumerate(space["spaces"]) for line in _observed(part, f"{path}[{i}]", words)),
            ]
    return [f"`{path}` is of type {space['name']}; skills can read it, a learner does not see it"]


def _toolkit(description: Description) -> str:
    if not description.toolkit:
        return ""
    return "## Toolkit\nSkills can call these functions; nothing has to be imported for them:\n" + "\n".join(
        f"- {line}" for line in description.toolkit
    )


def _rules(task: Task, description: Description) -> str:
    limit = description.max_episode_steps
    lines = [f"An episode is cut off after {limit} steps." if limit else "Episodes have no time limit."]
    lines.append(f"The task is done when `{task.success}` holds after some step of an episode.")
    if task.environment.starts:
        lines.append("Episodes begin in saved states, not at the environment's own beginning; `steps` and the return count from there.")
    if task.environment.until_success:
        lines.append("The episode ends when the task is done.")
    if not task.environment.deterministic:
        lines.append("The same seed and actions may give different episodes.")
    notes = task.environment.notes.strip()
    lines.append(notes or "What the reward is given for is not told; read it off the trials.")
    return "## Rules\n" + "\n".join(lines)


def _skills(space: SpaceData, seen: SpaceData, task: Task) -> str:
    first, second = _examples(space, seen, task.environment.actions)
    return f"""## Skills
A skill is one Python generator function named like the skill. It yields an action and receives what followed; local variables are its
memory. It ends when it returns, after its `max_steps` (here at most {task.loops.skill_steps}), or with the episode. A call has to take at
least one step. Optionally `can_run(obs, info)` beside it says whether a call makes sense now. Accepted skills can be called:
`obs, info = yield from other(obs, info)`. Imports allowed: {", ".join(task.environment.imports)} (`np` and `math` are there already).
No files, network, processes or threads.{_ends_and_memory(task.environment)}
```python
{first}

{second}
```"""


def _ends_and_memory(environment: Environment) -> str:
    """What the scenario adds to the rules of skills, if anything."""
    lines = []
    if environment.interrupts:
        lines.append("Interrupts: a call, with all calls inside it, also ends after a step after which one of these holds:")
        lines += [f"- {name}: `{condition}`" for name, condition in environment.interrupts.items()]
    if environment.memory:
        lines.append(
            "`memory` is a dict that all skills, their helpers and `can_run` share. It is empty when an episode begins and keeps "
            "what is put into it until the episode ends: `memory.setdefault('seen', {})`."
        )
    return "".join(f"\n{line}" for line in lines)


def _examples(space: SpaceData, seen: SpaceData, names: Sequence[str]) -> tuple[str, str]:
    """Two examples of the format for these kinds of actions and observations; on purpose they say nothing of the task."""
    match space["type"]:
        case "Discrete":
            one, other = space["start"], space["start"] + space["n"] - 1
            named = len(names) == space["n"]
            a, b = (constant(names[0]), constant(names[-1])) if named else (str(one), str(other))
        case "MultiDiscrete":
            a, b = f"np.array({space['start']})", f"np.array({[s + n - 1 for s, n in zip(space['start'], space['nvec'], strict=True)]})"
            if len(space["shape"]) != 1:
                a, b = (f"{text}.reshape({tuple(space['shape'])})" for text in (a, b))
        case _:
            a, b = f"np.zeros({tuple(space['shape'])})", f"np.full({tuple(space['shape'])}, 0.1)"
    simple = f"def repeat_five(obs, info):\n    for _ in range(5):\n        obs, info = yield {a}"
    # Of a dict or tuple, one part is looked at.
    arrays = [leaf for leaf in leaves(seen) if leaf.path]
    part = "obs" + "".join(f"[{key!r}]" for key in (max(arrays, key=lambda leaf: int(np.prod(leaf.shape))).path if arrays else ()))
    reactive = (
        f"def until_it_changes(obs, info):\n    before = np.copy({part})\n    for step in range(20):\n"
        f"        obs, info = yield ({b} if step % 2 else {a})\n        if not np.array_equal({part}, before):\n            return"
    )
    return simple, reactive


EXPRESSIONS = """## Expressions
Success tests and shaping are single Python expressions, evaluated after every step, over: `obs`, `info`, `start` (obs when the episode
began), `previous` (obs before the step), `action`, `reward`, `terminated`, `truncated`, `steps` (since the episode began),
`episode_return`, `np`, `math`, `abs min max any all len sum round float int bool`; toolkit functions are not among them. A sub-action
succeeded if its expression held after some step of its trial, which begins with an episode."""


def _shape(space: SpaceData) -> str:
    return str(tuple(space["shape"]))


def _word(words: Sequence[str], index: int) -> str:
    return f" {words[index]}" if index < len(words) else ""


def _ranges(space: SpaceData) -> list[tuple[str, str]]:
    """Lower and upper bound of every component of a Box, a few at most."""
    shape = tuple(space["shape"])
    low, high = (np.broadcast_to(bound(space, side), shape).ravel()[:MANY] for side in ("low", "high"))
    return [(_limit(a, "-"), _limit(b, "")) for a, b in zip(low, high, strict=True)]


def _limit(value: float, sign: str) -> str:
    return f"{sign}infinity" if abs(value) > 1e30 else number(value + 0.0)
