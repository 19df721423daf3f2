"""The broker's core without sockets: publishing, delivery, leases, fencing, presence."""

from __future__ import annotations

import pytest

from rlgpt.bus.messages import AgentJoined, AgentLeft, DeadLettered


@pytest.fixture
def publisher(stage):
    peer = stage.peer().hello("publisher")
    stage.turn()
    return peer


@pytest.fixture
def worker(stage):
    peer = stage.peer().hello("worker-1")
    peer.subscribe(credit=2)
    stage.turn()
    return peer


def second(stage, name="worker-2", **fields):
    peer = stage.peer().hello(name)
    peer.subscribe(**{"credit": 2, **fields})
    stage.turn()
    return peer


# ---------------------------------------------------------------- publish


def test_published_event_is_acknowledged_with_its_number_and_is_on_disk(stage, publisher):
    publisher.publish(stage.note("a"), stage.note("b"))
    stage.turn()
    assert publisher.heard("puback")[0]["seqs"] == [2, 3]  # 1 is the AgentJoined
    assert [one.message().text for one in stage.log("noted")] == ["a", "b"]


def test_nothing_is_sent_before_the_turn_is_committed(stage, publisher):
    publisher.publish(stage.note())
    assert not publisher.inbox or all(frame["op"] == "welcome" for frame in publisher.inbox)
    turn = stage.core.step(stage.now)
    assert turn.changes.events
    assert turn.frames


@pytest.mark.parametrize("turns_between", [0, 1])
def test_repeat_gets_the_number_of_the_original_and_is_not_stored_again(stage, publisher, turns_between):
    note = stage.note(id="same")
    publisher.publish(note)
    for _ in range(turns_between):
        stage.turn()
    publisher.publish(stage.note("between"))
    publisher.publish(note)
    stage.turn()
    numbers = [frame["seqs"][0] for frame in publisher.heard("puback")]
    assert numbers[0] == numbers[2] == numbers[1] - 1
    assert len(stage.log("noted")) == 2


def test_repeat_is_known_even_if_newer_events_of_its_publisher_overtook_it(stage, publisher):
    """Trap 5: the queue of a connection can overtake what is sent again, so `highest number per publisher` would call it a repeat."""
    publisher.publish(stage.note(id="p-2"))
    publisher.publish(stage.note(id="p-1"))
    stage.turn()
    assert [one.id for one in stage.log("noted")] == ["p-2", "p-1"]


def test_repeat_after_a_restart_of_the_broker_is_still_known(stage, publisher):
    publisher.publish(stage.note(id="same"))
    stage.turn()
    stage.restart()
    again = stage.peer().hello("publisher", session=publisher.session, again=True)
    again.publish(stage.note(id="same"))
    stage.turn()
    assert again.heard("puback")[0]["seqs"] == [2]
    assert len(stage.log("noted")) == 1


# ---------------------------------------------------------------- delivery


def test_every_consumer_gets_every_event_and_members_of_one_share_them(stage, publisher):
    workers = [second(stage, f"w{n}", credit=10) for n in range(3)]
    other = second(stage, "other", consumer="audit", credit=100)
    publisher.publish(*(stage.note(id=f"e{n}") for n in range(9)))
    stage.turn()
    shared = [[id for _, _, id in worker.delivered()] for worker in workers]
    assert sorted(id for some in shared for id in some) == [f"e{n}" for n in range(9)]
    assert [len(some) for some in shared] == [3, 3, 3]
    assert [id for _, _, id in other.delivered()] == [f"e{n}" for n in range(9)]


def test_credit_bounds_what_is_in_flight_and_order_is_kept(stage, publisher, worker):
    publisher.publish(*(stage.note(id=f"e{n}") for n in range(5)))
    stage.turn()
    first = worker.delivered()
    assert [id for *_, id in first] == ["e0", "e1"]
    worker.ack(first[0])
    stage.turn()
    assert [id for *_, id in worker.delivered()] == ["e2"]


def test_credit_is_bounded_by_bytes_too_but_one_event_always_fits(stage, publisher):
    """Trap 8: what a client has in flight must be bounded on both sides."""
    worker = second(stage, credit=64)
    for n in range(4):
        publisher.publish(stage.note("x" * 5_000_000, id=f"e{n}"))
    stage.turn()
    first = worker.delivered()
    assert [id for *_, id in first] == ["e0", "e1"]  # 10 MB: beyond the 8 MB after the second
    worker.ack(*first)
    stage.turn()
    assert [id for *_, id in worker.delivered()] == ["e2", "e3"]


