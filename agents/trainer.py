"""The trainer agent: takes training requests from the queue, learns in a thread, and says how it goes."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar

from rlgpt.agents.agent import Agent, handles
from rlgpt.agents.learning.learner import learn
from rlgpt.bus.messages import Message, TrainingFinished, TrainingProgressed, TrainingRequested
from rlgpt.bus.parts import Point

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
        loop, delivery, stop = asyncio.get_running_loop(), self.event, threading.Event()
        resumed = 0

        def say(message: Message, key: str) -> None:
            asyncio.run_coroutine_threadsafe(self.publish(message, key), loop).result(PUBLISH_S)

        def on_resume(times: int) -> None:
            nonlocal resumed
            resumed = times
            self.log.info("training_resumed", plan=request.plan, times=times)

        def on_point(point: Point) -> None:
            progress = TrainingProgressed(plan=request.plan, seed=request.seed, point=point, resumed=resumed)
            say(progress, f"progress-{point.env_steps}")

        place = place_of(request, len(self.state.seeds))
        learning = asyncio.ensure_future(
            asyncio.to_thread(
                learn,
                request,
                self.context.folder / "checkpoints" / place,
                on_point,
                delivery.touch,
                stop.is_set,
                logs=self.context.folder / "tensorboard" / place,
                on_resume=on_resume,
            )
        )
        try:
            return await asyncio.shield(learning)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([learning], timeout=STOP_S)
            raise


def place_of(request: TrainingRequested, seeds: int) -> str:
    """Where a learning's files lie below `checkpoints` and `tensorboard`: `plan-1`, and with several seeds a plan `plan-1/seed-0`."""
    return f"plan-{request.plan}" + (f"/seed-{request.seed}" if seeds > 1 else "")
