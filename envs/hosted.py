"""A hosted environment as the locked worker sees it: Gymnasium's interface over a stream it inherited before the lock.

The host holds no model-written code, but it may be another machine, or an old library gone wrong: what it answers has a fixed layout,
computed from its spaces, and everything beside that is bounded and checked. Every wait ends: in an answer, or in HostLost.
"""

from __future__ import annotations

import math
import socket
import time
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np

from rlgpt.envs.actions import TAKEN
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, HostLost
from rlgpt.envs.handle import plain
from rlgpt.envs.hosted_spaces import checked, whole_observation, whole_space
from rlgpt.envs.hosting.frames import FrameError, Late, Stream, pack
from rlgpt.envs.hosting.spaces import Layout
from rlgpt.envs.layout import HOST_WAITS
from rlgpt.envs.space import leaves

MARGIN_S = 2.0  # the host itself gives an environment up at its deadline, and says why; only then does this side
MAX_PART = 256 << 20
MAX_PICTURE = 16 << 20


class HostedEnv(gymnasium.Env[Any, Any]):
    """The proxy. `attach` gives it a connection; until then, and after HostLost, it can do nothing.

    waited_s  seconds it has waited for its host in all
    """

    def __init__(self, opened: dict[str, Any], name: str, waits: dict[str, float], limit: int | None) -> None:
        """`opened` is the host's answer to `open`; `waits` the seconds of start_s, step_s and reset_s; `limit` the time limit to ask for.

        Raises EnvironmentUnsupported where its spaces cannot be used.
        """
        self._observed, self._acted = checked(opened["spaces"][0]), checked(opened["spaces"][1])
        self._opened, self._waits, self._limit, self._name = opened, waits, limit, name
        self._layout = Layout(self._observed)
        if self._layout.size > MAX_PART:
            raise EnvironmentUnsupported(f"an observation of {self._layout.size} bytes; at most {MAX_PART}")
        self.observation_space, self.action_space = whole_space(self._observed), whole_space(self._acted)
        found = opened.get("limit")
        self.spec: Any = SimpleNamespace(
            id=plain(opened.get("id"), 200), max_episode_steps=found if isinstance(found, int) and found > 0 else None
        )
        self.render_mode = "rgb_array" if opened.get("renders") is True else None
        self._act = leaves(self._acted)[0].dtype if self._acted["type"] in TAKEN else None
        self._stream: Stream | None = None
        self._header: Any = None
        self._why = ""
        self._said: list[str] = []
        self._heed(opened)
        self._number, self.waited_s = 0, 0.0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the host warned of, for people."""
        return tuple(self._said)

    def twin(self) -> HostedEnv:
        """Another of the same, not connected yet."""
        kind = type(self)
        return kind(self._opened, self._name, self._waits, self._limit)

    def attach(self, end: socket.socket, header: Any = None) -> None:
        """Use this connection from now on; nothing is sent yet. `header` is told of every wait (see `layout.HOST_WAITS`)."""
        self.detach()
        self._header, self._why = header, ""
        drawn = MAX_PICTURE if self.render_mode else 0
        self._stream, self._number = Stream(end, max(self._layout.size, MAX_PART if self._opened.get("restorable") else drawn)), 0

    def detach(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:  # noqa: ARG002
        """Raises HostLost, or RuntimeError with the environment's own error."""
        super().reset(seed=seed)
        if not self._number:
            self._open()
        head, body = self._ask({"do": "reset", "seed": int(seed) if seed is not None else int(self.np_random.integers(2**31))})
        self._heed(head)
        return self._seen(head, body)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises as `reset`."""
        head, body = self._ask({"do": "step"}, np.asarray(action, self._act).tobytes())
        reward, terminated, truncated = head.get("reward"), head.get("terminated"), head.get("truncated")
        if not isinstance(reward, float) or not isinstance(terminated, bool) or not isinstance(truncated, bool):
            raise self._lost(f"it gave a step's outcome that cannot be: {reward!r}, {terminated!r}, {truncated!r}"[:300])
        if not math.isfinite(reward):
            raise HostedFailure(f"the host's environment gave the reward {reward}")
        obs, info = self._seen(head, body)
        return obs, reward, terminated, truncated, info

    def render(self) -> Any:
        """What its host draws now, [height, width, 3] uint8. Raises HostLost, or RuntimeError with the environment's own error."""
        head, body = self._ask({"do": "render"})
        height, width = (side if type(side := head.get(name)) is int and side > 0 else 0 for name in ("height", "width"))
        if not height or not width or len(body) != 3 * height * width:
            raise self._lost(f"a picture of {len(body)} bytes, said to be {height} x {width}")
        return np.frombuffer(body, np.uint8).reshape(height, width, 3)

    def close(self) -> None:
        self.detach()

    def _heed(self, head: dict[str, Any]) -> None:
        said = head.get("warnings")
        if isinstance(said, list) and said:
            self._said = list(dict.fromkeys((*self._said, *(plain(text, 500) for text in said[:20]))))[:20]

    def _open(self) -> None:
        opened = open_host(self._exchange, self._name, self._waits, self._limit)
        if opened["spaces"] != self._opened["spaces"]:
            raise self._lost("its spaces are not those it had at first; the environment was changed while it was in use")

    def _ask(self, head: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytearray]:
        wait = self._waits["step_s" if head["do"] == "step" else "reset_s"] + MARGIN_S
        answer, arrays = self._exchange(head, body, wait)
        if "error" in answer:
            text = plain(answer["error"], 2000)
            if answer.get("lost") is True:
                raise self._lost(text)
            raise _failure(answer.get("kind"), text)
        return answer, arrays

    def _exchange(self, head: dict[str, Any], body: bytes, wait_s: float) -> tuple[dict[str, Any], bytearray]:
        """A request and its answer."""
        if self._stream is None:
            raise HostLost(self._why or f"the host of {self._name!r} is not connected")
        self._number += 1
        self._tell_wait()
        began = time.monotonic()
        deadline = began + wait_s
        try:
            self._stream.send(pack({"n": self._number, **head}), (body,) if body else (), deadline)
            answer, arrays = self._stream.receive(deadline)
        except Late:
            raise self._lost(f"no answer to {head['do']} within {wait_s:g} s") from None
        except FrameError as error:
            raise self._lost(str(error)) from None
        finally:
            self._tell_wait()
            self.waited_s += time.monotonic() - began
        if answer.get("n") != self._number:
            raise self._lost(f"an answer numbered {answer.get('n')!r} where {self._number} was due")
        return answer, arrays

    def _seen(self, head: dict[str, Any], body: bytearray) -> tuple[Any, dict[str, Any]]:
        info, rest = head.get("info"), head.get("rest")
        if len(body) != self._layout.size or not isinstance(info, dict) or not isinstance(rest, list):
            raise self._lost(f"an observation of {len(body)} bytes where {self._layout.size} were due, or no info")
        if len(rest) != len(self._layout.opaque):
            raise self._lost(f"{len(rest)} values beside the arrays where {len(self._layout.opaque)} were due")
        arrays = [np.frombuffer(body, part.dtype, math.prod(part.shape), part.start).reshape(part.shape) for part in self._layout.parts]
        return whole_observation(self._observed, arrays, rest), info

    def _tell_wait(self) -> None:
        if self._header is not None:
            self._header[HOST_WAITS] += 1

    def _lost(self, why: str) -> HostLost:
        self.detach()
        self._why = f"the host of {self._name!r} is lost: {why}"
        return HostLost(self._why)


