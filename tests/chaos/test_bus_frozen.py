"""Processes that stop without ending: a publisher, somebody who watches, a worker whose process lives while its work stands still."""

from __future__ import annotations

import signal

from bus_process import note
from world import begun


def test_frozen_publisher_is_missed_and_goes_on_where_it_was(world):
    world.broker()
    world.start("worker-1", "worker", "worker-1", "0")
    world.start("publisher", "publisher", "publisher")
    world.wait(lambda: len(world.lines("publisher")) > 50, "nothing is published")
    world.signal("publisher", signal.SIGSTOP)
    world.wait(lambda: ("publisher", "lost") in world.left(), "nobody misses it")
    so_far = len(world.lines("publisher"))
    world.wait(lambda: len(world.stored("result")) == len(world.stored("model.asked")), "the worker does not go on without it")
    world.signal("publisher", signal.SIGCONT)
    world.wait(lambda: len(world.lines("publisher")) > so_far + 50, "it does not go on")
    world.signal("publisher", signal.SIGKILL)
    acknowledged, stored = [line[0] for line in world.lines("publisher")], world.stored("model.asked")
    print(f"{so_far} acknowledged before it was frozen, {len(acknowledged) - so_far} afterwards, {len(stored)} stored")
    assert len(stored) == len(set(stored))
    assert stored[: len(acknowledged)] == acknowledged


def test_frozen_watcher_costs_nobody_anything_and_misses_nothing(world):
    world.broker()
    world.start("watcher", "watcher", "watcher")
    world.start("publisher", "publisher", "publisher")
    world.wait(lambda: len(world.lines("watcher")) > 50, "nothing is seen")
    world.signal("watcher", signal.SIGSTOP)
    world.wait(lambda: ("watcher", "lost") in world.left(), "nobody misses it")
    published = len(world.lines("publisher"))
    world.wait(lambda: len(world.lines("publisher")) > published + 2000, "the publisher stands still too")
    world.signal("publisher", signal.SIGKILL)
    seen = len(world.lines("watcher"))
    world.signal("watcher", signal.SIGCONT)
    world.wait(lambda: len(world.lines("watcher")) == len(world.stored("model.asked")), "it does not see the rest")
    numbers = [int(line[0]) for line in world.lines("watcher")]
    print(f"{seen} events seen before it was frozen, {len(numbers) - seen} afterwards")
    assert numbers == sorted(set(numbers))


def test_frozen_consumer_with_many_events_in_hand_gives_them_all_back(world):
    world.broker()
    holder = world.client("holder", heartbeat_s=60.0)  # only to fill the log first
    jobs = [note("job", f"job-{n}", "holder") for n in range(200)]
    holder.publish(*jobs)
    world.start("worker-1", "worker", "worker-1", "0.02", "", "64")
    world.wait(lambda: len(begun(world, "worker-1")) > 5, "the jobs do not begin")
    world.signal("worker-1", signal.SIGSTOP)
    world.start("worker-2", "worker", "worker-2", "0", "", "64")
    world.wait(lambda: len(world.stored("result")) == len(jobs), "jobs stay with the frozen one")
    world.signal("worker-1", signal.SIGCONT)
    # What it had been sent ahead is void. It may find that out job by job, or at once; its results never count a second time.
    world.wait(lambda: holder.publish(note("last", "last", "holder")) and len(world.stored("result")) == len(jobs) + 1, "it is in the way")
    first, second = begun(world, "worker-1"), begun(world, "worker-2")
    print(f"{len(first)} jobs begun by the frozen one, {len(second)} by the other")
    results = world.stored("result")
    assert len(results) == len(set(results))
    holder.close()


def test_hung_work_in_a_living_process_goes_elsewhere_after_its_touch_deadline(world):
    world.broker()
    client = world.client("client")
    both = {"worker-1", "worker-2"}
    for name in both:  # at first 5 s without a sign of progress, of which they may do without for 1 s
        world.start(name, "worker", name, "5:0", "1")
    world.wait(lambda: both <= {one.message().name for one in world.events("agent.joined")}, "they do not come")
    client.publish(note("job", "job", "client"))
    world.wait(lambda: len(begun(world, *both)) == 2, "the job does not begin elsewhere")
    [[hung, (seq, _)], [other, (_, attempt)]] = sorted(((name, begun(world, name)[0]) for name in both), key=lambda one: one[1])
    world.wait(lambda: ["stale", str(seq), "1"] in world.lines(hung), "the late result was not refused")
    took = float(world.lines(other)[0][3]) - float(world.lines(hung)[0][3])
    print(f"elsewhere {took:.1f} s after it had begun, with a deadline of 1 s")
    assert attempt == 2
    assert len(world.stored("result")) == 1
    assert world.left() == []
    client.close()
