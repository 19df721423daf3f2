"""What the journal makes of a crash of the broker: traps 3 and 4, without sockets."""

from __future__ import annotations

import pytest

from rlgpt.bus.messages import AgentJoined, AgentLeft


@pytest.fixture
def at_work(stage):
    """Two workers with a job each, and a third job waiting."""
    publisher = stage.peer().hello("publisher")
    workers = []
    for n in (1, 2):
        worker = stage.peer().hello(f"worker-{n}")
        worker.subscribe(credit=1)
        workers.append(worker)
    publisher.publish(*(stage.note(id=f"job-{n}") for n in (1, 2, 3)))
    stage.turn()
    for worker in workers:
        worker.holds = worker.delivered()
        assert len(worker.holds) == 1
    return workers


def back(stage, worker, sub_frame, holds=None):
    peer = stage.peer()
    holds = worker.holds if holds is None else holds
    peer.hello(
        worker.name, session=worker.session, again=True, subs=[sub_frame(1, "work", credit=1, holds=[list(one[:2]) for one in holds])]
    )
    stage.turn()
    return peer


def test_job_is_not_started_twice_by_a_restart_of_the_broker(stage, at_work, sub_frame):
    """Trap 3."""
    stage.restart()
    first, second = (back(stage, worker, sub_frame) for worker in at_work)
    stage.pass_time(10, first, second)
    assert first.delivered() == second.delivered() == []
    assert first.heard("welcome")[0]["stale"] == []
    first.ack(at_work[0].holds[0])
    stage.turn()
    assert [(attempt, id) for _, attempt, id in first.delivered()] == [(1, "job-3")]


def test_newcomer_during_a_restart_does_not_get_jobs_whose_holders_are_still_on_their_way_back(stage, at_work, sub_frame):
    stage.restart()
    newcomer = stage.peer().hello("newcomer")
    newcomer.subscribe(credit=9)
    stage.turn(2.0)
    assert [id for *_, id in newcomer.delivered()] == ["job-3"]
    assert back(stage, at_work[0], sub_frame).heard("welcome")[0]["stale"] == []


def test_leased_job_is_not_taken_for_acknowledged_by_a_second_crash(stage, at_work, sub_frame):
    """Trap 4: broker and worker die together, twice."""
    stage.restart()
    stage.restart()
    rescuer = stage.peer().hello("rescuer")
    rescuer.subscribe(credit=9)
    stage.pass_time(4, rescuer)
    assert sorted((id, attempt) for _, attempt, id in rescuer.delivered()) == [("job-1", 2), ("job-2", 2), ("job-3", 1)]
    assert [one.message().reason for one in stage.log(AgentLeft.TOPIC)].count("lost") == 3


def test_acknowledged_job_does_not_come_back(stage, at_work, sub_frame):
    at_work[0].ack(at_work[0].holds[0])
    stage.turn()
    third = at_work[0].delivered()
    stage.restart()
    rescuer = stage.peer().hello("rescuer")
    rescuer.subscribe(credit=9)
    stage.pass_time(4, rescuer)
    assert sorted(id for *_, id in rescuer.delivered()) == ["job-2", "job-3"]
    assert [id for *_, id in third] == ["job-3"]


def test_delivery_that_never_reached_its_client_is_sent_again_without_blame(stage, at_work, sub_frame):
    again = back(stage, at_work[0], sub_frame, holds=[])
    assert [(attempt, id) for _, attempt, id in again.delivered()] == [(2, "job-1")]
    assert stage.core.consumers["work"].open[at_work[0].holds[0][0]].failures == 0


def test_frozen_worker_that_returns_before_anybody_took_its_job_goes_on_with_it(stage, at_work, sub_frame):
    stage.pass_time(4)  # both froze
    again = back(stage, at_work[0], sub_frame)
    assert again.heard("welcome")[0]["stale"] == []
    again.publish(stage.note("result"), lease=["work", *at_work[0].holds[0][:2]])
    stage.turn()
    assert again.heard("puback")


def test_frozen_worker_whose_job_was_taken_learns_it_at_its_return(stage, at_work, sub_frame):
    stage.pass_time(2, at_work[1])
    stage.pass_time(2, at_work[1])  # the first is lost by now
    at_work[1].ack(at_work[1].holds[0])
    stage.turn()
    assert [(attempt, id) for _, attempt, id in at_work[1].delivered()] == [(2, "job-1")]
    again = back(stage, at_work[0], sub_frame)
    assert again.heard("welcome")[0]["stale"] == [[1, *at_work[0].holds[0][:2]]]


def test_forged_holding_gives_nobody_anothers_job(stage, at_work, sub_frame):
    thief = stage.peer().hello("thief", subs=[sub_frame(1, "work", holds=[list(at_work[0].holds[0][:2])])])
    stage.turn()
    assert len(thief.heard("welcome")[0]["stale"]) == 1
    thief.ack(at_work[0].holds[0])
    stage.turn()
    assert stage.core.consumers["work"].open[at_work[0].holds[0][0]].owner == "worker-1"


def test_replaced_process_cannot_return_after_a_restart_either(stage, at_work):
    stage.peer().hello("worker-1", session="second life")
    stage.turn()
    stage.restart()
    old = stage.peer().hello("worker-1", session=at_work[0].session, again=True)
    stage.turn()
    assert old.heard("error")[0]["code"] == "replaced"


def test_restart_announces_nobody_twice(stage, at_work, sub_frame):
    stage.restart()
    for worker in at_work:
        back(stage, worker, sub_frame)
    assert [one.message().name for one in stage.log(AgentJoined.TOPIC)] == ["publisher", "worker-1", "worker-2"]


def test_watch_continues_after_the_newest_event_it_was_sent(stage, at_work, sub_frame):
    stage.restart()
    viewer = stage.peer().hello("viewer", again=True, subs=[sub_frame(1, None, start=5)])
    stage.turn()
    assert [seq for seq, *_ in viewer.delivered()] == [6]
