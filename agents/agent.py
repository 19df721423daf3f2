"""What an agent is: a class with typed handlers. What a handler returns is published, with the event it handled as cause.

Two streams feed an agent. The *watch* brings the whole log from its start and is folded into `state` (see `loops`); the *work* brings,
once and until acknowledged, the events it has handlers for, shared with other processes of the same name. An event is handled when the
fold has reached it. So a restarted agent knows all that happened, repeats only what it had not finished, and, since ids derive from the
event handled, says nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import structlog
from pydantic import ValidationError

from rlgpt.agents.loops import RunState
from rlgpt.agents.requests import Request
from rlgpt.bus.aio import AsyncBusClient, AsyncSubscription, AsyncWatch
from rlgpt.bus.envelope import Envelope, consumer_of, derived_id, seal
from rlgpt.bus.errors import BusUnreachable, StaleLease
from rlgpt.bus.messages import Message, UnknownMessage
from rlgpt.bus.security import ClientKeys
from rlgpt.bus.subscription import Delivery

Outputs = Message | Iterable[Message] | None
Handler = Callable[[Any, Any], Awaitable[Outputs]]
H = TypeVar("H", bound=Callable[..., Any])

FOLD_DEADLINE_S = 60.0
"""How long an event in hand may wait for the history before it; the broker sends 50,000 events a second and more."""

JOIN_S = 30.0
"""How long an agent that starts waits for the bus: a broker that has died is started again within ten seconds, and takes one or two."""


RETRY_S, LONGEST_RETRY_S = 0.1, 10.0
"""Wait before an event whose handler raised is handed out again: the first one, doubled each time, and the longest."""

SAME_FAILURES = 5
"""Times one process lets an event fail with the same words before it goes to the dead letters, whatever `max_attempts` allows."""


def handles(*types: type[Message]) -> Callable[[H], H]:
    """Mark an async method as the handler of these message types."""

    def mark(method: H) -> H:
        if not asyncio.iscoroutinefunction(method):
            raise TypeError(f"{method.__qualname__} handles {types[0].__name__} and must be `async def`")
        vars(method)["__handles__"] = types
        return method

    return mark


@dataclass(frozen=True)
class Context:
    """Where an agent works.

    run      name of the run; folder: its folder (transcript, checkpoints, skills)
    address  of the bus
    name     of this process; processes named `x-1`, `x-2`, ... share the work of consumer `x`
    attached it joined a running system, rather than being started with it
    credentials  its key file, where the bus asks for one
    """

    run: str
    folder: Path
    address: str
    name: str
    attached: bool = False
    credentials: Path | None = None

    @property
    def consumer(self) -> str:
        return consumer_of(self.name)


class Agent:
    """Base of every agent. Subclasses set `role` and write handlers.

    max_attempts  times an event may fail (an exception, the death of the process) before it goes to the dead letters
    touch_s       progress deadline of one event, seconds: without `touch()` for that long it is given to somebody else (None: no deadline)
    """

    role: ClassVar[str] = ""
    max_attempts: ClassVar[int] = 10
    touch_s: ClassVar[float | None] = None
    handlers: ClassVar[dict[type[Message], Handler]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = dict(cls.handlers)
        for method in vars(cls).values():
            for message_type in getattr(method, "__handles__", ()):
                cls.handlers[message_type] = method

    def __init__(self, context: Context) -> None:
        self.context = context
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger()
        self.state = RunState()
        self._bus: AsyncBusClient | None = None
        self._requests: dict[int, tuple[Request, ...]] = {}
        self._handling: Handling | None = None
        self._failures: dict[int, tuple[str, int]] = {}

    # ------------------------------------------------------------ for handlers

    @property
    def bus(self) -> AsyncBusClient:
        if self._bus is None:
            raise RuntimeError(f"{type(self).__name__} is not on the bus yet; use it from a handler")
        return self._bus

    @property
    def event(self) -> Delivery:
        """The event in hand."""
        if self._handling is None:
            raise RuntimeError(f"{type(self).__name__} has no event in hand; `event` is for handlers")
        return self._handling.delivery

    @property
    def requests(self) -> list[Request]:
        """What the loops want of this role after the event in hand."""
        return [request for request in self._requests.get(self.event.seq, ()) if request.role == self.role]

    async def publish(self, message: Message, key: str | None = None) -> None:
        """Publish now, before the handler ends. `key` names it among this event's outputs, so that a repeat is recognised."""
        if self._handling is None:
            raise RuntimeError(f"{type(self).__name__}.publish is for handlers: a message needs the event that caused it")
        await self.bus.publish(self._handling.seal(message, key), lease=self._handling.delivery)

    async def joined(self) -> None:
        """Called once on the bus, before the first event."""

    async def leaving(self) -> None:
        """Called once at the end."""

    # ------------------------------------------------------------ the loop

    def fold(self, seq: int, envelope: Envelope) -> None:
        """Take one event of the log into the state. One that cannot be read changes nothing, and says so in the log."""
        try:
            message = envelope.message()
        except UnknownMessage:
            return  # a user's own type, whose class only their agents import
        except ValidationError as error:
            self.log.error("message_invalid", seq=seq, type=envelope.type, source=envelope.source, why=str(error))
            return
        requests = self.state.apply(seq, envelope.source, envelope.time, message)
        if requests:
            self._requests[seq] = requests

    async def handle(self, delivery: Delivery) -> None:
        """One event: call its handler, publish what it returns, then acknowledge. A failure gives the event back with the reason."""
        self._handling = Handling(delivery, self.context)
        structlog.contextvars.bind_contextvars(cause=delivery.envelope.id)
        try:
            message = delivery.envelope.message()
            handler = self.handlers[type(message)]
            outputs = await handler(self, message)
            sealed = [self._handling.seal(output) for output in _as_list(outputs)]
            if sealed:
                await self.bus.publish(*sealed, lease=delivery)
            delivery.ack()
        except ValidationError as error:
            self.log.error("message_invalid", seq=delivery.seq, type=delivery.envelope.type, why=str(error))
            delivery.nack(f"{delivery.envelope.type} is not valid: {error}", requeue=False)
        except StaleLease as error:
            self.log.warning("lease_lost", seq=delivery.seq, attempt=delivery.attempt, why=str(error))
        except asyncio.CancelledError:
            self.log.info("event_given_back", seq=delivery.seq, why="the process is stopping")
            raise  # closing the bus gives it to somebody else, or keeps it for our next start
        except Exception as error:
            self.log.exception("handler_failed", seq=delivery.seq, type=delivery.envelope.type, attempt=delivery.attempt)
            why = f"{type(error).__name__}: {error}"
            delay_s = min(RETRY_S * 2 ** (delivery.attempt - 1), LONGEST_RETRY_S)
            delivery.nack(why, requeue=not self._hopeless(delivery.seq, why), delay_s=delay_s)
        finally:
            structlog.contextvars.unbind_contextvars("cause")
            self._handling = None

    def _hopeless(self, seq: int, why: str) -> bool:
        """Whether this event has now failed SAME_FAILURES times in a row in the same way: it would fail again."""
        before, times = self._failures.get(seq, ("", 0))
        self._failures[seq] = (why, times + 1 if why == before else 1)
        return self._failures[seq][1] >= SAME_FAILURES


