"""One environment of a worker and the episode it is in: primitive actions, calls of skills, and their semi-MDP bookkeeping.

A decision's reward is sum over its own steps of gamma**i * (r_i + shaping_i), as of an option (Sutton, Precup & Singh 1999,
Artificial Intelligence 112); interrupts and the end of the episode end it.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlgpt.envs.actions import Action, ActionInvalid, ActionReader
from rlgpt.envs.errors import lock_words
from rlgpt.envs.expression import Expression, ExpressionFailed
from rlgpt.envs.lead import Beginning, NotReached
from rlgpt.envs.skill import CompiledSkill, Memory, SkillTimeout, error_words


@dataclass(frozen=True)
class Rules:
    """What holds for every episode of a worker.

    success_reward  added to the reward of the first step after which `success` holds
    call_s     wall-clock seconds a call may take before SkillTimeout is raised in it
    fallbacks  actions to draw from where a call takes no step; empty: any action
    interrupts  (name, condition) that end a call of a skill, nested calls included, where they hold after a step; of a skill that plays
                whole episodes, only the call it has made of another
    until_success  the episode ends, as terminated, with the first step after which `success` holds
    horizon    environment steps after which the episode ends, as cut off; 0: the environment's own limit alone
    """

    success: Expression | None
    shaping: Expression | None
    gamma: float
    call_s: float
    fallbacks: tuple[Action, ...] = ()
    success_reward: float = 0.0
    interrupts: tuple[tuple[str, Expression], ...] = ()
    until_success: bool = False
    horizon: int = 0


@dataclass(slots=True)
class Decision:
    """What a decision came to.

    ended      "action", "returned", "step limit", "episode over", "interrupted", "no step" or "error"
    fault      why it failed, in words; empty if it did not
    interrupt  name of the condition that ended it, if one did
    """

    reward: float = 0.0
    duration: int = 0
    ended: str = "action"
    fault: str = ""
    interrupt: str = ""


class EnvironmentFailed(Exception):
    """The environment's own code raised; the text is the reason."""


