"""One learning from its request to a trained policy: rollouts, updates, the curve, checkpoints, and skills that fail too often.

A checkpoint is written at the end of an update, when `checkpoint_every` environment steps have passed since the last one, and *every
environment then begins a fresh episode*, whether or not the learning is ever interrupted. So all that a continued learning needs is in
the file, and on a CPU it draws the same curve as an unbroken one. Episodes cut there are bootstrapped like those at a rollout's end;
where episodes are long, a large `checkpoint_every` keeps them whole.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from stable_baselines3.common.callbacks import BaseCallback

from rlgpt.agents.learning import checkpoint
from rlgpt.agents.learning.curve import Curve, tensorboard
from rlgpt.agents.learning.devices import choose_device, compile_networks
from rlgpt.agents.learning.endings import LearningFailed, Stopped
from rlgpt.agents.learning.policy import PolicyPlayer, actions_of, is_masked, perception
from rlgpt.agents.learning.ppo import make_ppo
from rlgpt.agents.learning.uses import Uses
from rlgpt.agents.learning.warm_start import warm_start
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Point
from rlgpt.envs.episodes import EpisodeSeeds, Pool
from rlgpt.envs.lead import UNREACHED
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.perception import zeros
from rlgpt.envs.transitions import Transitions
from rlgpt.envs.vector import SkillVecEnv

log = structlog.get_logger()

QUARANTINE = 10
"""Faults after which a skill may not be chosen any more."""
LOGGED = frozenset((*range(1, 11), *(10**n for n in range(2, 9))))
"""Which of a choice's faults stand in the log: the first ten, the hundredth, ...; one line each would drown the others."""
BYSTANDER = "lost with its worker"
"""How the pool's fault begins where an environment only shared a process with a skill that ended it."""
THREADS = 1
"""Of torch, for networks on vectors: a second one costs more in waiting than it gives (tests/benchmarks/bench_learner.py)."""
PATIENCE = 100
"""Decisions in a row, of all environments, that may pass without a single environment step."""


