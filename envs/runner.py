"""What a worker does with what it is asked: batches of decisions through shared memory, trials and replays as messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rlgpt.envs.actions import Action, ActionInvalid, ActionReader
from rlgpt.envs.episode import CallTimer, Decision, Episode, Rules
from rlgpt.envs.expression import Expression
from rlgpt.envs.frames import Film
from rlgpt.envs.layout import (
    ANSWER,
    BUSY_SKILL,
    BUSY_SLOT,
    BUSY_STEPS,
    CALL,
    FAULT_BYTES,
    PRIMITIVE,
    REQUEST,
    RESET,
    TOLD,
    Answers,
    Shape,
    views,
)
from rlgpt.envs.narrate import Narrator
from rlgpt.envs.skill import Calls, CompiledSkill, Memory, SkillSource, compile_skills, error_words
from rlgpt.envs.space import leaves
from rlgpt.envs.starts import Starts, snapshot_of
from rlgpt.envs.toolkit import Toolkit
from rlgpt.envs.whole_episode import play_episode
from rlgpt.envs.words import action_words, pick


class Output(Protocol):
    """Where the worker's prints went."""

    def take(self) -> str: ...


@dataclass(frozen=True)
class Given:
    """What an environment comes with, beside itself: where its episodes begin (None: at a reset), and its card's toolkit."""

    starts: Starts | None = None
    toolkit: Toolkit = field(default_factory=Toolkit)