class Episode:
    """An environment and the state of its current episode.

    Whatever a skill does, methods return; only MemoryError in the environment's own code and a failing `reset` escape.
    after_step  called with the action after every environment step
    starts      where episodes begin; None: at a reset
    unreached   why the episode could not begin: the stages before it were not passed. "" where it has begun
    closed      the environment itself ended it, whatever `until_success` says
    memory      what skills know as `memory`, shared by the episodes of a worker: it holds the mapping of the one whose skills run
    """

    def __init__(
        self, env: Any, reader: ActionReader, rules: Rules, timer: CallTimer, starts: Beginning | None = None, memory: Memory | None = None
    ) -> None:
        self.env, self._reader, self._rules, self._timer, self._starts, self._memory = env, reader, rules, timer, starts, memory
        self.over = True
        expressions = (rules.success, rules.shaping, *(condition for _, condition in rules.interrupts))
        told = {name for expression in expressions if expression for name in expression.names}
        self._keeps_previous, self._keeps_start = "previous" in told, "start" in told
        self.action: Action | None = None
        self.after_step: Callable[[Action], None] | None = None

    def reset(self, seed: int) -> None:
        """Begin the episode of `seed`."""
        unreached = ""
        try:
            began: Any = self._starts.begin(self.env, seed) if self._starts else self.env.reset(seed=seed)
        except NotReached as why:
            began, unreached = (why.obs, why.info), str(why)
        self.begin(seed, *began)
        self.unreached = unreached

    def begin(self, seed: int, obs: Any, info: dict[str, Any]) -> None:
        """Count from here on; the environment stays as it is."""
        self.seed, self.steps, self.episode_return, self.success, self.over = seed, 0, 0.0, False, False
        self.terminated = self.truncated = self.closed = False
        self.reward, self.unreached = 0.0, ""
        self.obs, self.info = obs, info
        self._kept: dict[Any, Any] = {}
        self.start, self.previous = copied(self.obs) if self._keeps_start else None, None

    def primitive(self, action: Action) -> Decision:
        """One action, already checked."""
        decision = Decision()
        try:
            self._step(action, decision)
        except EnvironmentFailed as error:
            decision.ended, decision.fault = "error", str(error)
        return decision

    def idle(self) -> Decision:
        """One fallback action, where the decision was a call of a skill that may not run any more."""
        return self.primitive(self._fallback())

    def call(self, skill: CompiledSkill, advance: bool) -> Decision:
        """One whole call. With `advance`, a call that takes no step is followed by one fallback action (see `_no_step`)."""
        decision = Decision(ended="returned")
        skill.calls.moment = (self.seed, self.steps)
        self._remember()
        if advance and not self.may_run(skill):
            decision.ended = "no step"
            self._no_step(skill, decision, advance)
            return decision
        self._timer.arm(self._rules.call_s, self.env)
        try:
            if not advance and not self._runnable(skill):  # in training `may_run` has looked, and an error counts as false there
                decision.ended, decision.fault = "no step", "can_run(obs, info) is false here, so that it was not called"
            else:
                self._play(skill, decision)
        except SkillTimeout:
            decision.ended, decision.fault = "error", f"skill {skill.name!r} was stopped: no end within {self._rules.call_s:g} s"
        except ActionInvalid as error:
            decision.ended, decision.fault = "error", f"skill {skill.name!r} yielded {error}"
        except EnvironmentFailed as error:
            decision.ended, decision.fault = "error", str(error)
        except Exception as error:
            decision.ended, decision.fault = "error", f"skill {skill.name!r} failed: {error_words(error)}"
        except BaseException as error:
            decision.ended, decision.fault = "error", f"skill {skill.name!r} raised {type(error).__name__}"
        finally:
            self._timer.disarm()
        if decision.duration == 0:
            self._no_step(skill, decision, advance)
        return decision

    def may_run(self, skill: CompiledSkill) -> bool:
        """Whether the skill's can_run holds now; one that fails or hangs does not hold."""
        if skill.can_run is None:
            return True
        self._remember()
        self._timer.arm(self._rules.call_s, self.env)
        try:
            return self._runnable(skill)
        except (Exception, SkillTimeout, GeneratorExit, KeyboardInterrupt, SystemExit):
            return False
        finally:
            self._timer.disarm()

    def _remember(self) -> None:
        if self._memory is not None:
            self._memory.data = self._kept

    def _runnable(self, skill: CompiledSkill) -> bool:
        can_run = skill.can_run
        return can_run is None or bool(self._inside(lambda obs: bool(can_run(obs, self.info)), copied(self.obs)))

    def _play(self, skill: CompiledSkill, decision: Decision) -> None:
        play = skill.play(copied(self.obs), self.info)
        try:
            value = self._inside(play.send, None)
            while True:
                self._step(self._reader(value), decision, self._rules.interrupts)
                if decision.fault or self.over:
                    decision.ended = "error" if decision.fault else "episode over"
                    return
                if decision.interrupt and not skill.whole:
                    decision.ended = "interrupted"
                    return
                if decision.duration >= skill.max_steps:
                    decision.ended = "step limit"
                    return
                skill.calls.interrupted = skill.whole and bool(decision.interrupt)
                value = self._inside(play.send, (copied(self.obs), self.info))
        except StopIteration:
            decision.ended = "returned"
        finally:
            self._close(play)

    def _inside(self, run: Callable[..., Any], *arguments: Any) -> Any:
        """Run code of a skill; only there may the timer raise."""
        timer = self._timer
        timer.inside = True
        try:
            if timer.expired:
                raise SkillTimeout
            return run(*arguments)
        finally:
            timer.inside = False

    def _close(self, play: Any) -> None:
        # A generator may refuse to close, or clean up badly; its call is over all the same, and what it raises here says nothing
        # about the call.
        try:
            self._inside(play.close)
        except (Exception, SkillTimeout, GeneratorExit, KeyboardInterrupt, SystemExit):
            return

    def _no_step(self, skill: CompiledSkill, decision: Decision, advance: bool) -> None:
        """No call may leave the environment where it was, or a learner could choose it for ever without spending a step.

        In a trial that is an error. In training one action is drawn at random instead (from the episode's seed and step, so that
        the same decisions give the same episode), and the episode goes on.
        """
        if not advance:
            if not decision.fault:
                decision.ended, decision.fault = "no step", f"skill {skill.name!r} returned without yielding an action"
            return
        stepped = self.primitive(self._fallback())
        decision.reward, decision.duration = stepped.reward, stepped.duration
        decision.fault = decision.fault or stepped.fault

    def _fallback(self) -> Action:
        rng = np.random.default_rng((self.seed, self.steps))
        choices = self._rules.fallbacks
        if choices:
            return choices[int(rng.integers(len(choices)))]
        self.env.action_space.seed(int(rng.integers(2**31)))
        action: Action = self.env.action_space.sample()
        return int(action) if isinstance(action, np.integer) else action

    def _step(self, action: Action, decision: Decision, interrupts: tuple[tuple[str, Expression], ...] = ()) -> None:
        rules = self._rules
        if self._keeps_previous:
            self.previous = copied(self.obs)
        self.action = action
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            self.reward = gained = float(reward)
            self.terminated, self.truncated = bool(terminated), bool(truncated)
        except MemoryError:
            raise
        except Exception as error:
            raise EnvironmentFailed(
                f"the environment failed in step {self.steps + 1}: {type(error).__name__}: {error}"[:1000] + lock_words(error)
            ) from error
        self.obs, self.info = obs, info
        self.steps += 1
        self.episode_return += gained
        self.truncated = self.truncated or self.steps == rules.horizon
        self.over = self.closed = self.terminated or self.truncated
        if rules.shaping or interrupts or (rules.success and not self.success):
            gained += self._judge(decision, interrupts)
        decision.reward += rules.gamma**decision.duration * gained
        decision.duration += 1
        if self.after_step is not None:
            self.after_step(action)

    def _judge(self, decision: Decision, interrupts: tuple[tuple[str, Expression], ...]) -> float:
        """What the expressions make of the step: success, an interrupt, a fault; and what they add to its reward."""
        rules, more = self._rules, 0.0
        values = self.__dict__  # expressions know these attributes by the same names
        try:
            if rules.success and not self.success and rules.success.holds(values):
                self.success, more = True, rules.success_reward
                if rules.until_success:
                    self.terminated = self.over = True
            if rules.shaping:
                more += rules.shaping.amount(values)
            if interrupts:
                decision.interrupt = next((name for name, condition in interrupts if condition.holds(values)), "")
        except ExpressionFailed as error:
            decision.fault = str(error)
        return more