def test_late_joiner_gets_history_from_where_it_asks(stage, publisher):
    publisher.publish(*(stage.note(id=f"e{n}") for n in range(4)))
    stage.turn()
    first = second(stage, "first", consumer="a", start="first")
    third = second(stage, "third", consumer="b", start=4)  # after event 4, which is e2
    new = second(stage, "new", consumer="c", start="new")
    publisher.publish(stage.note(id="e4"))
    stage.turn()
    assert [id for *_, id in first.delivered()] == ["e0", "e1"]  # its credit
    assert [id for *_, id in third.delivered()] == ["e3", "e4"]
    assert [id for *_, id in new.delivered()] == ["e4"]


def test_slow_consumer_far_behind_reads_the_journal_in_pages_to_the_end(stage, publisher):
    for _ in range(30):
        publisher.publish(*(stage.note("x" * 100) for _ in range(1000)))
        stage.turn()
    slow = second(stage, credit=500)
    got = []
    while deliveries := slow.delivered():
        got += [seq for seq, *_ in deliveries]
        slow.ack(*deliveries)
        stage.turn()
    noted = [seq for seq, *_ in stage.journal.page(0, 1) and [(n,) for n in range(2, 30_002)]]
    assert got == noted
    assert len(stage.core.log._tail) <= 2 * 8192


def test_topics_match_exactly_by_prefix_or_all(stage, publisher):
    exact, prefix, everything, none = (
        second(stage, name, consumer=name, topics=topics, start="new", credit=50)
        for name, topics in [("exact", ["noted"]), ("prefix", ["agent.*"]), ("all", ["*"]), ("none", ["note"])]
    )
    publisher.publish(stage.note(id="e"))
    stage.peer().hello("newcomer")
    stage.turn()
    assert [id for *_, id in exact.delivered()] == ["e"]
    assert len(prefix.delivered()) == 3  # the newcomer, and the two who joined after it had subscribed
    assert len(everything.delivered()) == 2 + 1
    assert none.delivered() == []


def test_watch_gets_history_then_live_within_its_credit_and_journals_nothing(stage, publisher):
    publisher.publish(*(stage.note(id=f"e{n}") for n in range(3)))
    stage.turn()
    watch = stage.peer().hello("viewer")
    watch.subscribe(None, start=2, credit=3)
    stage.turn()
    assert [id for *_, id in watch.delivered()] == ["e1", "e2"]
    publisher.publish(*(stage.note(id=f"e{n}") for n in range(3, 6)))
    stage.turn()
    assert [id for *_, id in watch.delivered()] == ["e3"]
    watch.says("seen", sub=1, seq=4)
    stage.turn()
    assert [id for *_, id in watch.delivered()] == ["e4", "e5"]
    assert stage.journal.consumers() == []


def test_consumers_with_other_topics_do_not_share_a_name_while_at_work(stage, worker):
    intruder = stage.peer().hello("intruder")
    intruder.subscribe(topics=["other"])
    stage.turn()
    error = intruder.heard("error")[0]
    assert (error["code"], error["sub"]) == ("topics", 1)
    assert "noted" in error["why"]


# ---------------------------------------------------------------- leases


def test_goodbye_that_arrives_after_its_connection_was_found_gone_is_still_a_goodbye(stage, worker):
    stage.core.clients.disconnected(worker.id)  # as when an answer to it cannot be delivered
    worker.says("bye")
    stage.turn()
    assert [one.message().reason for one in stage.log(AgentLeft.TOPIC)] == ["bye"]


def test_goodbye_over_a_connection_its_client_has_replaced_ends_nothing(stage, worker):
    stage.core.clients.disconnected(worker.id)
    again = stage.peer().hello("worker-1", session=worker.session, again=True)
    worker.says("bye")
    stage.turn()
    assert stage.log(AgentLeft.TOPIC) == []
    assert worker.heard("error")[0]["code"] == "unknown"
    assert again.heard("welcome")


def test_work_of_a_client_whose_heartbeat_stops_goes_to_another_as_the_next_attempt(stage, publisher, worker):
    publisher.publish(stage.note(id="job"))
    stage.turn()
    seq, attempt, _ = worker.delivered()[0]
    assert attempt == 1
    other = second(stage)
    stage.pass_time(2.5, publisher, other)
    assert other.delivered() == []
    stage.pass_time(1.0, publisher, other)
    assert other.delivered() == [(seq, 2, "job")]
    assert [(one.message().name, one.message().reason) for one in stage.log(AgentLeft.TOPIC)] == [("worker-1", "lost")]


