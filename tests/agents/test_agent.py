"""Agents on a real broker: what is handled, published, repeated, given up, and skipped."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from rlgpt.agents.agent import SAME_FAILURES, Agent, Context, handles, run_agent
from rlgpt.bus.broker import Broker
from rlgpt.bus.client import BusClient
from rlgpt.bus.envelope import Envelope, seal
from rlgpt.bus.errors import BusUnreachable
from rlgpt.bus.messages import AgentJoined, DeadLettered, Message, PlanFailed, SkillTried, TaskSubmitted
from rlgpt.bus.parts import Card
from rlgpt.bus.task import Task

WAIT_S = 150.0


class Ping(Message, owner="test"):
    number: int


class Pong(Message, owner="test"):
    number: int
    handled: int


class Echo(Agent):
    """Answers every Ping twice: once in between, once at the end."""

    role = "echo"
    handled = 0

    @handles(Ping)
    async def answer(self, ping: Ping) -> Pong:
        type(self).handled += 1
        await self.publish(Pong(number=ping.number, handled=0), key="early")
        return Pong(number=ping.number, handled=self.handled)


class Bus:
    """A broker of its own, a client to publish with, and the log to look at."""

    def __init__(self, folder: Path) -> None:
        self.address, self.journal = f"ipc://{folder}/bus.sock", folder / "journal.sqlite"
        self.folder, self._stop = folder, threading.Event()
        self._broker = Broker(self.address, self.journal)
        self._thread = threading.Thread(target=self._broker.run, args=(self._stop,))
        self._thread.start()
        self.client = BusClient(self.address, "tester")
        self.client.start()
        self.ids = iter(range(10_000))

    def say(self, message: Message, id: str | None = None) -> int:
        return self.client.publish(seal(message, id=id or f"said-{next(self.ids)}", source="tester"))[0]

    def wait_for(self, message: type[Message], count: int = 1) -> list[Envelope]:
        watch = self.client.watch((message.TOPIC,))
        found = [event.envelope for _ in range(count) if (event := watch.get(WAIT_S)) is not None]
        watch.close()
        assert len(found) == count, f"{len(found)} of {count} {message.__name__} within {WAIT_S:g} s"
        return found

    def close(self) -> None:
        self.client.close()
        self._stop.set()
        self._thread.join(WAIT_S)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    made = Bus(tmp_path)
    yield made
    made.close()


class Running:
    """An agent in a thread with an event loop of its own."""

    def __init__(self, bus: Bus, kind: type[Agent], name: str, *, attached: bool = False) -> None:
        self.context = Context(run="r-1", folder=bus.folder, address=bus.address, name=name, attached=attached)
        self._kind, self._loop, self._stop = kind, asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        self.agent = self._kind(self.context)
        await run_agent(self.agent, self._stop)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._loop.close()


def test_what_a_handler_returns_is_published_with_the_event_as_its_cause(bus: Bus) -> None:
    echo = Running(bus, Echo, "echo-1")
    seq = bus.say(Ping(number=7), id="ping")
    early, last = bus.wait_for(Pong, 2)
    echo.stop()
    assert (early.id, last.id) == (f"{seq}/echo/early", f"{seq}/echo/1")
    assert {e.causationid for e in (early, last)} == {"ping"}
    assert last.source == "echo-1"
    assert last.subject == "r-1"


def test_an_agent_that_restarts_goes_on_where_it_was_and_says_nothing_twice(bus: Bus) -> None:
    first = Running(bus, Echo, "echo")
    bus.say(Ping(number=1))
    bus.wait_for(Pong, 2)
    first.stop()
    bus.say(Ping(number=2))
    second = Running(bus, Echo, "echo")
    numbers = [envelope.message().number for envelope in bus.wait_for(Pong, 4)]
    second.stop()
    assert numbers == [1, 1, 2, 2]


def test_processes_of_one_name_share_the_work(bus: Bus) -> None:
    both = [Running(bus, Echo, "echo-1"), Running(bus, Echo, "echo-2")]
    for number in range(20):
        bus.say(Ping(number=number))
    answers = bus.wait_for(Pong, 40)
    for one in both:
        one.stop()
    assert sorted(answer.message().number for answer in answers if answer.id.endswith("/1")) == list(range(20))


class Stumbler(Agent):
    role = "stumbler"
    max_attempts = 2

    @handles(Ping)
    async def fail(self, ping: Ping) -> None:
        raise RuntimeError(f"cannot do {ping.number}")


def test_an_event_whose_handler_keeps_failing_becomes_a_dead_letter_with_the_reason(bus: Bus) -> None:
    stumbler = Running(bus, Stumbler, "stumbler")
    seq = bus.say(Ping(number=3))
    (letter,) = bus.wait_for(DeadLettered)
    stumbler.stop()
    message = DeadLettered.model_validate(letter.message())
    assert (message.consumer, message.seq, message.attempts) == ("stumbler", seq, 2)
    assert message.reason == "RuntimeError: cannot do 3"


class Patient(Stumbler):
    role = "patient"
    max_attempts = 50


def test_an_event_that_fails_the_same_way_again_and_again_is_given_up_early(bus: Bus) -> None:
    patient = Running(bus, Patient, "patient")
    bus.say(Ping(number=4))
    (letter,) = bus.wait_for(DeadLettered)
    patient.stop()
    assert DeadLettered.model_validate(letter.message()).attempts == SAME_FAILURES


class Reader(Agent):
    role = "reader"

    @handles(SkillTried, PlanFailed)
    async def read(self, message: Message) -> Pong:
        return Pong(number=self.event.seq, handled=len(self.state.plans))


def test_a_late_joiner_folds_the_history_and_answers_only_what_still_waits(bus: Bus) -> None:
    task = Task.model_validate({"name": "t", "goal": "g", "success": "terminated", "environment": {"id": "CartPole-v1"}})
    bus.say(TaskSubmitted(run="r-1", task=task, card=Card(text="c", kind="Discrete", version="1")))
    bus.say(PlanFailed(plan=1, reason="history"))
    reader = Running(bus, Reader, "reader", attached=True)
    bus.wait_for(AgentJoined, 2)
    new = bus.say(PlanFailed(plan=2, reason="new"))
    (answer,) = bus.wait_for(Pong)
    reader.stop()
    assert answer.message() == Pong(number=new, handled=2)


def test_a_message_that_does_not_fit_its_type_is_set_aside_and_the_agent_lives(bus: Bus) -> None:
    echo = Running(bus, Echo, "echo")
    broken = seal(Ping(number=1), id="broken", source="tester")
    bus.client.publish(Envelope(**{**{f: getattr(broken, f) for f in Envelope.__slots__}, "data": msgpack.packb({"number": "many"})}))
    (letter,) = bus.wait_for(DeadLettered)
    bus.say(Ping(number=2))
    assert bus.wait_for(Pong)[0].message().number == 2
    echo.stop()
    assert "number" in DeadLettered.model_validate(letter.message()).reason


def test_handlers_have_to_be_async() -> None:
    with pytest.raises(TypeError, match="must be `async def`"):

        class Wrong(Agent):
            @handles(Ping)
            def answer(self, ping: Ping) -> None: ...


def test_an_agent_gives_up_on_a_bus_that_is_not_there(tmp_path: Path) -> None:
    context = Context(run="r", folder=tmp_path, address=f"ipc://{tmp_path}/nobody.sock", name="echo")
    with pytest.raises(BusUnreachable):
        asyncio.run(run_agent(Echo(context), asyncio.Event(), join_s=0.5))