class Runner:
    """The environments of one worker, their skills, and the memory shared with the parent."""

    def __init__(
        self,
        shape: Shape,
        memory: Any,
        environments: list[Any],
        names: tuple[Sequence[str], Sequence[str]],
        output: Output,
        given: Given | None = None,
    ) -> None:
        self._shape, self._names, self._output = shape, names, output
        self._environments = environments[: shape.slots]
        self.views = views(shape, memory)
        self.answers = Answers(self.views.answers, shape.skills)
        self._header = self.views.header.data  # reads and writes single numbers several times as fast as numpy
        self._told, self._row = self.views.answers.data.cast("B"), self.views.answers.shape[1]
        self.reader = ActionReader(shape.action, names[0])
        self._paths = [leaf.path for leaf in leaves(shape.observation)]
        self._whole = self._paths == [()]
        self.given = given or Given()
        self._discrete = shape.action["type"] == "Discrete"
        self._timer = CallTimer()  # its signal handler is set now: later, behind the lock, none can be
        self.skills: list[CompiledSkill] = []
        self._film: Film | None = None
        self.calls = Calls()
        self.episodes: list[Episode] = []

    @property
    def spaces(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of observations and actions."""
        return self._shape.observation, self._shape.action

    def begin(self, skills: list[CompiledSkill], rules: Rules, memory: Memory | None = None) -> None:
        """Take the skills, their memory and the rules; from now on decisions can be made."""
        self.skills = skills
        self.episodes = [Episode(env, self.reader, rules, self._timer, self.given.starts, memory) for env in self._environments]
        self.answers.runnable[:] = 1
        self._masked = [i for i, skill in enumerate(skills) if skill.can_run is not None]
        for slot, episode in enumerate(self.episodes if self._shape.log else []):
            episode.after_step = self._logger(slot)

    def batch(self) -> None:
        """Take one decision in every environment, as asked in the shared memory."""
        view, header = self.views, self._header
        request = int(header[REQUEST])
        kinds, skills, seeds = view.asked.read()
        actions = view.action.tolist() if self._discrete else view.action
        for slot, (episode, kind, skill) in enumerate(zip(self.episodes, kinds, skills, strict=True)):
            header[BUSY_SLOT], header[BUSY_SKILL], header[BUSY_STEPS] = slot, skill if kind == CALL else -1, 0
            if kind == RESET:
                episode.reset(seeds[slot])
                self._tell(slot, episode, Decision())
            else:
                if kind == PRIMITIVE:
                    decision = episode.primitive(actions[slot] if self._discrete else actions[slot].copy())
                else:
                    decision = episode.call(self.skills[skill], advance=True) if skill >= 0 else episode.idle()
                self._tell(slot, episode, decision)
                if episode.over or decision.fault:
                    self._observe(view.final_obs, slot, episode.obs)
                    episode.reset(seeds[slot])
            self._observe(view.obs, slot, episode.obs)
            for i in self._masked:
                header[BUSY_SKILL] = i
                self.answers.runnable[slot, i] = episode.may_run(self.skills[i])
        header[BUSY_SLOT] = header[BUSY_SKILL] = -1
        header[ANSWER] = request

    def seems_asked(self) -> bool:
        """Whether a batch is asked for that has not been answered."""
        return bool(self._header[REQUEST] != self._header[ANSWER])

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message's answer: {"trial": seed} calls the last skill once, {"play": seed, "skill": index} calls one until the episode ends,
        {"replay": seed, "actions": bytes} repeats an episode, and with "snapshot" also tells the state it leads to, with "at" what was
        observed after these steps,
        {"film": seed, "actions": bytes, "steps": numbers} repeats one and draws it, {"go_on": numbers} draws further steps of it.
        """
        if "trial" in message:
            return self._trial(message["trial"])
        if "play" in message:
            names = [skill.name for skill in self.skills]
            return play_episode(self.episodes[0], self.skills[message["skill"]], message["play"], self.calls, names, self.reader)
        if "go_on" in message:
            if self._film is None:
                raise ValueError("there is no film to go on with")
            return self._film.draw(message["go_on"])
        leaf = leaves(self._shape.action)[0]
        actions = np.frombuffer(message["actions"], leaf.dtype).reshape(-1, *leaf.shape)
        if "film" in message:
            episode = self.episodes[0]
            self._film = Film(episode, self.reader, message["film"], list(actions), lambda: self._narrator(episode).first)
            return self._film.draw(message["steps"])
        if "snapshot" in message:
            return {**self._replay(message["replay"], actions), "snapshot": snapshot_of(self.episodes[0].env)}
        return self._replay(message["replay"], actions, message.get("at", ()))

    def _tell(self, slot: int, episode: Episode, decision: Decision) -> None:
        fault, duration, cut = b"", decision.duration, episode.truncated
        if decision.fault:
            fault = decision.fault.encode("utf-8", "replace")[:FAULT_BYTES]
            # A fault before the first step still counts as one, so that no decision is free.
            duration, cut = max(1, duration), cut or not episode.terminated
            self.views.fault[slot, : len(fault)] = np.frombuffer(fault, np.uint8)
        place = slot * self._row
        ends = episode.terminated, cut, episode.success
        TOLD.pack_into(self._told, place, decision.reward, episode.episode_return, duration, len(fault), *ends)

    def _observe(self, arrays: list[Any], slot: int, obs: Any) -> None:
        if self._whole:
            arrays[0][slot] = obs
            return
        for array, path in zip(arrays, self._paths, strict=True):
            array[slot] = pick(obs, path) if path else obs

    def _logger(self, slot: int) -> Any:
        log, header, most = self.views.log[slot], self._header, self._shape.log

        def keep(action: Action) -> None:
            step = header[BUSY_STEPS]
            if step < most:
                log[step] = action
            header[BUSY_STEPS] = step + 1

        return keep

    def _trial(self, seed: int) -> dict[str, Any]:
        episode, skill = self.episodes[0], self.skills[-1]
        log = episode.after_step
        self.views.header[BUSY_STEPS] = 0
        episode.reset(seed)
        narrator = self._narrator(episode)

        def both(action: Action) -> None:
            narrator.step(action)
            if log:
                log(action)

        episode.after_step = both
        try:
            decision, interrupts = _called_until_it_ends(episode, skill)
        finally:
            episode.after_step = log
        return {
            "ended": decision.ended,
            "interrupts": interrupts,
            "error": decision.fault,
            "printed": self._output.take(),
            **self._account(episode, narrator),
        }

    def _replay(self, seed: int, actions: Any, at: Sequence[int] = ()) -> dict[str, Any]:
        """`at` ascends; a step may be there twice."""
        episode = self.episodes[0]
        episode.reset(seed)
        narrator = self._narrator(episode)
        told = [narrator.first for step in at if step == 0]

        def after(action: Action) -> None:
            narrator.step(action)
            if at and len(told) < len(at) and at[len(told)] == episode.steps:
                told.extend([narrator.last()] * at.count(episode.steps))

        episode.after_step, error = after, ""
        for i, value in enumerate(actions):
            if episode.over:
                error = f"the episode was over after {i} of {len(actions)} actions"
                break
            try:
                error = episode.primitive(self.reader(value)).fault
            except ActionInvalid as invalid:
                error = f"step {i + 1}: {invalid}"
            if error:
                break
        ends = {"terminated": episode.terminated, "truncated": episode.truncated}
        return {"error": error, "told": told, **ends, **self._account(episode, narrator)}

    def _narrator(self, episode: Episode) -> Narrator:
        return Narrator(episode, self._shape.observation, self._shape.action, self._names, self.given.toolkit)

    def _account(self, episode: Episode, narrator: Narrator) -> dict[str, Any]:
        return {
            "steps": episode.steps,
            "episode_return": episode.episode_return,
            "success": episode.success,
            "first": narrator.first,
            "last": narrator.last(),
            "trace": list(narrator.trace()),
        }


def _called_until_it_ends(episode: Episode, skill: CompiledSkill) -> tuple[Decision, dict[str, int]]:
    """A trial's call, made again where an interrupt ended it, as a learner would, until `max_steps` are taken; and which interrupts did."""
    decision, interrupts = episode.call(skill, advance=False), Counter[str]()
    while decision.ended == "interrupted":
        interrupts[decision.interrupt] += 1
        if episode.success or not episode.may_run(skill):
            break
        left = skill.max_steps - episode.steps
        if left < 1:
            decision.ended = "step limit"
            break
        again = episode.call(replace(skill, max_steps=left), advance=False)
        if again.ended == "no step":  # it has nothing more to do
            break
        decision = again
    return decision, dict(interrupts)


def load(runner: Runner, work: dict[str, Any], config: dict[str, Any]) -> None:
    """Compile what a worker was sent and begin; `config` is the environment's, see `task.Environment`. Raises SkillInvalid."""
    memory = Memory() if config["memory"] else None
    imports = [*config["imports"], *([config["toolkit"]] if config["toolkit"] else [])]
    constants = {**runner.given.toolkit.functions, **runner.reader.constants, **({} if memory is None else {"memory": memory})}
    disabled = set(work["disabled"])
    sources = [SkillSource(**skill) for skill in work["skills"]]
    kept = [source for i, source in enumerate(sources) if i not in disabled] + [SkillSource(**skill) for skill in work["library"]]
    compiled = {skill.name: skill for skill in compile_skills(kept, imports, constants, runner.calls, runner.spaces)}
    skills = [compiled.get(source.name) or _disabled(source) for source in sources]
    rules = Rules(
        Expression(work["success"], "success") if work["success"] else None,
        Expression(work["shaping"], "shaping") if work["shaping"] else None,
        float(work["gamma"]),
        float(work["call_s"]),
        tuple(runner.reader(value) for value in work["fallbacks"]),
        success_reward=float(work["success_reward"]),
        interrupts=tuple((name, Expression(text, f"interrupt {name!r}")) for name, text in config["interrupts"].items()),
        until_success=bool(config["until_success"] and work["until_success"]),
        horizon=int(config["horizon"] or 0),
    )
    runner.begin(skills, rules, memory)


def rehearse() -> None:
    """Run a failing skill of our own once, so that nothing on that way is imported for the first time behind the lock."""
    source = "def warm(obs, info):\n    yield 0\n    raise ValueError('x')\n"
    skill = compile_skills([SkillSource("warm", source, 1)], ("math",), {})[0]
    play = skill.play(None, {})
    next(play)
    try:
        next(play)
    except ValueError as error:
        error_words(error)
    Expression("any(x > steps for x in obs)", "success").holds({"obs": [1], "steps": 0})
    action_words(0, {"type": "Discrete", "n": 1, "start": 0}, ("warm",))
    np.random.default_rng((0, 1)).integers(2)


def _disabled(source: SkillSource) -> CompiledSkill:
    def play(*_: Any) -> Any:
        raise AssertionError("a disabled skill is never called")  # can_run keeps everybody out

    return CompiledSkill(source.name, source.max_steps, play, lambda _obs, _info: False)