@dataclass
class Handling:
    """The event in hand, and how many messages it has caused so far."""

    delivery: Delivery
    context: Context
    published: int = 0
    keys: set[str] = field(default_factory=set)

    def seal(self, message: Message, key: str | None = None) -> Envelope:
        if key is None:
            self.published += 1
        elif key in self.keys:
            raise ValueError(f"key {key!r} was already used for an output of event {self.delivery.seq}; it would be dropped as a repeat")
        else:
            self.keys.add(key)
        return seal(
            message,
            id=derived_id(self.delivery.seq, self.context.consumer, key or self.published),
            source=self.context.name,
            subject=self.context.run,
            cause=self.delivery.envelope,
        )


def _as_list(outputs: Outputs) -> list[Message]:
    if outputs is None:
        return []
    return [outputs] if isinstance(outputs, Message) else list(outputs)


async def run_agent(agent: Agent, stop: asyncio.Event, *, join_s: float = JOIN_S, patience_s: float = 60.0) -> None:
    """Put an agent on the bus and let it work until `stop` is set, or the bus is silent for `patience_s` (raises BusUnreachable)."""
    context = agent.context
    keys = ClientKeys.load(context.credentials) if context.credentials else None
    bus = AsyncBusClient(context.address, context.name, role=agent.role, credentials=keys)
    await bus.start(join_s)
    agent._bus = bus
    try:
        watch = await bus.watch(("*",), after=0, timeout_s=JOIN_S)
        await agent.joined()
        if not agent.handlers:
            raise TypeError(f"{type(agent).__name__} handles nothing: mark a method with @handles(SomeMessage)")
        topics = sorted({message_type.TOPIC for message_type in agent.handlers})
        work = await bus.subscribe(
            context.consumer,
            topics,
            start="first",
            credit=1,
            max_attempts=agent.max_attempts,
            touch_s=agent.touch_s,
            timeout_s=JOIN_S,
        )
        agent.log.info("agent_ready", consumer=context.consumer, topics=topics)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_work(agent, watch, work)), group.create_task(_listen(bus, patience_s))]
            await _any_of(asyncio.ensure_future(stop.wait()), *tasks)
            for task in tasks:
                task.cancel()
    finally:
        await agent.leaving()
        await bus.close()


async def _any_of(*tasks: asyncio.Future[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[0].cancel()


async def _listen(bus: AsyncBusClient, patience_s: float) -> None:
    """Give up on a bus that says nothing for longer than a broker takes to be restarted."""
    while bus.silent_s < patience_s:
        await asyncio.sleep(min(1.0, patience_s / 4))
    raise BusUnreachable(f"{bus.sync.address} has been silent for {bus.silent_s:.0f} s")


async def _work(agent: Agent, watch: AsyncWatch, work: AsyncSubscription) -> None:
    """Handle events one at a time, in the log's order, each with the state as it was right after it.

    An attached agent answers, of the history before it joined, only what still waits for an answer.
    """
    joined_at = agent.bus.sync.head if agent.context.attached else 0
    if joined_at:
        await _fold_to(agent, watch, joined_at)
    while True:
        delivery = await work.get(timeout_s=None)
        if delivery is None:
            return
        if delivery.seq <= joined_at and delivery.seq not in agent.state.awaiting:
            delivery.ack()
            continue
        await _fold_to(agent, watch, delivery.seq)
        await agent.handle(delivery)


async def _fold_to(agent: Agent, watch: AsyncWatch, seq: int) -> None:
    while agent.state.seq < seq:
        event = await watch.get(timeout_s=FOLD_DEADLINE_S)
        if event is None:
            raise TimeoutError(f"event {seq} is in hand, but the log stopped at {agent.state.seq} for {FOLD_DEADLINE_S:g} s")
        agent.fold(event.seq, event.envelope)
