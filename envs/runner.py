"""What a worker does with what it is asked: batches of decisions through shared memory, trials and replays as messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rlgpt.envs.actions import Action, ActionInvalid, ActionReader
from rlgpt.envs.episode import CallTimer, Decision, Episode, Rules
from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.expression import Expression
from rlgpt.envs.frames import Film
from rlgpt.envs.glimpser import Glimpser
from rlgpt.envs.layout import (
    ANSWER,
    BUSY_SKILL,
    BUSY_SLOT,
    BUSY_STEPS,
    CALL,
    FAULT_BYTES,
    LEAD_STEPS,
    LEADS,
    PRIMITIVE,
    REQUEST,
    RESET,
    TOLD,
    Answers,
    Shape,
    views,
)
from rlgpt.envs.lead import Beginning, Controller, Leader, LeadIn, Leading
from rlgpt.envs.narrate import Narrator
from rlgpt.envs.reel import Reel
from rlgpt.envs.skill import Calls, CompiledSkill, Memory, SkillSource, compile_skills, error_words
from rlgpt.envs.space import leaves
from rlgpt.envs.starts import Starts, snapshot_of
from rlgpt.envs.toolkit import Toolkit
from rlgpt.envs.whole_episode import play_episode
from rlgpt.envs.words import action_words, pick

CALL_S = 48.0
"""Seconds that a call in a stage before an episode may take, at least; the worker is given up a little later (`handle.STILL_S`)."""


class Output(Protocol):
    """Where the worker's prints went."""

    def take(self) -> str: ...


@dataclass(frozen=True)
class Given:
    """What an environment comes with, beside itself.

    starts   where its episodes begin; None: at a reset
    toolkit  its card's
    leading  who plays the stages before, in order; None: a controller (see `envs/lead.py`)
    """

    starts: Starts | None = None
    toolkit: Toolkit = field(default_factory=Toolkit)
    leading: tuple[Leading | None, ...] = ()


