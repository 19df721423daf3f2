"""What a worker does with what it is asked: batches of decisions through shared memory, trials and replays as messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from rlgpt.envs.actions import Action, ActionInvalid, ActionReader
from rlgpt.envs.episode import CallTimer, Decision, Episode, Rules
from rlgpt.envs.expression import Expression
from rlgpt.envs.layout import ANSWER, BUSY_SKILL, BUSY_SLOT, BUSY_STEPS, CALL, FAULT_BYTES, PRIMITIVE, REQUEST, RESET, Shape, views
from rlgpt.envs.narrate import Narrator
from rlgpt.envs.skill import CompiledSkill, SkillSource, compile_skills, error_words
from rlgpt.envs.space import leaves
from rlgpt.envs.words import action_words, pick


class Output(Protocol):
    """Where the worker's prints went."""

    def take(self) -> str: ...


class Runner:
    """The environments of one worker, their skills, and the memory shared with the parent."""

    def __init__(
        self, shape: Shape, memory: Any, environments: list[Any], names: tuple[Sequence[str], Sequence[str]], output: Output
    ) -> None:
        self._shape, self._names, self._output = shape, names, output
        self._environments = environments[: shape.slots]
        self.views = views(shape, memory)
        self.reader = ActionReader(shape.action, names[0])
        self._paths = [leaf.path for leaf in leaves(shape.observation)]
        self._discrete = shape.action["type"] == "Discrete"
        self._timer = CallTimer()  # its signal handler is set now: later, behind the lock, none can be
        self.skills: list[CompiledSkill] = []
        self.episodes: list[Episode] = []

    def begin(self, skills: list[CompiledSkill], rules: Rules) -> None:
        """Take the skills and the rules; from now on decisions can be made."""
        self.skills = skills
        self.episodes = [Episode(env, self.reader, rules, self._timer) for env in self._environments]
        self.views.runnable[:] = 1
        self._masked = [i for i, skill in enumerate(skills) if skill.can_run is not None]
        for slot, episode in enumerate(self.episodes if self._shape.log else []):
            episode.after_step = self._logger(slot)

    def batch(self) -> None:
        """Take one decision in every environment, as asked in the shared memory."""
        view, header = self.views, self.views.header
        request = int(header[REQUEST])
        kinds, skills, seeds = view.kind.tolist(), view.skill.tolist(), view.seed.tolist()
        for slot, episode in enumerate(self.episodes):
            header[BUSY_SLOT], header[BUSY_SKILL], header[BUSY_STEPS] = slot, skills[slot] if kinds[slot] == CALL else -1, 0
            if kinds[slot] == RESET:
                episode.reset(seeds[slot])
                self._tell(slot, episode, Decision())
            else:
                decision = self._decide(slot, episode, kinds[slot], skills[slot])
                over = episode.over or bool(decision.fault)
                self._tell(slot, episode, decision)
                if over:
                    self._observe(view.final_obs, slot, episode.obs)
                    episode.reset(seeds[slot])
            self._observe(view.obs, slot, episode.obs)
            for i in self._masked:
                header[BUSY_SKILL] = i
                view.runnable[slot, i] = episode.may_run(self.skills[i])
        header[BUSY_SLOT] = header[BUSY_SKILL] = -1
        header[ANSWER] = request

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message's answer: {"trial": seed} calls the last skill once, {"replay": seed, "actions": bytes} repeats an episode."""
        if "trial" in message:
            return self._trial(message["trial"])
        leaf = leaves(self._shape.action)[0]
        actions = np.frombuffer(message["actions"], leaf.dtype).reshape(-1, *leaf.shape)
        return self._replay(message["replay"], actions)

    def _decide(self, slot: int, episode: Episode, kind: int, skill: int) -> Decision:
        if kind == PRIMITIVE:
            asked = self.views.action[slot]
            return episode.primitive(int(asked) if self._discrete else asked.copy())
        return episode.call(self.skills[skill], advance=True) if skill >= 0 else episode.idle()

    def _tell(self, slot: int, episode: Episode, decision: Decision) -> None:
        view = self.views
        view.numbers[slot] = decision.reward, episode.episode_return
        # A fault before the first step still counts as one, so that no decision is free.
        view.duration[slot] = max(1, decision.duration) if decision.fault else decision.duration
        cut = episode.truncated or (bool(decision.fault) and not episode.terminated)
        view.flags[slot] = episode.terminated, cut, episode.success
        fault = decision.fault.encode("utf-8", "replace")[:FAULT_BYTES]
        view.fault_size[slot] = len(fault)
        if fault:
            view.fault[slot, : len(fault)] = np.frombuffer(fault, np.uint8)

    def _observe(self, arrays: list[Any], slot: int, obs: Any) -> None:
        for array, path in zip(arrays, self._paths, strict=True):
            array[slot] = pick(obs, path) if path else obs

    def _logger(self, slot: int) -> Any:
        log, header, most = self.views.log[slot], self.views.header, self._shape.log

        def keep(action: Action) -> None:
            step = int(header[BUSY_STEPS])
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
            decision = episode.call(skill, advance=False)
        finally:
            episode.after_step = log
        return {"ended": decision.ended, "error": decision.fault, "printed": self._output.take(), **self._account(episode, narrator)}

    def _replay(self, seed: int, actions: Any) -> dict[str, Any]:
        episode = self.episodes[0]
        episode.reset(seed)
        narrator = self._narrator(episode)
        episode.after_step = narrator.step
        error = ""
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
        return {"error": error, "terminated": episode.terminated, "truncated": episode.truncated, **self._account(episode, narrator)}

    def _narrator(self, episode: Episode) -> Narrator:
        return Narrator(episode, self._shape.observation, self._shape.action, self._names)

    def _account(self, episode: Episode, narrator: Narrator) -> dict[str, Any]:
        return {
            "steps": episode.steps,
            "episode_return": episode.episode_return,
            "success": episode.success,
            "first": narrator.first,
            "last": narrator.last(),
            "trace": list(narrator.trace()),
        }


def load(runner: Runner, work: dict[str, Any], imports: Iterable[str]) -> None:
    """Compile what a worker was sent and begin. Raises SkillInvalid."""
    constants = runner.reader.constants
    disabled = set(work["disabled"])
    sources = [SkillSource(**skill) for skill in work["skills"]]
    compiled = {skill.name: skill for skill in compile_skills((s for i, s in enumerate(sources) if i not in disabled), imports, constants)}
    skills = [compiled.get(source.name) or _disabled(source) for source in sources]
    rules = Rules(
        Expression(work["success"], "success") if work["success"] else None,
        Expression(work["shaping"], "shaping") if work["shaping"] else None,
        float(work["gamma"]),
        float(work["call_s"]),
        tuple(runner.reader(value) for value in work["fallbacks"]),
    )
    runner.begin(skills, rules)


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
