"""PPO over options: stable-baselines3's PPO and sb3-contrib's MaskablePPO, with durations in the rollout and time in environment steps.

Networks, loss and optimiser are theirs, untouched. Ours is how a rollout is collected and what its advantages are (`envs/smdp.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from typing_extensions import override

from rlgpt.agents.learning.actor import SmallActor
from rlgpt.agents.learning.devices import obs_to_device, to_device
from rlgpt.agents.learning.imitation import PastSuccesses
from rlgpt.bus.task import Learner
from rlgpt.envs.smdp import ReturnSpread, ReturnUnit, smdp_gae
from rlgpt.envs.transitions import Transitions
from rlgpt.envs.vector import SkillVecEnv

# Torch checks the arguments of every distribution, which costs a tenth of a small network's time. What it would find, weights that are
# no longer numbers, `Training` looks for after every update.
torch.distributions.Distribution.set_default_validate_args(False)


class DecisionBuffer(RolloutBuffer):
    """A rollout of decisions, [T, B]. Mixed in before each of stable-baselines3's four rollout buffers.

    Beside theirs it keeps `durations`, `terminated`, `truncated` and, where an episode was truncated, `bootstraps`: the value of its last
    observation. `cut` ends a rollout before it is full, which a budget in environment steps needs.
    """

    durations: npt.NDArray[np.int32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    bootstraps: npt.NDArray[np.float32]
    own = ("durations", "terminated", "truncated", "bootstraps")
    theirs = ("observations", "actions", "rewards", "values", "log_probs", "episode_starts", "advantages", "returns", "action_masks")

    def __init__(self, buffer_size: int, *args: Any, **kwargs: Any) -> None:
        self.capacity = buffer_size
        super().__init__(buffer_size, *args, **kwargs)

    def reset(self) -> None:
        self.buffer_size = self.capacity
        super().reset()
        for name, dtype in zip(self.own, (np.int32, np.bool_, np.bool_, np.float32), strict=True):
            setattr(self, name, np.zeros((self.buffer_size, self.n_envs), dtype))

    def record(self, transitions: Transitions, bootstraps: npt.NDArray[np.float32]) -> None:
        """What the decision that is added next led to: call before `add`."""
        self.durations[self.pos] = transitions.duration
        self.terminated[self.pos] = transitions.terminated
        self.truncated[self.pos] = transitions.truncated
        self.bootstraps[self.pos] = bootstraps

    def cut(self) -> None:
        """End the rollout here; the rows not filled are dropped."""
        for name in self.own + self.theirs:
            rows = getattr(self, name, None)
            if isinstance(rows, dict):
                setattr(self, name, {key: part[: self.pos] for key, part in rows.items()})
            elif rows is not None:
                setattr(self, name, rows[: self.pos])
        self.buffer_size = self.pos
        self.full = True

    @override
    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[Any]) -> None:
        """`dones` is stable-baselines3's; here every row knows how it ended."""
        following = np.concatenate([self.values[1:], last_values.cpu().numpy().reshape(1, -1)])
        self.advantages, self.returns = smdp_gae(
            self.rewards,
            self.durations,
            terminated=self.terminated,
            truncated=self.truncated,
            value=self.values,
            next_value=np.where(self.terminated | self.truncated, self.bootstraps, following),
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
        )

    def get(self, batch_size: int | None = None) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().get(batch_size):
            # PPO normalises advantages within a batch; the deviation of a single one is not a number and would poison the weights.
            if len(batch.advantages) > 1:
                self.touched()
                yield batch

    @override
    def to_torch(self, array: npt.NDArray[Any], copy: bool = True) -> torch.Tensor:
        """Minibatches for a GPU go through page-locked memory, so that copying one does not wait for the work before it."""
        return to_device(array, self.device) if self.device.type == "cuda" else super().to_torch(array, copy)

    def touched(self) -> None:
        """Called before each minibatch of an update; the learner replaces it to show that it is alive during a long update."""


