"""The client's side of the protocol without sockets: what is said, and said again."""

from __future__ import annotations

import threading

import pytest

from rlgpt.bus.calls import Call
from rlgpt.bus.codec import pack, unpack
from rlgpt.bus.errors import BusClosed, Refused, StaleLease
from rlgpt.bus.inbox import Inbox
from rlgpt.bus.session import FRAME_EVENTS, Session


class Wire:
    """A session with a hand-turned clock."""

    def __init__(self) -> None:
        self.session, self.now = Session("client", "tester", 1.0), 100.0
        self.lock = threading.Lock()
        self.lock.acquire()  # as the link does around every call

    def welcome(self, **fields):
        self.session.receive(pack({"op": "welcome", "head": 0, "subs": [], "refused": [], "stale": [], **fields}))

    def says(self, *ops) -> list[dict]:
        frames = [unpack(frame) for frame in self.session.outgoing(self.now)]
        return [frame for frame in frames if frame["op"] in ops] if ops else [frame for frame in frames if frame["op"] != "ping"]

    def hears(self, op, **fields):
        self.session.receive(pack({"op": op, **fields}))

    def inbox(self, consumer="work", credit=4, start="first", sub=1):
        inbox = Inbox(sub, self.lock, consumer=consumer, topics=["noted"], start=start, credit=credit, max_attempts=3, touch_s=None)
        self.session.open(inbox)
        return inbox


@pytest.fixture
def wire():
    wire = Wire()
    wire.session.connected()
    assert [frame["op"] for frame in wire.says()] == ["hello"]
    wire.welcome()
    return wire


def test_nothing_is_said_before_the_welcome():
    wire = Wire()
    wire.session.publish(Call([b"a"]))
    assert wire.says() == []
    wire.session.connected()
    assert [frame["op"] for frame in wire.says()] == ["hello"]
    assert wire.says() == []
    wire.welcome()
    assert [frame["op"] for frame in wire.says()] == ["pub"]


def test_hello_without_an_answer_is_said_again():
    wire = Wire()
    wire.session.connected()
    assert wire.says("hello")
    wire.now += 1
    assert not wire.says("hello")
    wire.now += 2
    assert wire.says("hello")


def test_small_publications_travel_together_and_are_told_apart_in_the_answer(wire):
    calls = [Call([b"a"]), Call([b"b", b"c"]), Call([b"d"], lease=("work", 1, 1)), Call([b"e"])]
    for call in calls:
        wire.session.publish(call)
    frames = wire.says("pub")
    assert [frame["events"] for frame in frames] == [[b"a", b"b", b"c"], [b"d"], [b"e"]]
    assert frames[1]["lease"] == ["work", 1, 1]
    wire.hears("puback", n=frames[0]["n"], seqs=[5, None, 6], refused=[[1, "forbidden", "no"]])
    assert (calls[0].seqs, calls[0].error) == ([5], None)
    assert isinstance(calls[1].error, Refused)
    wire.hears("error", n=frames[1]["n"], code="stale", why="too late")
    assert isinstance(calls[2].error, StaleLease)
    assert not calls[3].done
    assert wire.session.unacknowledged == 1


def test_publications_nobody_waits_for_share_a_frame_and_report_their_refusal(wire):
    for raw in (b"a", b"b", b"c"):
        wire.session.publish_nowait(raw)
    [frame] = wire.says("pub")
    wire.hears("puback", n=frame["n"], seqs=[1, None, 2], refused=[[1, "forbidden", "no"]])
    assert isinstance(wire.session.background, Refused)
    assert wire.session.unacknowledged == 0


def test_publications_nobody_waits_for_gather_while_others_are_on_their_way(wire):
    wire.session.publish_nowait(b"a")
    [first] = wire.says("pub")
    for raw in (b"b", b"c"):
        wire.session.publish_nowait(raw)
    assert wire.says("pub") == []
    wire.hears("puback", n=first["n"], seqs=[1], refused=[])
    assert [frame["events"] for frame in wire.says("pub")] == [[b"b", b"c"]]


def test_publication_somebody_waits_for_leaves_at_once_and_takes_the_others_along(wire):
    wire.session.publish_nowait(b"a")
    wire.says("pub")
    wire.session.publish_nowait(b"b")
    wire.session.publish(Call([b"c"]))
    assert [frame["events"] for frame in wire.says("pub")] == [[b"b", b"c"]]


def test_full_frame_of_publications_does_not_wait(wire):
    wire.session.publish_nowait(b"a")
    wire.says("pub")
    for _ in range(FRAME_EVENTS):
        wire.session.publish_nowait(b"b")
    assert sum(len(frame["events"]) for frame in wire.says("pub")) == FRAME_EVENTS


