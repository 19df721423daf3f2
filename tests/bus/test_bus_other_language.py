"""A client in JavaScript, written from docs/protocol.md, against a real broker."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import msgpack
import pytest

from rlgpt.bus.messages import AgentJoined, AgentLeft, DeadLettered

FOLDER = Path(__file__).with_name("other_language")
SOON = 100.0


class JavaScript:
    """The client's process, and what it has printed."""

    def __init__(self, folder: Path, address: str, name: str) -> None:
        self.output = folder / f"{name}.jsonl"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(["node", "client.mjs", address, name], cwd=FOLDER, stdout=out, stderr=subprocess.STDOUT)

    def said(self, event: str) -> list[dict]:
        lines = self.output.read_text().splitlines(keepends=True)
        words = [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]
        return [line for line in words if line["event"] == event]

    def wait_for(self, event: str, times: int) -> list[dict]:
        until = time.monotonic() + SOON
        while len(self.said(event)) < times:
            assert time.monotonic() < until, f"{times} x {event!r}: {self.output.read_text()}"
            time.sleep(0.02)
        return self.said(event)


@pytest.fixture
def start(bus, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (FOLDER / "node_modules" / "zeromq").exists():
        pytest.skip("its packages are not installed: npm install --prefix tests/bus/other_language")
    clients = []

    def start(name: str) -> JavaScript:
        clients.append(JavaScript(tmp_path, bus.address, name))
        return clients[-1]

    yield start
    for client in clients:
        client.process.kill()
        client.process.wait()


def texts(bus) -> list[str]:
    return [msgpack.unpackb(answer.data)["text"] for answer in bus.log("answered")]


def test_javascript_client_handles_history_and_live_events_and_says_goodbye(bus, start):
    publisher = bus.client("publisher")
    publisher.publish(bus.note("before"))
    client = start("js-1")
    client.wait_for("settled", 1)
    [stop] = publisher.publish(bus.note("stop"))
    assert client.process.wait(SOON) == 0
    assert texts(bus) == ["before, said JavaScript", "stop, said JavaScript"]
    answer = bus.log("answered")[-1]
    assert (answer.id, answer.source, answer.type) == (f"{stop}/js/0", "js-1", "js.answered.v1")
    assert answer.causationid == bus.log()[-1].id
    assert "js-1" in [event.message().name for event in bus.log(AgentJoined.TOPIC)]
    assert AgentLeft(name="js-1", role="js", reason="bye") in [event.message() for event in bus.log(AgentLeft.TOPIC)]


def test_javascript_client_goes_on_after_restarts_of_the_broker(bus, start):
    publisher = bus.client("publisher")
    client = start("js-1")
    client.wait_for("welcome", 1)
    for number in range(1, 4):
        publisher.publish(bus.note(f"{number}"))
        bus.stop()  # at whatever point of the exchange it is
        bus.start()
        client.wait_for("welcome", number + 1)
        client.wait_for("settled", number)
    assert texts(bus) == [f"{number}, said JavaScript" for number in (1, 2, 3)]
    assert bus.log(AgentLeft.TOPIC) == []


def test_what_a_killed_javascript_client_held_goes_to_the_next_one(bus, start):
    publisher = bus.client("publisher")
    first = start("js-1")
    publisher.publish(bus.note("one"))
    first.wait_for("settled", 1)
    first.process.kill()
    publisher.publish(bus.note("two"))
    second = start("js-2")
    second.wait_for("settled", 1)
    assert sorted(texts(bus)) == ["one, said JavaScript", "two, said JavaScript"]


def test_event_a_javascript_client_refuses_becomes_a_dead_letter(bus, start):
    publisher = bus.client("publisher")
    client = start("js-1")
    [seq] = publisher.publish(bus.note("refuse"))
    assert [line["attempt"] for line in client.wait_for("deliver", 2)] == [1, 2]
    client.wait_for("settled", 2)
    [letter] = bus.log(DeadLettered.TOPIC)
    assert (letter.message().seq, letter.message().reason) == (seq, "told to")