def test_results_of_an_earlier_attempt_are_refused(stage, publisher, worker):
    publisher.publish(stage.note(id="job"))
    stage.turn()
    seq, attempt, _ = worker.delivered()[0]
    other = second(stage)
    stage.pass_time(4, publisher, other)
    worker.hello("worker-1", session=worker.session, again=True)
    n = worker.publish(stage.note("late"), lease=["work", seq, attempt])
    other.publish(stage.note("in time"), lease=["work", seq, 2])
    stage.turn()
    error = worker.heard("error")[-1]
    assert (error["code"], error["n"]) == ("stale", n)
    assert [one.message().text for one in stage.log("noted")][1:] == ["in time"]


def test_only_the_holder_can_acknowledge(stage, publisher, worker):
    publisher.publish(stage.note(id="job"))
    stage.turn()
    delivery = worker.delivered()[0]
    other = second(stage)
    other.ack(delivery)
    other.nack(delivery)
    stage.turn()
    other.publish(stage.note("stolen"), lease=["work", *delivery[:2]])
    stage.turn()
    assert other.heard("error")[0]["code"] == "stale"
    assert stage.core.consumers["work"].open[delivery[0]].owner == "worker-1"


def test_refused_work_is_handed_out_again_until_its_attempts_are_spent(stage, publisher, worker):
    publisher.publish(stage.note(id="poison"))
    attempts = []
    for _ in range(3):
        stage.turn()
        delivery = worker.delivered()[0]
        attempts.append(delivery[1])
        worker.nack(delivery, reason="does not compute")
    stage.turn()
    assert attempts == [1, 2, 3]
    assert worker.delivered() == []
    letter = stage.log(DeadLettered.TOPIC)[0].message()
    assert (letter.consumer, letter.id, letter.attempts, letter.reason) == ("work", "poison", 3, "does not compute")
    assert stage.log(DeadLettered.TOPIC)[0].source == "broker"


def test_refused_for_good_is_a_dead_letter_at_once(stage, publisher, worker):
    publisher.publish(stage.note(id="poison"))
    stage.turn()
    worker.nack(worker.delivered()[0], requeue=False)
    stage.turn()
    assert len(stage.log(DeadLettered.TOPIC)) == 1


def test_refused_with_a_delay_lets_others_pass(stage, publisher, worker):
    publisher.publish(stage.note(id="a"), stage.note(id="b"), stage.note(id="c"))
    stage.turn()
    a, b = worker.delivered()
    worker.nack(a, delay_s=1.0)
    worker.ack(b)
    stage.turn()
    assert [id for *_, id in worker.delivered()] == ["c"]
    stage.turn(0.9)
    assert worker.delivered() == []
    worker.says("ping", n=0)
    stage.turn(0.2)
    assert [id for *_, id in worker.delivered()] == ["a"]


def test_poisonous_event_does_not_take_those_behind_it_to_the_dead_letters(stage, publisher):
    """A process that dies of one event dies with everything it was sent ahead; only the one it was working on is to blame."""
    publisher.publish(*(stage.note(id=id) for id in ("poison", "b", "c", "d")))
    for _ in range(3):
        victim = second(stage, "victim", credit=4)
        assert [id for *_, id in victim.delivered()] == ["poison", "b", "c", "d"]
        stage.pass_time(4, publisher)
    assert [one.message().id for one in stage.log(DeadLettered.TOPIC)] == ["poison"]
    healthy = second(stage, "healthy", credit=9)
    assert [id for *_, id in healthy.delivered()] == ["b", "c", "d"]


def test_failures_of_a_consumer_of_everything_do_not_feed_on_themselves(stage, publisher):
    clumsy = second(stage, "clumsy", topics=["*"], credit=50, start="new", max_attempts=1)
    publisher.publish(stage.note())
    for _ in range(10):
        stage.turn()
        for delivery in clumsy.delivered():
            clumsy.nack(delivery)
    assert len(stage.log(DeadLettered.TOPIC)) == 1  # the note; not the failure on that
    assert len(stage.journal.dead()) == 2


def test_dead_letter_put_back_is_handed_out_with_its_attempts_before_it(stage, publisher, worker):
    publisher.publish(stage.note(id="poison"))
    stage.turn()
    worker.nack(worker.delivered()[0], requeue=False, reason="bug")
    stage.turn()
    publisher.says("dead", n=90)
    stage.turn()
    letters = publisher.heard("dead")[0]["letters"]
    assert letters == [["work", 3, 1, 1, "bug"]]
    publisher.says("requeue", n=91, consumer="work", seq=3)
    stage.turn()
    assert publisher.heard("acked")[0]["n"] == [91]
    assert worker.delivered() == [(3, 2, "poison")]
    publisher.says("requeue", n=92, consumer="work", seq=3)
    stage.turn()
    assert publisher.heard("error")[0]["code"] == "no_letter"
    assert stage.journal.dead() == []