class Training:
    """The learning of one request on one pool. `run` learns, from the newest checkpoint in `folder` if there is one.

    alive    called before each decision and minibatch; False stops the learning at once
    resumed  times it continued from a checkpoint
    """

    def __init__(
        self,
        request: TrainingRequested,
        pool: Pool,
        folder: Path,
        *,
        logs: Path,
        on_point: Callable[[Point], None],
        alive: Callable[[], bool],
    ) -> None:
        settings, held = request.learner, request.evaluation
        self.request, self.settings, self.folder, self._alive = request, settings, folder, alive
        view = ObservationView(pool.observation_space)
        self.device = choose_device(settings.device, view.policy)
        if view.policy == "MlpPolicy":
            torch.set_num_threads(THREADS)
        self.seeds = EpisodeSeeds(request.seed, range(held.first_seed, held.first_seed + held.episodes))
        self.actions = actions_of(request, pool)
        self.env = SkillVecEnv(
            pool,
            self.actions,
            view,
            self.seeds,
            environments=settings.environments,
            skills=len(request.skills),
            sight=perception(request, view),
        )
        self.masked = is_masked(request, self.actions)
        self.model = make_ppo(self.env, settings, masked=self.masked, seed=request.seed, device=self.device)
        if settings.compile:
            compile_networks(self.model.policy, zeros(self.env.observation_space))
        self.model.step_limit = settings.env_steps
        self.model.rollout_buffer.touched = self._still_alive  # type: ignore[attr-defined]
        self.faults: Counter[str] = Counter()
        self.uses = Uses(self.actions.names, self.actions.primitives)
        self.resumed, self.learn_s, self._idle, self._saved_at = 0, 0.0, 0, 0
        state = checkpoint.newest(folder, digest(request))
        self.writer = tensorboard(logs, state["env_steps"] if state else 0)
        self.curve = Curve(self.actions.names, settings.env_steps, on_point, self.writer)
        if state:
            self._restore(state)

    def run(self) -> None:
        """Learn until the budget of environment steps is spent. Raises Stopped, LearningFailed."""
        model, budget, began = self.model, self.settings.env_steps, time.monotonic() - self.learn_s
        callback = _Watch(self)
        callback.init_callback(model)
        if self.settings.warm_start and not self.resumed:
            warm_start(self.request, model, self.env, self.seeds, self._alive)
            self.learn_s = time.monotonic() - began
            self._save()
        while model.num_timesteps < budget:
            if self._saved_at == model.num_timesteps:
                model.restart_episodes()
            if not model.collect_rollouts(self.env, callback, model.rollout_buffer, model.n_steps):  # type: ignore[arg-type]
                raise Stopped
            try:
                model.improve(budget)
            except ValueError:  # how torch's distributions meet weights that became infinite in the middle of an update
                self._check_weights()
                raise
            self._check_weights()
            self.learn_s = time.monotonic() - began
            over = model.num_timesteps >= budget
            self.curve.close_point(model.num_timesteps, model.losses(), last=over)
            if over or model.num_timesteps - self._saved_at >= self.settings.checkpoint_every:
                self._save()

    def close(self) -> None:
        """Write out what TensorBoard has not seen yet."""
        self.writer.close()

    def player(self) -> PolicyPlayer:
        """The policy as it is now."""
        greedy = self.request.evaluation.actions == "greedy"
        sight = perception(self.request, self.env.view)
        sight.restore(self.env.sight.state())
        return PolicyPlayer(
            self.model.policy,
            self.actions,
            sight,
            masked=self.masked,
            greedy=greedy,
            seed=self.request.seed,
            blocked=self.env.blocked,
        )

    def watch(self) -> bool:
        """After every decision: count, and set aside what fails too often. False stops."""
        transitions = self.model.transitions
        self.curve.add(transitions, self.env.chosen)
        self.uses.add(self.env.offered, self.env.chosen, transitions)
        if any(transitions.faults):
            self._note_faults(transitions.faults)
        self._idle = 0 if _took_steps(transitions) else self._idle + 1
        if self._idle >= PATIENCE:
            fault = next(filter(None, transitions.faults), "no fault was reported")
            raise LearningFailed(f"{PATIENCE} decisions in a row led to no environment step; the last: {fault}", self.model.num_timesteps)
        return self._alive()

    def _note_faults(self, faults: tuple[str, ...]) -> None:
        for i in (i for i, fault in enumerate(faults) if fault):
            which = int(self.env.chosen[i])
            name, skill = self.actions.names[which], which - self.actions.primitives
            if faults[i].startswith((BYSTANDER, UNREACHED)):
                continue
            self.faults[name] += 1
            self.uses.fail(which, faults[i])
            if self.faults[name] in LOGGED:
                log.warning("decision_failed", choice=name, times=self.faults[name], env_steps=self.model.num_timesteps, why=faults[i])
            if skill >= 0 and self.faults[name] >= QUARANTINE and not self.env.blocked[skill]:
                self.env.block(skill)
                log.warning("skill_quarantined", skill=name, faults=self.faults[name], env_steps=self.model.num_timesteps)

    def _still_alive(self) -> None:
        if not self._alive():
            raise Stopped

    def _check_weights(self) -> None:
        if not all(bool(torch.isfinite(weights).all()) for weights in self.model.policy.parameters()):
            raise LearningFailed(
                f"PPO diverged: after {self.model.num_timesteps} environment steps its weights are no longer numbers; lower "
                f"learner.learning_rate (now {self.settings.learning_rate:g}), or look for enormous rewards or observations",
                self.model.num_timesteps,
            )

    # ------------------------------------------------------------ checkpoints

    def _save(self) -> None:
        numpy_state: Any = np.random.get_state(legacy=True)
        state = {
            "request": digest(self.request),
            "env_steps": self.model.num_timesteps,
            "updates": self.model._n_updates,
            "counted": self.model.counted,
            "unit": self.model.unit.state(),
            "sight": self.env.sight.state(),
            "past": self.model.past.state() if self.model.past else {},
            "policy": self.model.policy.state_dict(),
            "optimizer": self.model.policy.optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.device.startswith("cuda") else [],
            "numpy": [numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]],
            "python": random.getstate(),
            "seeds_drawn": self.seeds.drawn,
            "faults": dict(self.faults),
            "blocked": self.env.blocked.tolist(),
            "curve": self.curve.state(),
            "uses": self.uses.state(),
            "learn_s": self.learn_s,
            "resumed": self.resumed,
        }
        path = checkpoint.save(self.folder, self.model.num_timesteps, state)
        self._saved_at = self.model.num_timesteps
        log.info("checkpoint_saved", path=str(path), env_steps=self._saved_at)

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.policy.load_state_dict(state["policy"])
        self.model.policy.optimizer.load_state_dict(state["optimizer"])
        self.model.num_timesteps = self._saved_at = state["env_steps"]
        self.model._n_updates = state["updates"]
        self.model.counted = state["counted"]
        self.model.unit.restore(state["unit"])
        self.env.sight.restore(state["sight"])
        if self.model.past:
            self.model.past.restore(state["past"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] and self.device.startswith("cuda"):
            torch.cuda.set_rng_state_all(state["cuda"])
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, np.array(keys, np.uint32), *rest))
        random.setstate(state["python"])
        self.seeds.drawn = state["seeds_drawn"]
        self.faults = Counter(state["faults"])
        self.env.blocked[:] = state["blocked"]
        self.curve.restore(state["curve"])
        self.uses.restore(state["uses"])
        self.learn_s, self.resumed = state["learn_s"], state["resumed"] + 1
        log.info("learning_resumed", env_steps=self._saved_at, of=self.settings.env_steps, resumed=self.resumed)


class _Watch(BaseCallback):
    """stable-baselines3 asks after every decision; the training answers."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training

    def _on_step(self) -> bool:
        return self._training.watch()


def _took_steps(transitions: Transitions) -> bool:
    """Whether some environment took a step. An episode that never began counts one, so that no decision is free, and took none."""
    if not any(fault.startswith(UNREACHED) for fault in transitions.faults):
        return bool(transitions.duration.any())
    pairs = zip(transitions.duration.tolist(), transitions.faults, strict=True)
    return any(steps and not fault.startswith(UNREACHED) for steps, fault in pairs)


def digest(request: TrainingRequested) -> str:
    """Of what a learning depends on: a checkpoint of another digest is not continued from."""
    return hashlib.sha256(request.model_dump_json(exclude={"plan", "reason", "workers", "practice", "held_out"}).encode()).hexdigest()
