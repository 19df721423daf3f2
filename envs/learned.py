"""A learned policy as a skill of a locked worker: a small network, evaluated by numpy in float32. No torch, no pickle.

The file is one msgpack map of plain values; weights are little-endian float32 bytes. It says everything that the policy depends on: the
spaces it was learned for, the choices it has, the statistics it normalises by, and when it is done. Everything is checked when it is read.

    observation, action  spaces, as `envs/space.describe` tells them       words, primitives  names of the actions, and of those that stay
    skills      names of the skills it may choose, in its own order        masked             skills that cannot run are never drawn
    frames, statistics   of `envs/perception`                              layers             [[rows, columns, weights, biases], ...]
    deviation   of a Gaussian over Box actions, logarithms, else empty     greedy, seed       the likeliest choice, or drawn from the seed
    until       expression over obs, info, start, previous, action, steps that ends a call; empty: its steps alone do
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlgpt.envs.errors import EnvironmentUnsupported, SkillInvalid
from rlgpt.envs.expression import Expression
from rlgpt.envs.files import fetch
from rlgpt.envs.observations import ObservationView
from rlgpt.envs.options import ActionsUnsupported, SkillActions
from rlgpt.envs.perception import Perception
from rlgpt.envs.space import SpaceData, fold, leaves, restore
from rlgpt.envs.transitions import Call, Primitive
from rlgpt.envs.words import pick

if TYPE_CHECKING:
    from rlgpt.bus.parts import Skill

MEDIA_TYPE = "application/vnd.rlgpt.network+msgpack"
VERSION = 1
MAX_BYTES = 4 << 20
TOLD = ("obs", "info", "start", "previous", "action", "steps")
"""What `until` may speak of: what a call of a skill knows itself."""

Floats = npt.NDArray[np.float32]
Play = Generator[Any, tuple[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
Function = Callable[[Any, dict[str, Any]], Generator[Any, tuple[Any, dict[str, Any]], Any]]
_OVER = object()


@dataclass(frozen=True)
class Network:
    """The content of a file; see the module's words. `layers` are (weights [in, out], biases [out]), Tanh between them."""

    observation: SpaceData
    action: SpaceData
    words: tuple[str, ...]
    primitives: tuple[str, ...]
    skills: tuple[str, ...]
    masked: bool
    frames: int
    statistics: dict[str, Any]
    layers: tuple[tuple[Floats, Floats], ...]
    deviation: Floats
    greedy: bool
    seed: int
    until: str

    def pack(self) -> bytes:
        """The file's bytes. Raises SkillInvalid where they are more than MAX_BYTES."""
        layers = [[*weights.shape, _bytes(weights), _bytes(biases)] for weights, biases in self.layers]
        plain = {**asdict(self), "layers": layers, "deviation": _bytes(self.deviation), "version": VERSION}
        data: bytes = msgpack.packb(plain)
        if len(data) > MAX_BYTES:
            raise SkillInvalid(
                f"the learned policy has {len(data):,} bytes; at most {MAX_BYTES:,} enter a worker: make trainer.hidden smaller"
            )
        return data

    @classmethod
    def unpack(cls, data: bytes) -> Network:
        """Raises SkillInvalid where the bytes are no such file."""
        if len(data) > MAX_BYTES:
            raise SkillInvalid(f"a learned policy of {len(data):,} bytes; at most {MAX_BYTES:,}")
        try:
            plain = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0)
            version = plain.pop("version")
            if version != VERSION:
                raise SkillInvalid(f"a learned policy of version {version!r}, where {VERSION} is known: learn it again")
            layers = tuple(
                (_floats(weights).reshape(rows, columns), _floats(biases).reshape(columns))
                for rows, columns, weights, biases in plain["layers"]
            )
            named = {name: tuple(map(str, plain[name])) for name in ("words", "primitives", "skills")}
            return cls(**{**plain, **named, "layers": layers, "deviation": _floats(plain["deviation"])})
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException, RecursionError) as error:
            raise SkillInvalid(f"these bytes are no learned policy ({type(error).__name__}: {error})") from None


def packed(skill: Skill) -> dict[str, Any]:
    """A skill as it is sent to a worker: with its network's bytes, if it was learned. Raises SkillInvalid: not there, or other bytes."""
    found = skill.model_dump(exclude={"policy"})
    return {**found, "network": read(skill.policy.uri, skill.policy.sha256) if skill.policy else None}


