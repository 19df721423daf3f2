"""Arenas as a fold: an `rl` sub-action is learned by itself first, and becomes a skill among the others if it beats the alternative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlgpt.agents.progress import Inner, Learnt, PlanState
from rlgpt.agents.requests import Request, Settle
from rlgpt.bus.arena import Contest
from rlgpt.bus.messages import ArenaFinished, ArenaProgressed, ArenaRequested
from rlgpt.bus.parts import SubAction
from rlgpt.bus.task import Task

if TYPE_CHECKING:
    from rlgpt.agents.loops import RunState


def has_arena(task: Task, spec: SubAction) -> bool:
    """Whether this sub-action is to be learned by itself: the scenario has an arena of its name, or lets the fast agent make some."""
    return task.mode == "rl-gpt" and spec.mode == "rl" and (spec.name in task.arenas or task.loops.arenas)


def requested(state: RunState, seq: int, _source: str, message: ArenaRequested) -> Iterator[Request]:
    inner = _inner(state, message.plan, message.name)
    if inner and inner.learnt is None and inner.settled is None:
        inner.learnt = Learnt(message, seq)
        state.awaiting[seq] = "arena"
    yield from ()


def progressed(state: RunState, _seq: int, _source: str, message: ArenaProgressed) -> Iterator[Request]:
    inner = _inner(state, message.plan, message.name)
    if inner and inner.learnt and inner.learnt.result is None:
        # As of the whole task's learning: a trainer that continues from its checkpoint says some points again.
        earlier = [point for point in inner.learnt.curve if point.env_steps < message.point.env_steps]
        inner.learnt.curve = [*earlier, message.point]
        inner.learnt.resumed = max(inner.learnt.resumed, message.resumed)
    yield from ()


def finished(state: RunState, _seq: int, _source: str, message: ArenaFinished) -> Iterator[Request]:
    inner = _inner(state, message.plan, message.name)
    if inner is None or inner.learnt is None or inner.learnt.result is not None:
        return
    inner.learnt.result = message
    state.awaiting.pop(inner.learnt.seq, None)
    spent, contest = state.spent, message.contest
    spent.arena_steps += message.env_steps + message.found_steps
    spent.evaluation_steps += contest.env_steps if contest else 0
    spent.learn_s += message.learn_s
    spent.evaluate_s += message.evaluate_s
    if message.failure or contest is None:
        yield Settle(message.plan, message.name, None, 1, f"its arena: {message.failure or 'there was no comparison'}")
    else:
        yield Settle(message.plan, message.name, message.skill if contest.won else None, 1, outcome(contest))


def lost(state: RunState, plan: PlanState, inner: Inner, reason: str) -> Iterator[Request]:
    """No process could learn it: the sub-action falls to the learner of the whole task."""
    if inner.learnt:
        state.awaiting.pop(inner.learnt.seq, None)
        inner.learnt.failure = reason
        yield Settle(plan.number, inner.spec.name, None, 1, reason)


def outcome(contest: Contest) -> str:
    """The comparison in a sentence."""
    what = "share of successes" if contest.judged == "success" else "mean return"
    verdict = "beats" if contest.won else "does not beat"
    words = (
        f"learned in its arena, it {verdict} {contest.against} in {contest.episodes} held-out episodes: {what} {contest.learned:.4g} "
        f"against {contest.other:.4g}, paired difference {contest.difference:+.4g} "
        f"(95 % interval {contest.low:+.4g} to {contest.high:+.4g})"
    )
    return words if contest.verified is not False else f"{words}; its episodes could not be repeated, so that it does not count"


def _inner(state: RunState, plan: int, name: str) -> Inner | None:
    found = state.plans.get(plan)
    return found.inner.get(name) if found else None
