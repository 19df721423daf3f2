"""Learning from what went well: self-imitation of past successful episodes, and cloning of demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch.nn import functional

from rlgpt.agents.learning.devices import obs_to_device, to_device
from rlgpt.bus.task import Learner
from rlgpt.envs.observations import Learnable
from rlgpt.envs.transitions import Transitions

Array = npt.NDArray[Any]
REMEMBERED, REMEMBERED_BYTES = 20_000, 64 << 20
"""Decisions of past successes that are kept, and bytes of them: whichever is less. They are part of every checkpoint."""
BATCHES = 4
"""Minibatches of them after every update of PPO's, as in the paper."""
CRITIC = 0.01
"""Weight of the critic's part, the paper's beta."""


@dataclass(frozen=True)
class Decisions:
    """D decisions. seen: what the policy saw; actions [D, ...] as it gives them; masks [D, n] or None; returns [D], discounted rewards."""

    seen: Learnable
    actions: Array
    masks: Array | None
    returns: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.returns)

    def rows(self, which: Any) -> Decisions:
        """Some of them."""
        seen = {key: part[which] for key, part in self.seen.items()} if isinstance(self.seen, dict) else self.seen[which]
        return Decisions(seen, self.actions[which], None if self.masks is None else self.masks[which], self.returns[which])