def read(uri: str, sha256: str) -> bytes:
    """The bytes of a policy's file, as an Artifact names it. Raises SkillInvalid."""
    try:
        data = fetch(uri, MAX_BYTES)
    except (OSError, ValueError, ImportError) as error:
        raise SkillInvalid(f"the learned policy {uri} cannot be read: {type(error).__name__}: {error}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SkillInvalid(f"the learned policy {uri}: its bytes have sha256 {found}, not {sha256}: the file was changed, or cut short")
    return data


class LearnedPolicy:
    """A network that plays: `policy(obs, info)` is the generator of one call, as skills are.

    The same moment (see `Calls.moment`) and the same observations give the same choices, in any process.
    """

    def __init__(self, network: Network, observation: SpaceData, action: SpaceData, moment: Callable[[], Any]) -> None:
        """`observation` and `action` are the spaces of the environment it is to play in. Raises SkillInvalid where they are others."""
        for what, learned, here in (("observations", network.observation, observation), ("actions", network.action, action)):
            if learned != here:
                raise SkillInvalid(
                    f"the policy was learned for other {what} than this environment's: {_short(learned)}, not {_short(here)}"
                )
        self._network, self._now = network, moment
        try:
            view = ObservationView(restore(observation))
            self._actions = SkillActions.of(restore(action), network.skills, network.primitives, network.words)
            self._sight = Perception(view, frames=network.frames, normal=bool(network.statistics))
            self._sight.restore(network.statistics)
            self._seen = self._sight.space
            self._until = Expression(network.until, "until") if network.until else None
        except (EnvironmentUnsupported, ActionsUnsupported, KeyError, ValueError, TypeError) as error:
            raise SkillInvalid(f"the learned policy cannot be used: {error}") from None
        if self._until and not self._until.names <= set(TOLD):
            raise SkillInvalid(f"the learned policy ends by {network.until!r}, which may speak of {', '.join(TOLD)} alone")
        _check_sizes(network, self._seen, self._actions)
        self._others: list[tuple[Function, Callable[..., Any] | None]] = []
        self._moment: Any = None
        self._calls = 0

    def bind(self, others: Mapping[str, tuple[Function, Callable[..., Any] | None]]) -> None:
        """The skills it may choose: by name, function and can_run. Raises SkillInvalid where one is missing."""
        missing = [name for name in self._network.skills if name not in others]
        if missing:
            raise SkillInvalid(f"the learned policy chooses skills that are not here: {', '.join(missing)}")
        self._others = [others[name] for name in self._network.skills]

    def __call__(self, obs: Any, info: dict[str, Any]) -> Play:
        """One call: choices until it is done. It never returns by itself where there is no `until`."""
        draw, sight, start, steps = self._generator(), self._sight.anew(), obs, 0
        while True:
            decision = self._decision(sight, draw, obs, info)
            action: Any = next(decision)
            while action is not _OVER:
                previous = obs
                obs, info = yield action
                steps += 1
                if self._done({"obs": obs, "info": info, "start": start, "previous": previous, "action": action, "steps": steps}):
                    decision.close()
                    return obs, info
                action = _resumed(decision, (obs, info))

    def _decision(self, sight: Perception, draw: np.random.Generator | None, obs: Any, info: dict[str, Any]) -> Generator[Any, Any, None]:
        """The actions of one choice, at least one."""
        runnable = np.array([[_may(can, obs, info) for _, can in self._others]], np.bool_)
        seen = sight.see(_batch(obs, self._network.observation), np.zeros(1, np.bool_), learn=False)
        row = self._choose(seen, runnable, draw)
        (choice,), _ = self._actions.decode(row, runnable)
        if isinstance(choice, Call):
            # A skill may write to what it is given; `start` and `previous` stay as they were.
            call = self._others[choice.skill][0](copy.deepcopy(obs), info)
            action = _resumed(call, None)
            if action is not _OVER:
                while action is not _OVER:
                    following, info = yield action
                    action = _resumed(call, (copy.deepcopy(following), info))
                return
            # It took no step, and no choice may leave the environment where it was: the primitive action beside it instead.
            (choice,), _ = self._actions.decode(row, np.zeros_like(runnable))
        assert isinstance(choice, Primitive), "what cannot run becomes a primitive action"
        yield choice.action

    def _choose(self, seen: Any, runnable: npt.NDArray[np.bool_], draw: np.random.Generator | None) -> npt.NDArray[Any]:
        """One row of the policy's action, as `SkillActions.decode` takes it."""
        values = _features(seen, self._seen)
        *hidden, last = self._network.layers
        for weights, biases in hidden:
            values = np.tanh(values @ weights + biases)
        values = values @ last[0] + last[1]
        if isinstance(self._actions.space, spaces.Box):
            noise = draw.standard_normal(len(values), np.float32) if draw else np.float32(0)
            return np.asarray(values + np.exp(self._network.deviation) * noise, np.float32)[None]
        mask = self._actions.mask(runnable) if self._network.masked else None
        if mask is not None:
            values = np.where(mask[0], values, np.float32(-1e8))
        parts = np.split(values, np.cumsum(_choices(self._actions.space))[:-1])
        return np.array([[_drawn(part, draw) for part in parts]], np.int64)

    def _generator(self) -> np.random.Generator | None:
        """Of one call's draws: by the moment at which the decision under way began, and how many calls of it came before this one."""
        if self._network.greedy:
            return None
        now = self._now()
        self._calls = self._calls + 1 if now is self._moment else 0
        self._moment = now
        return np.random.default_rng((self._network.seed, *now, self._calls))

    def _done(self, values: dict[str, Any]) -> bool:
        return self._until is not None and self._until.holds(values)


def _may(can: Callable[..., Any] | None, obs: Any, info: dict[str, Any]) -> bool:
    """Whether a skill can run; as in training, a `can_run` that fails does not hold."""
    try:
        return can is None or bool(can(copy.deepcopy(obs), info))
    except Exception:
        return False


def _resumed(generator: Any, answer: Any) -> Any:
    """Its next action, _OVER where there is none."""
    try:
        return generator.send(answer)
    except StopIteration:
        return _OVER


def _drawn(logits: Floats, draw: np.random.Generator | None) -> int:
    if draw is None:
        return int(logits.argmax())
    shares = np.cumsum(np.exp(logits - logits.max()))
    # Scaled by the sum, so that rounding leaves no gap above the last; what has no share of its own is then never drawn.
    return int((draw.random() * shares[-1] >= shares).sum())


def _choices(space: spaces.Space[Any]) -> list[int]:
    """How many logits each part of a discrete action has."""
    return [int(space.n)] if isinstance(space, spaces.Discrete) else [int(n) for n in getattr(space, "nvec", ())]


def _features(seen: Any, space: spaces.Space[Any]) -> Floats:
    """What the network's first layer takes, as stable-baselines3 makes it: every part flat, one-hot where it is a choice, in order."""
    if isinstance(space, spaces.Dict):
        return np.concatenate([_features(seen[key], part) for key, part in space.spaces.items()])
    row = np.asarray(seen[0])
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        counts = _choices(space)
        found = np.zeros(sum(counts), np.float32)
        found[np.cumsum([0, *counts[:-1]]) + row.reshape(-1).astype(np.int64)] = 1.0
        return found
    return row.reshape(-1).astype(np.float32)


def _width(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Dict):
        return sum(_width(part) for part in space.spaces.values())
    counts = _choices(space)
    return sum(counts) if counts else int(np.prod(space.shape or ()))


def _check_sizes(network: Network, seen: spaces.Space[Any], actions: SkillActions) -> None:
    """Raises SkillInvalid where the layers do not lead from what is seen to the choices."""
    given = isinstance(actions.space, spaces.Box)
    wanted = int(np.prod(actions.space.shape or ())) if given else sum(_choices(actions.space))
    sizes = [_width(seen), *(weights.shape[1] for weights, _ in network.layers)]
    fits = all(weights.shape[0] == size for (weights, _), size in zip(network.layers, sizes, strict=False))
    if not network.layers or not fits or sizes[-1] != wanted or (given and network.deviation.shape != (wanted,)):
        raise SkillInvalid(f"the learned policy's layers have sizes {sizes}, where {wanted} numbers have to come of {sizes[0]}")


def _batch(obs: Any, data: SpaceData) -> Any:
    """One observation as a batch of one, without the parts that are no arrays."""
    return fold(data, [np.asarray(pick(obs, leaf.path) if leaf.path else obs, leaf.dtype)[None] for leaf in leaves(data)])


def _bytes(values: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _floats(data: bytes) -> Floats:
    values = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("weights that are no finite numbers")
    return values


def _short(space: SpaceData) -> str:
    return f"{str(space)[:200]}"