def test_hung_work_goes_to_another_after_its_touch_deadline_and_its_holder_is_told(stage, publisher):
    hung = second(stage, "hung", credit=1, touch_s=10.0)
    busy = second(stage, "busy", credit=1, touch_s=10.0)
    publisher.publish(stage.note(id="a"), stage.note(id="b"))
    stage.turn()
    [(seq, attempt, _)], [(other_seq, other_attempt, _)] = hung.delivered(), busy.delivered()
    for _ in range(3):
        stage.pass_time(4, publisher, hung, busy)  # both processes are alive
        busy.says("touch", sub=1, leases=[[other_seq, other_attempt]])
    assert hung.heard("error")[0]["leases"] == [[1, seq, attempt]]
    assert hung.delivered() == []  # its credit is still in use: it has not answered
    busy.ack((other_seq, other_attempt))
    stage.turn()
    assert busy.delivered() == [(seq, 2, "a")]
    hung.says("touch", sub=1, leases=[[seq, attempt]])
    stage.turn()
    assert hung.heard("error")[0]["code"] == "stale"


def test_standstill_of_the_broker_itself_costs_nobody_his_work(stage, publisher):
    worker = second(stage, "worker", credit=1, touch_s=5.0)
    publisher.publish(stage.note())
    stage.turn()
    assert worker.delivered()
    stage.turn(60.0)
    stage.pass_time(2.0)
    assert stage.log(AgentLeft.TOPIC) == []
    assert len(stage.core.consumers["work"].members) == 1


def test_standstill_of_the_broker_gives_nobody_more_time_than_it_took(stage, publisher):
    """What is heard first after it counts from then, not from so much later."""
    hung = second(stage, "hung", credit=1, touch_s=2.0)
    publisher.publish(stage.note(id="a"))
    stage.turn()
    [(seq, attempt, _)] = hung.delivered()
    stage.now += 3600
    for peer in (publisher, hung):
        peer.says("ping", n=0)
    hung.says("touch", sub=1, leases=[[seq, attempt]])
    stage.turn()
    stage.pass_time(3, hung)
    assert hung.heard("error")[0]["leases"] == [[1, seq, attempt]]
    stage.pass_time(1, hung)
    assert [left.message().name for left in stage.log(AgentLeft.TOPIC)] == [publisher.name]


def test_goodbye_returns_work_without_blame(stage, publisher, worker):
    publisher.publish(stage.note(id="job"))
    for _ in range(5):
        stage.turn()
        worker.delivered()
        worker.says("bye")
        worker.hello("worker-1")
        worker.subscribe()
    stage.turn()
    assert [id for *_, id in worker.delivered()] == ["job"]
    assert stage.log(DeadLettered.TOPIC) == []


def test_ended_subscription_returns_what_it_had(stage, publisher, worker):
    publisher.publish(stage.note(id="job"))
    stage.turn()
    worker.says("unsub", sub=1)
    other = second(stage)
    assert [id for *_, id in other.delivered()] == ["job"]


# ---------------------------------------------------------------- presence


def test_join_and_leave_are_events_of_the_log(stage):
    peer = stage.peer().hello("trainer-1", role="trainer")
    stage.turn()
    peer.says("bye")
    stage.turn()
    joined, left = (envelope.message() for envelope in stage.log())
    assert joined == AgentJoined(name="trainer-1", role="trainer", host="here", pid=7)
    assert left == AgentLeft(name="trainer-1", role="trainer", reason="bye")


def test_second_process_of_a_name_replaces_the_first_which_must_not_return(stage, worker, publisher):
    publisher.publish(stage.note(id="job"))
    stage.turn()
    assert worker.delivered()
    fresh = stage.peer().hello("worker-1", session="second life")
    fresh.subscribe()
    stage.turn()
    assert worker.heard("error")[0]["code"] == "replaced"
    assert [(attempt, id) for _, attempt, id in fresh.delivered()] == [(2, "job")]
    worker.hello("worker-1", session=worker.session, again=True)
    stage.turn()
    assert worker.heard("error")[0]["code"] == "replaced"
    assert [one.message().reason for one in stage.log(AgentLeft.TOPIC)] == ["replaced"]


def test_same_process_over_a_new_connection_is_no_news(stage, worker):
    again = stage.peer().hello("worker-1", session=worker.session, again=True)
    stage.turn()
    assert again.heard("welcome")
    assert len(stage.log(AgentJoined.TOPIC)) == 1
    worker.says("ping", n=1)
    stage.turn()
    assert worker.heard("error")[0]["code"] == "unknown"


def test_other_protocol_version_is_refused_with_both_versions(stage):
    peer = stage.peer().hello("old", protocol=99)
    stage.turn()
    assert "99" in peer.heard("error")[0]["why"]