@dataclass(frozen=True)
class Before:
    """A stage that is played before an episode: its name, its skills, rules and player."""

    name: str
    skills: list[CompiledSkill]
    rules: Rules
    player: Leading


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
        self._repeated: Film | None = None
        self.calls = Calls()
        self._glimpser = Glimpser(self.views.glimpse, self.given.toolkit)
        self.episodes: list[Episode] = []

    @property
    def spaces(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of observations and actions."""
        return self._shape.observation, self._shape.action

    def begin(
        self,
        skills: list[CompiledSkill],
        rules: Rules,
        memory: Memory | None = None,
        before: Sequence[Before] = (),
        tries: int = 1,
        film: int = 0,
    ) -> None:
        """Take the skills, their memory and the rules; from now on decisions can be made.

        before, tries  stages that are played before every episode, and how often they are tried
        film           frames kept of every episode, 0 for none
        """
        self.skills = skills
        self.episodes = [
            Episode(env, self.reader, rules, self._timer, self._beginning(env, before, tries, memory), memory) for env in self._environments
        ]
        self.answers.runnable[:] = 1
        self._masked = [i for i, skill in enumerate(skills) if skill.can_run is not None]
        for slot, episode in enumerate(self.episodes if self._shape.log else []):
            episode.after_step = self._logger(slot)
        self._reels = [Reel(film) for _ in self.episodes] if film else []
        self._shown: list[tuple[list[dict[str, Any]], str]] = [([], "") for _ in self._reels]
        for reel, episode in zip(self._reels, self.episodes, strict=False):
            self._watch(reel, episode)

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
                self._film(slot, ended=False)
                self._tell(slot, episode, Decision())
            else:
                if episode.unreached:
                    decision = Decision(ended="error", fault=episode.unreached)
                elif kind == PRIMITIVE:
                    decision = episode.primitive(actions[slot] if self._discrete else actions[slot].copy())
                else:
                    decision = episode.call(self.skills[skill], advance=True) if skill >= 0 else episode.idle()
                self._tell(slot, episode, decision)
                if slot == 0:
                    self._glimpser.look(episode)
                if episode.over or decision.fault:
                    self._observe(view.final_obs, slot, episode.obs)
                    episode.reset(seeds[slot])
                    self._film(slot, ended=True)
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
        {"film": seed, "actions": bytes, "steps": numbers} repeats one and draws it, {"go_on": numbers} draws further steps of it,
        {"reel": slot, "first": i, "count": n} gives frames of the episode that ended there last, if it was filmed (`work["film"]`).
        """
        if "reel" in message:
            frames, error = self._shown[message["reel"]]
            return {"frames": frames[message["first"] : message["first"] + message["count"]], "of": len(frames), "error": error}
        if "trial" in message:
            return self._trial(message["trial"])
        if "play" in message:
            names = [skill.name for skill in self.skills]
            return play_episode(self.episodes[0], self.skills[message["skill"]], message["play"], self.calls, names, self.reader)
        if "go_on" in message:
            if self._repeated is None:
                raise ValueError("there is no film to go on with")
            return self._repeated.draw(message["go_on"])
        leaf = leaves(self._shape.action)[0]
        actions = np.frombuffer(message["actions"], leaf.dtype).reshape(-1, *leaf.shape)
        if "film" in message:
            episode = self.episodes[0]
            self._repeated = Film(episode, self.reader, message["film"], list(actions), lambda: self._narrator(episode).first)
            return self._repeated.draw(message["steps"])
        if "snapshot" in message:
            return {**self._replay(message["replay"], actions), "snapshot": snapshot_of(self.episodes[0].env)}
        return self._replay(message["replay"], actions, message.get("at", ()))

    def _watch(self, reel: Reel, episode: Episode) -> None:
        """Have the reel see every step of an episode."""
        others = episode.after_step

        def see(action: Action) -> None:
            if others is not None:
                others(action)
            reel.see(episode.env, episode.obs, lambda: self._narrator(episode).first, last=episode.over)

        episode.after_step = see

    def _film(self, slot: int, *, ended: bool) -> None:
        """An episode has begun there; `ended`: and one was over before."""
        if not self._reels:
            return
        reel, episode = self._reels[slot], self.episodes[slot]
        if ended:
            self._shown[slot] = reel.frames, reel.error
        reel.begin()
        reel.see(episode.env, episode.obs, lambda: self._narrator(episode).first)

    def _beginning(self, env: Any, before: Sequence[Before], tries: int, memory: Memory | None) -> Beginning | None:
        """Where an environment's episodes begin; None: at a reset."""
        if not before:
            return self.given.starts
        leaders = []
        for stage in before:
            episode = Episode(env, self.reader, stage.rules, self._timer, None, memory)
            episode.after_step = self._count_lead
            leaders.append(Leader(stage.name, episode, stage.skills, stage.player))
        return LeadIn(leaders, self.given.starts, tries, self._tell_lead)

    def _count_lead(self, _action: Action) -> None:
        self._header[LEAD_STEPS] += 1

    def _tell_lead(self, _playing: bool) -> None:
        self._header[LEADS] += 1

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
        if episode.unreached:
            return {"ended": "error", "interrupt": "", "error": episode.unreached, "printed": "", **self._account(episode, narrator)}

        def both(action: Action) -> None:
            narrator.step(action)
            self._glimpser.look(episode)
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
            self._glimpser.look(episode)
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
    imports = _imports(config)
    constants = {**runner.given.toolkit.functions, **runner.reader.constants, **({} if memory is None else {"memory": memory})}
    disabled = set(work["disabled"])
    sources = [SkillSource(**skill) for skill in work["skills"]]
    kept = [source for i, source in enumerate(sources) if i not in disabled] + [SkillSource(**skill) for skill in work["library"]]
    compiled = {skill.name: skill for skill in compile_skills(kept, imports, constants, runner.calls, runner.spaces)}
    before = [_before(runner, i, lead, work, config, constants) for i, lead in enumerate(config["lead"])]
    skills = [compiled.get(source.name) or _disabled(source) for source in sources]
    rules = Rules(
        Expression(work["success"], "success") if work["success"] else None,
        Expression(work["shaping"], "shaping") if work["shaping"] else None,
        float(work["gamma"]),
        float(work["call_s"]),
        tuple(runner.reader(value) for value in work["fallbacks"]),
        success_reward=float(work["success_reward"]),
        interrupts=_interrupts(config),
        until_success=bool(config["until_success"] and work["until_success"]),
        horizon=int(config["horizon"] or 0),
    )
    runner.begin(skills, rules, memory, before, int(config["lead_tries"]), int(work["film"]))


def _interrupts(config: dict[str, Any]) -> tuple[tuple[str, Expression], ...]:
    return tuple((name, Expression(text, f"interrupt {name!r}")) for name, text in config["interrupts"].items())


def _before(
    runner: Runner, number: int, lead: dict[str, Any], work: dict[str, Any], config: dict[str, Any], constants: dict[str, Any]
) -> Before:
    """A stage that is played before an episode, with skills in namespaces of its own. Raises SkillInvalid."""
    sources = [SkillSource(**skill) for skill in (*lead["skills"], *lead["library"])]
    compiled = compile_skills(sources, _imports(config), constants, runner.calls, runner.spaces)
    skills = compiled[: len(lead["skills"])]
    names = [skill.name for skill in skills]
    player = runner.given.leading[number]
    if player is None:
        if lead["controller"] not in names:
            raise SkillInvalid(f"stage {lead['name']!r} has neither a policy nor a controller among its skills ({', '.join(names)})")
        player = Controller(names.index(lead["controller"]))
    success = Expression(lead["success"], f"success of stage {lead['name']!r}")
    call_s = max(CALL_S, float(work["call_s"]))  # no batch waits for it
    rules = Rules(success, None, 1.0, call_s, interrupts=_interrupts(config), until_success=True)
    return Before(lead["name"], skills, rules, player)


def _imports(config: dict[str, Any]) -> list[str]:
    """Modules that skills may import."""
    return [*config["imports"], *([config["toolkit"]] if config["toolkit"] else [])]


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