def judge(model: Any, decisions: Decisions) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values [D], log-probabilities [D] of their actions, and their returns [D], all as the model counts them now."""
    device = model.device
    actions = to_device(decisions.actions, device)
    if isinstance(model.action_space, spaces.Discrete):
        actions = actions.long().flatten()
    more = {} if decisions.masks is None else {"action_masks": to_device(decisions.masks, device)}
    values, log_probs, _ = model.policy.evaluate_actions(obs_to_device(decisions.seen, device), actions, **more)
    returns = to_device((decisions.returns / model.counted).astype(np.float32), device)
    return values.flatten(), log_probs, returns


class PastSuccesses:
    """Successful episodes of this learning, the newest last, and the step that imitates them.

    Self-imitation (Oh, Guo, Singh & Lee 2018, ICML) on the semi-MDP: with the discounted return R of a past decision, counted from it to
    the episode's end with gamma**duration, and (x)+ = max(x, 0), the loss is  -log pi(a|s) (R - V(s))+ + beta/2 ((R - V(s))+)**2.
    Decisions are drawn uniformly. What the policy saw is kept as it saw it, also where normalisation has moved on since.
    """

    def __init__(self, env: Any, settings: Learner, *, masked: bool) -> None:
        self._gamma, self._weight, self._batch = settings.gamma, settings.imitate, settings.batch_size
        parts = _parts(env.observation_space)
        kinds = {f"seen{key}": (part.dtype, part.shape) for key, part in parts.items()}
        kinds["actions"] = (env.action_space.dtype, env.action_space.shape)
        if masked:
            kinds["masks"] = (np.dtype(np.bool_), env.masks().shape[1:])
        kinds["returns"] = (np.dtype(np.float64), ())
        row = sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in kinds.values())
        self._capacity = max(1, min(REMEMBERED, REMEMBERED_BYTES // row))
        self._kept = {name: np.zeros((self._capacity, *shape), kind) for name, (kind, shape) in kinds.items()}
        self._size = self._next = 0
        self._open: list[list[tuple[Any, ...]]] = [[] for _ in range(env.num_envs)]

    def follow(self, seen: Learnable, actions: Array, masks: Array | None, transitions: Transitions) -> None:
        """One decision in every environment; an episode that ends in success is remembered."""
        for i, episode in enumerate(self._open):
            row = {key: part[i] for key, part in seen.items()} if isinstance(seen, dict) else seen[i]
            mask = None if masks is None else masks[i]
            episode.append((row, actions[i], mask, float(transitions.reward[i]), int(transitions.duration[i])))
            end = transitions.ended[i]
            if end is not None and end.success and not transitions.faults[i]:
                self.remember(self._decisions(episode))
            if transitions.terminated[i] or transitions.truncated[i]:
                self._open[i] = []
            elif len(episode) > self._capacity:
                del episode[0]

    def forget_open(self) -> None:
        """Every environment begins a fresh episode."""
        self._open = [[] for _ in self._open]

    def remember(self, decisions: Decisions) -> None:
        """Keep these decisions, in place of the oldest ones."""
        for row in range(max(0, len(decisions) - self._capacity), len(decisions)):
            one = decisions.rows(row)
            for name, value in _named(one).items():
                self._kept[name][self._next] = value
            self._next, self._size = (self._next + 1) % self._capacity, min(self._size + 1, self._capacity)

    def imitate(self, model: Any) -> None:
        """Some steps of the model's optimiser on what is remembered. Draws with numpy's global generator."""
        if not self._size:
            return
        model.policy.set_training_mode(True)
        for _ in range(BATCHES):
            model.rollout_buffer.touched()
            drawn = self._some(np.random.randint(self._size, size=min(self._batch, self._size)))
            values, log_probs, returns = judge(model, drawn)
            better = torch.clamp(returns - values, min=0)
            loss = self._weight * (-(log_probs * better.detach()).mean() + CRITIC / 2 * (better**2).mean())
            step(model, model.policy.optimizer, loss)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint taken where every environment begins a fresh episode."""
        return {"next": self._next, "kept": {name: torch.from_numpy(rows[: self._size].copy()) for name, rows in self._kept.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """What `state` told."""
        self._next, self._size = state["next"], len(state["kept"]["returns"])
        for name, rows in state["kept"].items():
            self._kept[name][: self._size] = rows.numpy()
        self.forget_open()

    def _decisions(self, episode: list[tuple[Any, ...]]) -> Decisions:
        seen, actions, masks, rewards, durations = zip(*episode, strict=True)
        both = {key: np.stack([row[key] for row in seen]) for key in seen[0]} if isinstance(seen[0], dict) else np.stack(seen)
        return Decisions(
            both,
            np.stack(actions),
            None if masks[0] is None else np.stack(masks),
            discounted(np.array(rewards), np.array(durations), self._gamma),
        )

    def _some(self, which: npt.NDArray[np.int64]) -> Decisions:
        rows = {name: part[which] for name, part in self._kept.items()}
        seen = rows["seen"] if "seen" in rows else {name[4:]: part for name, part in rows.items() if name.startswith("seen")}
        return Decisions(seen, rows["actions"], rows.get("masks"), rows["returns"])


def discounted(rewards: Array, durations: Array, gamma: float) -> npt.NDArray[np.float64]:
    """[D] R[t] = r[t] + gamma**k[t] R[t+1]: return of every decision to the end of its episode, after which nothing is counted."""
    returns, later = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        returns[t] = later = float(rewards[t]) + gamma ** float(durations[t]) * later
    return returns


def step(model: Any, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step down the loss, its gradient cut as PPO's is."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.policy.parameters(), model.max_grad_norm)
    optimizer.step()


PASSES, PATIENCE, HELD_BACK = 200, 10, 10
"""Most passes over the demonstrations; passes without gain on what is held back before it ends; one in so many decisions is held back."""
CLONE_RATE = 1e-3


def clone(model: Any, decisions: Decisions) -> int:
    """Fit the policy to the choices, and the critic to the returns, of demonstrations; passes made.

    It ends, with the weights of the best pass, when a tenth of the decisions that is held back is no longer predicted better: what is
    cloned further is learned by heart, and a policy that is sure of everything explores nothing.
    """
    order = np.random.permutation(len(decisions))
    held, taught = order[: len(order) // HELD_BACK], order[len(order) // HELD_BACK :]
    # A Gaussian's deviation is left as it is: the likelihood of a few exact actions would shrink it to nothing, and exploring with it.
    weights = [part for name, part in model.policy.named_parameters() if name != "log_std"]
    optimizer = torch.optim.Adam(weights, lr=CLONE_RATE)
    best, kept, since, passes = float("inf"), _weights(model), 0, 0
    model.policy.set_training_mode(True)
    while passes < PASSES and since < PATIENCE:
        passes, since = passes + 1, since + 1
        shuffled = np.random.permutation(taught)
        for first in range(0, len(shuffled), model.batch_size):
            model.rollout_buffer.touched()
            step(model, optimizer, _loss(model, decisions.rows(shuffled[first : first + model.batch_size])))
        with torch.no_grad():
            now = float(_loss(model, decisions.rows(held if len(held) else taught)))
        if now < best:
            best, kept, since = now, _weights(model), 0
    model.policy.load_state_dict(kept)
    return passes


def _loss(model: Any, decisions: Decisions) -> torch.Tensor:
    values, log_probs, returns = judge(model, decisions)
    loss: torch.Tensor = -log_probs.mean() + model.vf_coef * functional.mse_loss(values, returns)
    return loss


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def _parts(space: spaces.Space[Any]) -> dict[str, Any]:
    return dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}


def _named(one: Decisions) -> dict[str, Any]:
    seen = {f"seen{key}": part for key, part in one.seen.items()} if isinstance(one.seen, dict) else {"seen": one.seen}
    return {**seen, "actions": one.actions, "returns": one.returns} | ({} if one.masks is None else {"masks": one.masks})