class PlainBuffer(DecisionBuffer, RolloutBuffer):
    """Array observations."""


class PlainDictBuffer(DecisionBuffer, DictRolloutBuffer):  # type: ignore[misc]
    """Dict observations."""


class MaskableBuffer(DecisionBuffer, MaskableRolloutBuffer):  # type: ignore[misc]
    """Array observations, masked choices."""


class MaskableDictBuffer(DecisionBuffer, MaskableDictRolloutBuffer):  # type: ignore[misc]
    """Dict observations, masked choices."""


class OptionLearning(OnPolicyAlgorithm):
    """Collects rollouts whose decisions last several environment steps. `num_timesteps` counts environment steps.

    step_limit   ends a rollout early: learning passes it by less than one decision per environment
    unit         that rewards and values are counted in (see `ReturnUnit`); the policy's own values are in `counted` of it
    transitions  of the decision just taken, for callbacks
    past         successful episodes that are imitated beside PPO, or None
    """

    step_limit: float = float("inf")
    unit: ReturnUnit
    counted: float = 1.0
    transitions: Transitions
    past: PastSuccesses | None = None

    def _setup_model(self) -> None:
        super()._setup_model()
        self.unit = ReturnUnit(self.n_envs, self.gamma)
        self._small = SmallActor(self.policy) if SmallActor.fits(self.policy) else None

    def restart_episodes(self) -> None:
        """Begin fresh episodes everywhere."""
        assert self.env is not None
        self._last_obs = self.env.reset()  # type: ignore[assignment]
        self._last_episode_starts = np.ones((self.env.num_envs,), dtype=bool)
        self.unit.forget_episodes()
        if self.past:
            self.past.forget_open()

    @override
    def collect_rollouts(  # type: ignore[override]
        self, env: SkillVecEnv, callback: BaseCallback, rollout_buffer: DecisionBuffer, n_rollout_steps: int, use_masking: bool = True
    ) -> bool:
        """Fill the buffer with `n_rollout_steps` decisions per environment, fewer at the step limit; False if the callback stopped it."""
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        while rollout_buffer.pos < n_rollout_steps and self.num_timesteps < self.step_limit:
            masks = env.masks() if isinstance(self, MaskablePPO) else None
            actions, values, log_probs = self._act(self._last_obs, masks)
            self.transitions = env.decide(actions)
            self.num_timesteps += int(self.transitions.duration.sum())
            done = self.transitions.terminated | self.transitions.truncated
            self.unit.follow(self.transitions.reward, self.transitions.duration, done)
            if not callback.on_step():
                return False
            rollout_buffer.record(self.transitions, self._bootstraps(env, self.transitions))
            more = {} if masks is None else {"action_masks": masks}
            # SB3 stores these as they are; the start of an episode is part of its format, though our advantages do not read it.
            rollout_buffer.add(self._last_obs, actions, self.transitions.reward, self._last_episode_starts, values, log_probs, **more)  # type: ignore[arg-type]
            if self.past:
                self.past.follow(self._last_obs, actions, masks, self.transitions)  # type: ignore[arg-type]
            self._last_obs = env.sight.see(self.transitions.obs, done, learn=True)
            self._last_episode_starts = done
        if rollout_buffer.pos < rollout_buffer.buffer_size:
            rollout_buffer.cut()
        self._change_unit(rollout_buffer)
        rollout_buffer.compute_returns_and_advantage(self._values(self._last_obs), self._last_episode_starts)  # type: ignore[arg-type]
        callback.on_rollout_end()
        return True

    def _change_unit(self, rollout: DecisionBuffer) -> None:
        """Count the rollout's rewards in the present unit, and all values too."""
        shrink = self.adopt_unit()
        if shrink != 1.0:
            rollout.values *= shrink
            rollout.bootstraps *= shrink
        rollout.rewards /= self.counted

    def adopt_unit(self) -> float:
        """Count the policy's values in the present unit: the critic's last layer shrinks, by the factor returned, as the unit grows."""
        shrink = self.counted / self.unit.size
        if shrink != 1.0:
            with torch.no_grad():
                self.policy.value_net.weight.mul_(shrink)
                self.policy.value_net.bias.mul_(shrink)
            self.counted = self.unit.size
        return shrink

    def improve(self, budget: int) -> None:
        """One update from the rollout, with the schedules at this point of the budget. A rollout of one decision teaches nothing."""
        self._update_current_progress_remaining(self.num_timesteps, budget)
        if self.rollout_buffer.buffer_size * self.n_envs > 1:
            self.train()
        if self.past:
            self.past.imitate(self)

    def losses(self) -> dict[str, Any]:
        """PPO's own figures of the last update."""
        return {name: figure for name, figure in self.logger.name_to_value.items() if name.startswith("train/")}

    def _act(self, obs: Any, masks: npt.NDArray[np.bool_] | None) -> tuple[npt.NDArray[Any], torch.Tensor, torch.Tensor]:
        if self._small:
            drawn, worth, likely = self._small(obs, masks)
            return drawn, torch.from_numpy(worth), torch.from_numpy(likely)
        with torch.no_grad():
            tensors = obs_to_device(obs, self.device)
            actions, values, log_probs = self.policy(tensors) if masks is None else self.policy(tensors, action_masks=masks)
        return actions.cpu().numpy(), values, log_probs

    def _values(self, obs: Any) -> torch.Tensor:
        with torch.no_grad():
            return self.policy.predict_values(obs_to_device(obs, self.device))

    def _bootstraps(self, env: SkillVecEnv, transitions: Transitions) -> npt.NDArray[np.float32]:
        """[B] value of the last observation of the episodes that were cut off, 0 elsewhere."""
        bootstraps = np.zeros(env.num_envs, np.float32)
        cut = np.flatnonzero(transitions.truncated & ~transitions.terminated)
        if len(cut):
            bootstraps[cut] = self._values(env.sight.ends(transitions.final_obs, cut)).cpu().numpy().reshape(-1)
        return bootstraps


