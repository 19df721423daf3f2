"""The contract of the bus over real sockets, with the synchronous and the asyncio client."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
import time

import pytest
import zmq

from rlgpt.bus.broker import Broker
from rlgpt.bus.client import (
    BusClient,
    BusClosed,
    BusUnreachable,
    PublishTimeout,
    Refused,
    RequestFailed,
    RequestTimeout,
    StaleLease,
)
from rlgpt.bus.codec import MAX_ENVELOPE
from rlgpt.bus.errors import AddressInUse, JournalInUse, Malformed
from rlgpt.bus.journal import Journal
from rlgpt.bus.messages import AgentLeft, DeadLettered

SOON = 100.0  # a deadline for what must happen; nothing waits for it when all is well


def test_published_events_arrive_in_order_and_acknowledged_ones_do_not_return(bus):
    publisher, worker = bus.client("publisher"), bus.client("worker")
    numbers = publisher.publish(*(bus.note(str(n)) for n in range(300)))
    assert numbers == list(range(numbers[0], numbers[0] + 300))
    work = worker.subscribe("work", ["noted"], credit=10)
    for n in range(300):
        delivery = work.get(SOON)
        assert (delivery.envelope.message().text, delivery.attempt) == (str(n), 1)
        delivery.ack()
    worker.close()
    again = bus.client("worker-2").subscribe("work", ["noted"])
    publisher.publish(bus.note("new"))
    assert again.get(SOON).envelope.message().text == "new"


def test_repeat_returns_the_number_of_the_original(bus):
    client = bus.client("publisher")
    note = bus.note()
    assert client.publish(note) == client.publish(note)
    assert len(bus.log()) == 1


def test_events_published_without_waiting_all_arrive(bus):
    client = bus.client("publisher", window=16)
    for n in range(1000):
        client.publish_nowait(bus.note(str(n)))
    client.flush(SOON)
    assert [one.message().text for one in bus.log()] == [str(n) for n in range(1000)]


def test_work_is_shared_and_a_closed_members_work_goes_to_the_other(bus):
    publisher, one, two = bus.client("publisher"), bus.client("one"), bus.client("two")
    first, second = one.subscribe("work", ["noted"], credit=1), two.subscribe("work", ["noted"], credit=1)
    publisher.publish(bus.note("a"), bus.note("b"))
    held = first.get(SOON), second.get(SOON)
    assert {delivery.envelope.message().text for delivery in held} == {"a", "b"}
    held[1].ack()
    one.close()
    taken = second.get(SOON)
    assert (taken.seq, taken.attempt) == (held[0].seq, 2)


def test_nack_hands_out_again_then_sets_aside_with_the_reason(bus):
    publisher, worker, reader = bus.client("publisher"), bus.client("worker"), bus.client("reader")
    letters = reader.subscribe("letters", [DeadLettered.TOPIC])
    work = worker.subscribe("work", ["noted"], max_attempts=2)
    [seq] = publisher.publish(bus.note())
    for attempt in (1, 2):
        delivery = work.get(SOON)
        assert delivery.attempt == attempt
        delivery.nack("ZeroDivisionError: division by zero")
    letter = letters.get(SOON).envelope.message()
    assert (letter.seq, letter.attempts, letter.reason) == (seq, 2, "ZeroDivisionError: division by zero")
    assert [(one.consumer, one.seq, one.reason) for one in reader.dead_letters()] == [("work", seq, "ZeroDivisionError: division by zero")]
    reader.requeue("work", seq)
    assert work.get(SOON).attempt == 3
    with pytest.raises(Refused, match="no dead letter"):
        reader.requeue("work", seq)


def test_stale_results_are_refused_and_fresh_ones_are_not(bus):
    publisher, worker = bus.client("publisher"), bus.client("worker")
    work = worker.subscribe("work", ["noted"])
    publisher.publish(bus.note())
    first = work.get(SOON)
    worker.publish(bus.note("early result"), lease=first)
    first.nack("again please")
    second = work.get(SOON)
    with pytest.raises(StaleLease, match="attempt 1"):
        worker.publish(bus.note("late result"), lease=first)
    worker.publish(bus.note("result"), lease=second)
    assert [one.message().text for one in bus.log()] == ["", "early result", "result"]


def test_hung_holder_is_told_that_its_work_went_elsewhere(bus):
    publisher, hung = bus.client("publisher"), bus.client("hung")
    work = hung.subscribe("work", ["noted"], credit=1, touch_s=0.3)
    publisher.publish(bus.note())
    delivery = work.get(SOON)
    other = bus.client("other").subscribe("work", ["noted"], credit=1, touch_s=30)
    taken = other.get(SOON)
    assert taken.attempt == 2
    until = time.monotonic() + SOON
    while not delivery.is_stale and time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(StaleLease, match="stop working"):
        delivery.touch()


def test_touched_work_stays_where_it_is(bus):
    publisher, trainer = bus.client("publisher"), bus.client("trainer")
    work = trainer.subscribe("work", ["noted"], credit=1, touch_s=0.5)
    watch = publisher.watch(["noted"])
    publisher.publish(bus.note())
    delivery = work.get(SOON)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        delivery.touch()
        time.sleep(0.02)
    trainer.publish(bus.note("result"), lease=delivery)
    assert [watch.get(SOON).envelope.message().text for _ in range(2)] == ["", "result"]


def test_watch_shows_history_then_live(bus):
    client = bus.client("viewer")
    numbers = client.publish(*(bus.note(str(n)) for n in range(50)))
    watch = client.watch(["noted"], after=numbers[9], credit=7)
    client.publish(*(bus.note(str(n)) for n in range(50, 100)))
    assert [watch.get(SOON).envelope.message().text for _ in range(90)] == [str(n) for n in range(10, 100)]
    assert watch.get(0) is None


def test_broker_sends_no_more_than_the_credit(bus):
    publisher, slow = bus.client("publisher"), bus.client("slow")
    work, watch = slow.subscribe("work", ["noted"], credit=5), slow.watch(["noted"], credit=8)
    publisher.publish(*(bus.note() for _ in range(100)))
    deliveries = [work.get(SOON) for _ in range(5)]
    watch.get(SOON)
    publisher.publish(bus.note())  # a full turn later
    assert work.get(0) is None
    assert len(watch.inbox.queue) <= 8
    deliveries[0].ack()
    assert work.get(SOON) is not None


# ---------------------------------------------------------------- requests


def test_request_ends_with_its_reply(bus):
    asker, answerer = bus.client("asker"), bus.client("answerer")
    questions = answerer.subscribe("answers", ["noted"])

    def answer():
        delivery = questions.get(SOON)
        reply = bus.note(delivery.envelope.message().text.upper(), cause=delivery.envelope)
        answerer.publish(reply)
        delivery.ack()

    thread = threading.Thread(target=answer)
    thread.start()
    assert asker.request(bus.note("question"), reply=["noted"], timeout_s=SOON).message().text == "QUESTION"
    thread.join()


def test_request_ends_with_the_cause_when_its_receiver_gives_up(bus):
    asker, answerer = bus.client("asker"), bus.client("answerer")
    questions = answerer.subscribe("answers", ["noted"])

    def fail():
        questions.get(SOON).nack("KeyError: 'ore'", requeue=False)

    thread = threading.Thread(target=fail)
    thread.start()
    with pytest.raises(RequestFailed, match="KeyError: 'ore'"):
        asker.request(bus.note("question"), reply=["noted"], timeout_s=SOON)
    thread.join()


def test_request_nobody_answers_ends_at_its_deadline(bus):
    with pytest.raises(RequestTimeout, match="no reply"):
        bus.client("asker").request(bus.note(), reply=["nothing"], timeout_s=0.3)


# ---------------------------------------------------------------- restart of the broker


def test_everything_goes_on_after_a_restart_of_the_broker(bus):
    publisher, worker = bus.client("publisher"), bus.client("worker")
    work, watch = worker.subscribe("work", ["noted"], credit=3), publisher.watch(["noted"], credit=4)
    publisher.publish(*(bus.note(str(n)) for n in range(10)))
    held = work.get(SOON)
    bus.stop()
    publisher.publish_nowait(bus.note("10"))
    held.ack()
    bus.start()
    publisher.flush(SOON)
    got = [held]
    while len(got) < 11:
        got.append(work.get(SOON))
        got[-1].ack()
    assert [(one.envelope.message().text, one.attempt) for one in got] == [(str(n), 1) for n in range(11)]
    assert [watch.get(SOON).envelope.message().text for _ in range(11)] == [str(n) for n in range(11)]
    assert len(bus.log(AgentLeft.TOPIC)) == 0


def test_acknowledgement_that_the_old_broker_never_saw_is_said_again(bus):
    publisher, worker = bus.client("publisher"), bus.client("worker")
    work = worker.subscribe("work", ["noted"], credit=1)
    publisher.publish(bus.note("a"), bus.note("b"))
    first = work.get(SOON)
    bus.stop()
    first.ack()
    bus.start()
    assert work.get(SOON).envelope.message().text == "b"


def test_publish_during_an_outage_ends_at_its_deadline_and_can_be_repeated(bus):
    client = bus.client("publisher")
    bus.stop()
    note = bus.note()
    with pytest.raises(PublishTimeout, match="same ids"):
        client.publish(note, timeout_s=0.3)
    assert not client.connected
    bus.start()
    client.publish(note, timeout_s=SOON)
    assert len(bus.log()) == 1


def test_publisher_blocks_at_a_full_window_until_its_deadline(bus):
    client = bus.client("publisher", window=4)
    bus.stop()
    for _ in range(4):
        client.publish_nowait(bus.note())
    with pytest.raises(PublishTimeout, match="window of 4"):
        client.publish_nowait(bus.note(), timeout_s=0.2)
    bus.start()
    client.flush(SOON)
    assert len(bus.log()) == 4


# ---------------------------------------------------------------- ends and errors


def test_start_without_a_broker_ends_at_its_deadline_and_names_the_address(tmp_path):
    client = BusClient(f"ipc://{tmp_path}/nothing", "lonely")
    with pytest.raises(BusUnreachable, match="nothing"):
        client.start(0.3)


def test_closed_client_says_so(bus):
    client = bus.client("short")
    work = client.subscribe("work", ["noted"])
    client.close()
    with pytest.raises(BusClosed):
        client.publish(bus.note())
    with pytest.raises(BusClosed):
        work.get(1)
    with pytest.raises(BusClosed):
        client.subscribe("work", ["noted"])


def test_waiting_get_ends_when_the_client_is_closed(bus):
    client = bus.client("short")
    work = client.subscribe("work", ["noted"])
    threading.Timer(0.1, client.close).start()
    with pytest.raises(BusClosed):
        work.get(None)


def test_second_client_of_a_name_ends_the_first_with_an_explanation(bus):
    first = bus.client("trainer-1")
    work = first.subscribe("work", ["noted"])
    bus.client("trainer-1")
    with pytest.raises(Refused, match="taken the name 'trainer-1'"):
        work.get(SOON)


def test_event_too_large_for_a_frame_is_refused_before_it_is_sent(bus):
    client = bus.client("publisher")
    with pytest.raises(Malformed, match="Artifact"):
        client.publish(bus.note("x" * MAX_ENVELOPE))
    client.publish(bus.note("x" * (MAX_ENVELOPE - 1000)))
    assert client.watch(["noted"]).get(SOON).envelope.message().text.startswith("xxx")


def test_refused_event_does_not_harm_those_that_travel_with_it(bus):
    client = bus.client("publisher")
    client.publish_nowait(bus.note("a"))
    client.publish_nowait(bus.note("b", source="broker"))
    client.publish_nowait(bus.note("c"))
    with pytest.raises(Refused, match="the broker's own"):
        client.flush(SOON)
    client.flush(SOON)
    assert [one.message().text for one in bus.log()] == ["a", "c"]


@pytest.mark.parametrize(
    "wrong", [{"consumer": ""}, {"topics": []}, {"topics": [5]}, {"start": "last"}, {"credit": -1}, {"touch_s": "soon"}]
)
def test_impossible_subscription_is_refused_at_once_by_the_name_of_the_field(bus, wrong):
    [field] = wrong
    client = bus.client("client")
    with pytest.raises(Malformed, match=field):
        client.subscribe(**{"consumer": "work", "topics": ["noted"], **wrong})
    client.publish(bus.note())


def test_client_whose_name_no_broker_would_take_cannot_be_made():
    with pytest.raises(Malformed, match="name must be"):
        BusClient("ipc://anywhere", "")


def test_closed_subscription_says_so(bus):
    work = bus.client("client").subscribe("work", ["noted"])
    work.close()
    with pytest.raises(BusClosed, match="work is closed"):
        work.get(None)


def test_address_of_a_live_broker_is_not_taken_over(bus, tmp_path):
    with pytest.raises(AddressInUse, match="another broker"):
        Broker(bus.address, tmp_path / "other.sqlite").run(threading.Event())
    bus.client("still-here").publish(bus.note())


def test_journal_of_a_live_broker_is_not_opened_by_another(bus, tmp_path):
    with pytest.raises(JournalInUse, match="another broker"):
        Broker(f"ipc://{tmp_path}/other", bus.journal).run(threading.Event())


def test_socket_left_by_a_dead_broker_is_taken_over(bus, tmp_path):
    bus.stop()
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    bus.start()
    bus.client("publisher").publish(bus.note())


def test_socket_of_a_foreign_listener_is_not_taken_over(tmp_path):
    context = zmq.Context()
    foreign = context.socket(zmq.ROUTER)
    foreign.bind(f"ipc://{tmp_path}/bus")
    try:
        with pytest.raises(AddressInUse, match="another program"):
            Broker(f"ipc://{tmp_path}/bus", tmp_path / "journal.sqlite").run(threading.Event())
    finally:
        context.destroy(linger=0)


def test_socket_and_journal_are_for_their_owner_only(bus, tmp_path):
    for name in ("bus", "journal.sqlite"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://example.com:5555", "tcp://127.evil.example:5555", "udp://x"]
)
def test_plain_tcp_beyond_this_machine_is_refused(tmp_path, address):
    with pytest.raises(Refused):
        Broker(address, tmp_path / "journal.sqlite")


def test_socket_path_beyond_the_kernels_limit_is_refused_with_the_reason(tmp_path):
    with pytest.raises(Refused, match="100 bytes"):
        Broker(f"ipc:///{'x' * 120}/bus", tmp_path / "journal.sqlite")


def test_journal_can_be_read_while_the_broker_writes_and_after_it_ended(bus):
    client = bus.client("publisher")
    client.publish(*(bus.note(str(n)) for n in range(600)))
    reader = Journal.read(bus.journal, after=1)
    next(reader)
    client.publish(bus.note("newest"))
    assert [one.message().text for _, one in reader][-1] == "newest"
    client.close()
    bus.stop()
    os.chmod(bus.journal, 0o400)
    assert len(bus.log()) == 601


# ---------------------------------------------------------------- asyncio


def test_asyncio_client_publishes_and_handles(bus):
    async def scenario():
        publisher, worker = await bus.aclient("publisher", window=8), await bus.aclient("worker")
        work = await worker.subscribe("work", ["noted"], credit=100)
        waiting = asyncio.create_task(work.get(SOON))
        await asyncio.sleep(0)
        numbers = await asyncio.gather(*(publisher.publish(bus.note(str(n))) for n in range(100)))
        got = [await waiting] + [await work.get(SOON) for _ in range(99)]
        for delivery in got:
            delivery.ack()
        assert sorted(numbers) == [[one.seq] for one in got]
        assert await work.get(0.05) is None
        watch = await publisher.watch(["noted"], after=numbers[-1][0] - 1)
        assert (await watch.get(SOON)).seq == numbers[-1][0]
        await worker.close()
        await publisher.close()

    asyncio.run(scenario())


def test_asyncio_client_is_not_blocked_by_an_outage(bus):
    async def scenario():
        client = await bus.aclient("publisher")
        bus.stop()
        with pytest.raises(PublishTimeout):
            await client.publish(bus.note(), timeout_s=0.2)
        cancelled = asyncio.create_task(client.publish(bus.note("cancelled")))
        await asyncio.sleep(0)
        cancelled.cancel()
        bus.start()
        await client.publish(bus.note("after"), timeout_s=SOON)
        await client.close()
        with pytest.raises(BusClosed):
            await client.publish(bus.note())

    asyncio.run(scenario())