class CallTimer:
    """The soft deadline: SIGALRM raises SkillTimeout while a skill's code runs, and again and again if that is swallowed.

    Seconds that a hosted environment took (`waited_s`) do not count: its host has deadlines of its own.
    """

    REPEAT_S = 0.2

    def __init__(self) -> None:
        self.inside = self.expired = False
        self._env: Any = None
        self._waited_s = 0.0
        signal.signal(signal.SIGALRM, self._fire)

    def arm(self, seconds: float, env: Any) -> None:
        self.inside = self.expired = False
        self._env, self._waited_s = env, getattr(env, "waited_s", 0.0)
        signal.setitimer(signal.ITIMER_REAL, seconds, self.REPEAT_S)

    def disarm(self) -> None:
        self.inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _fire(self, *_: Any) -> None:
        waited_s = getattr(self._env, "waited_s", 0.0)
        if waited_s > self._waited_s:
            signal.setitimer(signal.ITIMER_REAL, waited_s - self._waited_s, self.REPEAT_S)
            self._waited_s = waited_s
            return
        # Never raise inside the environment's own code: it would be left half-stepped. `_inside` looks at `expired` next.
        self.expired = True
        if self.inside:
            raise SkillTimeout


def copied(obs: Any) -> Any:
    """A copy a skill may write to; the environment's own arrays stay as they are."""
    if type(obs) is np.ndarray or isinstance(obs, np.ndarray):
        return obs.copy()
    if isinstance(obs, dict):
        return {key: copied(value) for key, value in obs.items()}
    if isinstance(obs, tuple):
        return tuple(copied(value) for value in obs)
    return obs if isinstance(obs, (int, float, str, bytes, np.generic)) else copy.deepcopy(obs)