class RestorableHostedEnv(HostedEnv):
    """A hosted environment that offers snapshots; see `envs/starts.py`."""

    def snapshot(self) -> bytes:
        return bytes(self._ask({"do": "snapshot"})[1])

    def restore(self, snapshot: bytes) -> tuple[Any, dict[str, Any]]:
        return self._seen(*self._ask({"do": "restore"}, snapshot))


class HostedFailure(RuntimeError):
    """The environment on the host raised; the text is its own."""


def _failure(kind: Any, text: str) -> HostedFailure:
    """An error of the environment, under the name that its type has on the host."""
    name = kind if isinstance(kind, str) and kind.isidentifier() and len(kind) <= 60 else "HostedFailure"
    failure: HostedFailure = type(name, (HostedFailure,), {})(text)
    return failure


def connect(end: socket.socket, name: str, waits: dict[str, float], limit: int | None) -> HostedEnv:
    """The proxy of the environment at the other end, connected. Raises EnvironmentUnavailable, EnvironmentUnsupported, HostLost."""
    stream = Stream(end, MAX_PART)

    def exchange(head: dict[str, Any], body: bytes, wait_s: float) -> tuple[dict[str, Any], bytearray]:
        deadline = time.monotonic() + wait_s
        try:
            stream.send(pack({"n": 1, **head}), (body,) if body else (), deadline)
            return stream.receive(deadline)
        except Late:
            raise HostLost(f"the host of {name!r} did not make it within {wait_s:g} s") from None
        except FrameError as error:
            raise HostLost(f"the host of {name!r} is lost: {error}") from None

    opened = open_host(exchange, name, waits, limit)
    kind = RestorableHostedEnv if opened.get("restorable") is True else HostedEnv
    env = kind(opened, name, waits, limit)
    env.attach(end)
    env._number = 1  # it is open
    return env


def open_host(exchange: Any, name: str, waits: dict[str, float], limit: int | None) -> dict[str, Any]:
    """The host's answer to `open`, its fields of the right types. `exchange` sends and receives. Raises as `connect`."""
    asked = {"do": "open", "limit": limit, "step_s": waits["step_s"], "reset_s": waits["reset_s"]}
    opened, _ = exchange(asked, b"", waits["start_s"] + MARGIN_S)
    if "error" in opened:
        raise EnvironmentUnavailable(plain(opened["error"], 4000))
    spaces = opened.get("spaces")
    if not isinstance(spaces, list) or len(spaces) != 2:
        raise HostLost(f"the host of {name!r} does not say what its spaces are")
    return dict(opened)