class OptionPPO(OptionLearning, PPO):
    """PPO over options."""


class OptionMaskablePPO(OptionLearning, MaskablePPO):  # type: ignore[misc]
    """MaskablePPO over options, some of which cannot always run."""


def make_ppo(env: SkillVecEnv, settings: Learner, *, masked: bool, seed: int, device: str) -> OptionPPO | OptionMaskablePPO:
    """PPO for this environment under these settings; learns nothing yet."""
    parts = isinstance(env.observation_space, spaces.Dict)
    kind = OptionMaskablePPO if masked else OptionPPO
    buffers = (PlainDictBuffer, MaskableDictBuffer) if parts else (PlainBuffer, MaskableBuffer)
    with warnings.catch_warnings():
        # A last, smaller minibatch is no harm; one of a single decision, which would be, the buffer leaves out.
        warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
        model = kind(
            env.view.policy,
            env,
            n_steps=settings.rollout,
            batch_size=min(settings.batch_size, settings.rollout * env.num_envs),
            n_epochs=settings.epochs,
            learning_rate=(lambda left: max(left, 0.0) * settings.learning_rate) if settings.anneal else settings.learning_rate,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            clip_range=settings.clip,
            ent_coef=settings.entropy,
            # eps is stable-baselines3's own; fused takes one step for all weights instead of one each, an eighth of a small update.
            policy_kwargs={"net_arch": list(settings.hidden), "optimizer_kwargs": {"eps": 1e-5, "fused": True}},
            rollout_buffer_class=buffers[masked],
            seed=seed,
            device=device,
        )
    if settings.normalize_returns:
        model.unit = ReturnSpread(env.num_envs, settings.gamma)
    if settings.imitate:
        model.past = PastSuccesses(env, settings, masked=masked)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model
