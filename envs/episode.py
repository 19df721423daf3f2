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
from rlgpt.envs.expression import Expression, ExpressionFailed
from rlgpt.envs.skill import CompiledSkill, SkillTimeout, error_words


@dataclass(frozen=True)
class Rules:
    """What holds for every episode of a worker.

    call_s     wall-clock seconds a call may take before SkillTimeout is raised in it
    fallbacks  actions to draw from where a call takes no step; empty: any action
    """

    success: Expression | None
    shaping: Expression | None
    gamma: float
    call_s: float
    fallbacks: tuple[Action, ...] = ()


@dataclass
class Decision:
    """What a decision came to.

    ended  "action", "returned", "step limit", "episode over", "no step" or "error"
    fault  why it failed, in words; empty if it did not
    """

    reward: float = 0.0
    duration: int = 0
    ended: str = "action"
    fault: str = ""


class EnvironmentFailed(Exception):
    """The environment's own code raised; the text is the reason."""


class Episode:
    """An environment and the state of its current episode.

    Whatever a skill does, methods return; only MemoryError in the environment's own code and a failing `reset` escape.
    after_step  called with the action after every environment step
    """

    def __init__(self, env: Any, reader: ActionReader, rules: Rules, timer: CallTimer) -> None:
        self.env, self._reader, self._rules, self._timer = env, reader, rules, timer
        self.over = True
        names = {name for expression in (rules.success, rules.shaping) if expression for name in expression.names}
        self._keeps_previous, self._keeps_start = "previous" in names, "start" in names
        self.after_step: Callable[[Action], None] | None = None

    def reset(self, seed: int) -> None:
        """Begin the episode of `seed`."""
        self.seed, self.steps, self.episode_return, self.success, self.over = seed, 0, 0.0, False, False
        self.terminated = self.truncated = False
        self.reward = 0.0
        self.obs, self.info = self.env.reset(seed=seed)
        self.start = copied(self.obs) if self._keeps_start else None

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
        if advance and not self.may_run(skill):
            decision.ended = "no step"
            self._no_step(skill, decision, advance)
            return decision
        self._timer.arm(self._rules.call_s)
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
        self._timer.arm(self._rules.call_s)
        try:
            return self._runnable(skill)
        except (Exception, SkillTimeout, GeneratorExit, KeyboardInterrupt, SystemExit):
            return False
        finally:
            self._timer.disarm()

    def _runnable(self, skill: CompiledSkill) -> bool:
        can_run = skill.can_run
        return can_run is None or bool(self._inside(lambda: bool(can_run(copied(self.obs), self.info))))

    def _play(self, skill: CompiledSkill, decision: Decision) -> None:
        play = skill.play(copied(self.obs), self.info)
        try:
            value = self._inside(lambda: next(play))
            while True:
                self._step(self._reader(value), decision)
                if decision.fault or self.over:
                    decision.ended = "error" if decision.fault else "episode over"
                    return
                if decision.duration >= skill.max_steps:
                    decision.ended = "step limit"
                    return
                obs = copied(self.obs)
                value = self._inside(lambda: play.send((obs, self.info)))  # noqa: B023
        except StopIteration:
            decision.ended = "returned"
        finally:
            self._close(play)

    def _inside(self, run: Callable[[], Any]) -> Any:
        """Run code of a skill; only there may the timer raise."""
        self._timer.inside = True
        try:
            if self._timer.expired:
                raise SkillTimeout
            return run()
        finally:
            self._timer.inside = False

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
            decision.ended = "error"
            decision.fault = decision.fault or f"skill {skill.name!r} returned without yielding an action"
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

    def _step(self, action: Action, decision: Decision) -> None:
        rules = self._rules
        previous = copied(self.obs) if self._keeps_previous else None
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            self.reward, self.terminated, self.truncated = float(reward), bool(terminated), bool(truncated)
        except MemoryError:
            raise
        except Exception as error:
            raise EnvironmentFailed(f"the environment failed in step {self.steps + 1}: {type(error).__name__}: {error}"[:1000]) from error
        self.obs, self.info = obs, info
        self.steps += 1
        self.episode_return += self.reward
        self.over = self.terminated or self.truncated
        gained = self.reward
        if rules.shaping or (rules.success and not self.success):
            values = {
                "obs": obs,
                "info": info,
                "start": self.start,
                "previous": previous,
                "action": action,
                "reward": self.reward,
                "terminated": self.terminated,
                "truncated": self.truncated,
                "steps": self.steps,
                "episode_return": self.episode_return,
            }
            try:
                if rules.success and not self.success:
                    self.success = rules.success.holds(values)
                if rules.shaping:
                    gained += rules.shaping.amount(values)
            except ExpressionFailed as error:
                decision.fault = str(error)
        decision.reward += rules.gamma**decision.duration * gained
        decision.duration += 1
        if self.after_step is not None:
            self.after_step(action)


class CallTimer:
    """The soft deadline: SIGALRM raises SkillTimeout while a skill's code runs, and again and again if that is swallowed."""

    REPEAT_S = 0.2

    def __init__(self) -> None:
        self.inside = self.expired = False
        signal.signal(signal.SIGALRM, self._fire)

    def arm(self, seconds: float) -> None:
        self.inside = self.expired = False
        signal.setitimer(signal.ITIMER_REAL, seconds, self.REPEAT_S)

    def disarm(self) -> None:
        self.inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _fire(self, *_: Any) -> None:
        # Never raise inside the environment's own code: it would be left half-stepped. `_inside` looks at `expired` next.
        self.expired = True
        if self.inside:
            raise SkillTimeout


def copied(obs: Any) -> Any:
    """A copy a skill may write to; the environment's own arrays stay as they are."""
    if isinstance(obs, np.ndarray):
        return obs.copy()
    if isinstance(obs, dict):
        return {key: copied(value) for key, value in obs.items()}
    if isinstance(obs, tuple):
        return tuple(copied(value) for value in obs)
    return obs if isinstance(obs, (int, float, str, bytes, np.generic)) else copy.deepcopy(obs)
