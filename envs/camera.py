"""Pictures of episodes: a clean worker repeats their actions and draws. It never holds model-written code, and what it sends is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.bus.errors import Explained
from rlgpt.bus.task import Environment
from rlgpt.envs.errors import EnvironmentUnavailable, WorkerDied
from rlgpt.envs.frames import EDGE
from rlgpt.envs.handle import plain
from rlgpt.envs.layout import Shape
from rlgpt.envs.limits import Limits
from rlgpt.envs.png import png
from rlgpt.envs.space import leaves
from rlgpt.envs.zygote import Zygote, work_for

FILM_S = 120.0
PART = 8  # frames of one answer: as many of the largest as it holds
WORDS = 300


class CannotDraw(Explained):
    """There are no pictures of this environment, or of this episode; the text is the reason."""


@dataclass(frozen=True)
class Frame:
    """What was to be seen after environment step `step` (0: before the first): [height, width, 3] bytes, and the state in words."""

    step: int
    height: int
    width: int
    rgb: bytes
    words: str

    @property
    def file(self) -> bytes:
        """As a PNG file."""
        return png(self.height, self.width, self.rgb)


class Camera:
    """Draws episodes of one environment, which stays imported; each film is made in a fresh worker. Raises CannotDraw."""

    def __init__(self, environment: Environment, limits: Limits | None = None) -> None:
        if not environment.deterministic:
            raise CannotDraw("the environment is not deterministic, so an episode cannot be repeated to be drawn")
        try:
            self._zygote = drawing(environment, limits)
        except (EnvironmentUnavailable, WorkerDied) as error:
            raise CannotDraw(plain(str(error), 1000)) from None

    def film(self, seed: int, actions: npt.NDArray[Any], most: int) -> list[Frame]:
        """At most `most` frames of the episode of `seed` with these actions ([steps, ...]): see `chosen_steps`. Raises CannotDraw."""
        return self.draw(seed, actions, chosen_steps(len(actions), most))

    def draw(self, seed: int, actions: npt.NDArray[Any], steps: Sequence[int]) -> list[Frame]:
        """Frames after the environment steps `steps`, ascending, of the episode of `seed` with these actions. Raises CannotDraw."""
        description = self._zygote.description
        leaf = leaves(description.action_space)[0]
        array = np.ascontiguousarray(actions, leaf.dtype).reshape(-1, *leaf.shape)
        parts = [list(steps[i : i + PART]) for i in range(0, len(steps), PART)]
        frames = list[Frame]()
        try:
            shape = Shape(description.observation_space, description.action_space, 1, 0, 0)
            worker = self._zygote.fork(shape, work_for([], "", until_success=False))
            try:
                question: dict[str, Any] = {"film": int(seed), "actions": array.tobytes()}
                for number, part in enumerate(parts):
                    answer = worker.ask({"go_on": part} if number else {**question, "steps": part}, FILM_S)
                    if answer.get("error"):
                        raise CannotDraw(plain(answer["error"], 1000))
                    frames += checked(answer.get("frames"), part)
            finally:
                worker.kill()
        except WorkerDied as error:
            raise CannotDraw(plain(str(error), 1000)) from None
        return frames

    def close(self) -> None:
        """End the processes."""
        self._zygote.close()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chosen_steps(total: int, most: int) -> list[int]:
    """The last step alone, or the first state (0), the last step, and evenly chosen ones between, at most `most` in all."""
    if most < 2:
        return [total][:most]
    return sorted({round(total * i / (most - 1)) for i in range(most)})


def drawing(environment: Environment, limits: Limits | None) -> Zygote:
    """A zygote whose workers can draw: with a render mode; or without, where the environment takes none. Raises EnvironmentUnavailable."""
    if environment.host is not None and environment.host.address:
        # What is served elsewhere was made there, with the arguments given there.
        return Zygote(environment, limits=limits, drawn=True)
    kwargs = {**environment.kwargs, "render_mode": "rgb_array"}
    try:
        return Zygote(environment.model_copy(update={"kwargs": kwargs}), limits=limits, drawn=True)
    except EnvironmentUnavailable as unavailable:
        try:
            return Zygote(environment, limits=limits, drawn=True)
        except EnvironmentUnavailable:
            raise unavailable from None


def checked(frames: object, steps: Sequence[int]) -> list[Frame]:
    """The frames of a worker's answer, which is believed in nothing. Raises CannotDraw."""
    if not isinstance(frames, list) or len(frames) != len(steps):
        raise CannotDraw("the worker did not draw what it was asked for")
    found = []
    for step, frame in zip(steps, frames, strict=True):
        said: dict[str, Any] = frame if isinstance(frame, dict) else {}
        rgb, *sides = (said.get(name) for name in ("rgb", "height", "width"))
        height, width = (side if type(side) is int and 0 < side <= EDGE else 0 for side in sides)
        if not isinstance(rgb, bytes) or not height or not width or len(rgb) != 3 * height * width:
            raise CannotDraw(f"what the worker drew of step {step} is no picture of at most {EDGE} x {EDGE} pixels")
        found.append(Frame(step, height, width, rgb, plain(frame.get("words"), WORDS)))
    return found
