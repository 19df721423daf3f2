"""The trainer agent: takes training requests from the queue, learns in a thread, and says how it goes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

from rlgpt.agents.agent import Agent, handles
from rlgpt.agents.learning.arena import learn_arena
from rlgpt.agents.learning.learner import learn
from rlgpt.bus.messages import (
    ArenaFinished,
    ArenaProgressed,
    ArenaRequested,
    Message,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.bus.parts import Point

R = TypeVar("R", TrainingFinished, ArenaFinished)

PUBLISH_S = 60.0
"""How long learning waits for a point of the curve to be on disk; a broker is back within seconds."""

STOP_S = 4.0
"""How long a stopping process waits for the decision in hand."""


class Trainer(Agent):
    """Several of them share the queue. One that dies, or makes no progress for `touch_s`, loses its request to another."""

    role: ClassVar[str] = "trainer"
    # Whoever takes over continues from the checkpoint, so a request may outlive many trainers.
    max_attempts: ClassVar[int] = 50
    # The longest step without a sign of life: starting workers and torch, on a loaded machine.
    touch_s: ClassVar[float | None] = 180.0

    @handles(TrainingRequested)
    async def train(self, request: TrainingRequested) -> TrainingFinished:
        """Continues from the newest checkpoint of this plan, and seed where there are several, if there is one."""

        def progress(point: Point, resumed: int) -> Message:
            return TrainingProgressed(plan=request.plan, seed=request.seed, point=point, resumed=resumed)

        return await self._learning(partial(learn, request), place_of(request, len(self.state.seeds)), progress)

    @handles(ArenaRequested)
    async def train_in_arena(self, request: ArenaRequested) -> ArenaFinished:
        """The same of a sub-action that is learned by itself; its files lie in `plan-1/arena-NAME`."""

        def progress(point: Point, resumed: int) -> Message:
            return ArenaProgressed(plan=request.plan, name=request.name, point=point, resumed=resumed)

        return await self._learning(partial(learn_arena, request), f"plan-{request.plan}/arena-{request.name}", progress)

    async def _learning(self, learning: Callable[..., R], place: str, progress: Callable[[Point, int], Message]) -> R:
        """Learn in a thread, in the folder `place`, and say how it goes."""
        loop, delivery, stop = asyncio.get_running_loop(), self.event, threading.Event()
        resumed = 0

        def on_resume(times: int) -> None:
            nonlocal resumed
            resumed = times
            self.log.info("training_resumed", place=place, times=times)

        def on_point(point: Point) -> None:
            said = self.publish(progress(point, resumed), f"progress-{point.env_steps}")
            asyncio.run_coroutine_threadsafe(said, loop).result(PUBLISH_S)

        running = asyncio.ensure_future(
            asyncio.to_thread(
                learning,
                self.context.folder / "checkpoints" / place,
                on_point,
                delivery.touch,
                stop.is_set,
                logs=self.context.folder / "tensorboard" / place,
                on_resume=on_resume,
            )
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([running], timeout=STOP_S)
            raise


def place_of(request: TrainingRequested, seeds: int) -> str:
    """Where a learning's files lie below `checkpoints` and `tensorboard`: `plan-1`, and with several seeds a plan `plan-1/seed-0`."""
    return f"plan-{request.plan}" + (f"/seed-{request.seed}" if seeds > 1 else "")