def test_acknowledgements_gather_while_others_are_on_their_way_up_to_a_quarter_of_the_credit(wire):
    inbox = wire.inbox(credit=8)
    wire.hears("deliver", sub=1, attempt=1, seqs=[1, 2, 3, 4], events=[b""] * 4)
    inbox.acks.append((1, 1))
    [first] = wire.says("ack")
    inbox.acks.append((2, 1))
    assert wire.says("ack") == []
    inbox.acks.append((3, 1))
    [second] = wire.says("ack")
    assert second["seqs"] == [2, 3]
    inbox.acks.append((4, 1))
    assert wire.says("ack") == []
    wire.hears("acked", n=[first["n"], second["n"]])
    assert [frame["seqs"] for frame in wire.says("ack")] == [[4]]


def test_closed_subscription_says_what_was_handled_before_it_leaves(wire):
    inbox = wire.inbox()
    wire.hears("deliver", sub=1, attempt=1, seqs=[1, 2, 3], events=[b""] * 3)
    inbox.acks.append((1, 1))
    wire.says("ack")
    inbox.acks.append((2, 1))
    wire.session.close(inbox)
    assert [(frame["op"], frame.get("seqs")) for frame in wire.says("ack", "unsub")] == [("ack", [2]), ("unsub", None)]


def test_everything_unanswered_is_said_again_after_a_reconnect_under_its_number(wire):
    wire.session.publish(Call([b"a"]))
    inbox = wire.inbox()
    wire.hears("deliver", sub=1, attempt=1, seqs=[7, 8], events=[b"x", b"y"])
    inbox.acks.append((7, 1))
    before = wire.says("pub", "ack")
    wire.session.disconnected()
    assert wire.says() == []
    wire.session.connected()
    [hello] = wire.says("hello")
    assert hello["again"]
    assert hello["subs"][0]["holds"] == [[7, 1], [8, 1]]  # 7 until its acknowledgement is confirmed
    wire.welcome()
    assert wire.says("pub", "ack") == before
    wire.hears("acked", n=[before[1]["n"]])
    wire.session.connected()
    assert wire.says("hello")[0]["subs"][0]["holds"] == [[8, 1]]


def test_broker_that_lost_us_hears_hello_and_then_everything_again(wire):
    """A publication that meets `unknown` has not failed: it is said again after the welcome."""
    call = Call([b"a"], lease=("work", 1, 1))
    wire.session.publish(call)
    [before] = wire.says("pub")
    wire.hears("error", n=before["n"], code="unknown", why="say hello first")
    assert wire.says("hello")
    wire.welcome()
    assert wire.says("pub") == [before]
    assert not call.done


def test_delivery_that_comes_twice_is_shown_once(wire):
    inbox = wire.inbox()
    for _ in range(2):
        wire.hears("deliver", sub=1, attempt=1, seqs=[7], events=[b"x"])
    assert len(inbox.queue) == 1


def test_later_attempt_of_what_waits_here_takes_its_place(wire):
    inbox = wire.inbox()
    wire.hears("deliver", sub=1, attempt=1, seqs=[7], events=[b"x"])
    wire.hears("deliver", sub=1, attempt=2, seqs=[7], events=[b"x"])
    assert [event[:2] for event in inbox.queue] == [(7, 2)]
    assert [(frame["attempt"], frame["seqs"]) for frame in wire.says("ack")] == [(1, [7])]


def test_watch_goes_on_after_the_last_event_it_was_sent(wire):
    inbox = wire.inbox(consumer=None, start=3)
    wire.hears("deliver", sub=1, attempt=0, seqs=[5, 6], events=[b"x", b"y"])
    wire.session.connected()
    assert wire.says("hello")[0]["subs"][0]["start"] == 6
    wire.welcome()
    wire.hears("deliver", sub=1, attempt=0, seqs=[6, 7], events=[b"y", b"z"])
    assert [event[0] for event in inbox.queue] == [5, 6, 7]


def test_credit_of_a_watch_is_returned_when_half_of_it_is_used(wire):
    inbox = wire.inbox(consumer=None, credit=4)
    assert not inbox.saw(1)
    assert inbox.saw(2)
    assert wire.says("seen") == [{"op": "seen", "sub": 1, "seq": 2}]


def test_stale_deliveries_that_wait_are_dropped_and_their_credit_returned(wire):
    inbox = wire.inbox()
    wire.hears("deliver", sub=1, attempt=1, seqs=[7, 8], events=[b"x", b"y"])
    inbox.queue.popleft()  # the application works on 7
    wire.hears("error", code="stale", why="", leases=[[1, 7, 1], [1, 8, 1]])
    assert inbox.stale == {(7, 1), (8, 1)}
    assert not inbox.queue
    assert wire.says("ack")[0]["seqs"] == [8]


def test_end_tells_everybody_who_waits(wire):
    call, asked, inbox = Call([b"a"]), wire.session.ask({"op": "dead"}), wire.inbox()
    wire.session.publish(call)
    wire.session.end(BusClosed("over"))
    assert isinstance(call.error, BusClosed)
    assert isinstance(asked.error, BusClosed)
    assert isinstance(inbox.error, BusClosed)


def test_heartbeat_is_sent_at_its_interval(wire):
    assert len(wire.says("ping")) == 1
    assert wire.says("ping") == []
    wire.now += 1.0
    assert len(wire.says("ping")) == 1
