"""The inner loop as a fold: a skill is drafted, tried and reviewed, until it is accepted or falls to the learner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from rlgpt.agents import arenas, outer_loop, repeats
from rlgpt.agents.progress import Attempt, Inner, PlanState
from rlgpt.agents.requests import CONTROLLER, AskArena, AskSetUp, AskSkill, AskTrialReview, Request, Settle
from rlgpt.bus.envelope import consumer_of
from rlgpt.bus.messages import SkillDrafted, SkillFailed, SkillReviewed, SkillSettled, SkillTried

if TYPE_CHECKING:
    from rlgpt.agents.loops import RunState


def next_sub_action(state: RunState, plan: PlanState) -> Iterator[Request]:
    """Draft, or learn in its arena, the next sub-action that is not settled; after the last one, set up the learning."""
    for inner in plan.inner.values():
        if inner.settled is None and arenas.has_arena(state.task, inner.spec):
            yield AskArena(plan.number, inner.spec.name)
            return
        if inner.spec.mode == "code" and inner.settled is None:
            yield AskSkill(plan.number, inner.spec.name, len(inner.attempts) + 1)
            return
    if state.task.mode == "code-only" and not any(skill.name == CONTROLLER for skill in plan.skills):
        state.answered("skills")
        plan.failure = f"no draft of its {CONTROLLER} could be run"
        yield from outer_loop.next_plan(state, plan, f"plan {plan.number}: {plan.failure}")
    else:
        yield AskSetUp(plan.number)


def drafted(state: RunState, seq: int, _source: str, message: SkillDrafted) -> Iterator[Request]:
    attempt = _attempt(state, message.plan, message.skill.name, message.attempt)
    if attempt and attempt.draft is None:
        inner = state.plans[message.plan].inner[message.skill.name]
        before = Inner(inner.spec, [one for one in inner.attempts if one.number < attempt.number])
        attempt.repeated = bool(repeats.code_repeated(message.skill.source, before, state.siblings(message.plan)))
        attempt.draft, attempt.seq = message, seq
        state.awaiting[seq] = "trial"
    yield from ()


def tried(state: RunState, seq: int, _source: str, message: SkillTried) -> Iterator[Request]:
    attempt = _attempt(state, message.plan, message.name, message.attempt)
    if attempt is None or attempt.trial is not None:
        return
    attempt.trial = message
    state.answered("trial")
    state.spent.trial_steps += message.env_steps
    broken = next((episode.error for episode in message.episodes if episode.test_broken), "")
    if broken and not any(episode.success for episode in message.episodes):
        # No draft can pass a test that cannot be evaluated, and no review can mend it: that is for the next plan.
        yield from next_attempt(state, message.plan, message.name, f"its success test cannot be evaluated: {broken}", hopeless=True)
    elif state.critic_asked:
        state.awaiting[seq] = "trial review"
        yield AskTrialReview(message.plan, message.name, message.attempt)
    else:
        enough = "every episode" if all(episode.success for episode in message.episodes) else "as many episodes as are needed"
        words = f"the success test holds in {enough}" if message.success else "the success test failed"
        yield from judge(state, by_test_alone(message, words), attempt)


def by_test_alone(trial: SkillTried, words: str) -> SkillReviewed:
    """The verdict of the success test, where no critic speaks."""
    verdict: Literal["accept", "revise"] = "accept" if trial.success else "revise"
    return SkillReviewed(plan=trial.plan, attempt=trial.attempt, name=trial.name, verdict=verdict, why=words)


def reviewed(state: RunState, _seq: int, source: str, message: SkillReviewed) -> Iterator[Request]:
    attempt = _attempt(state, message.plan, message.name, message.attempt)
    if attempt and attempt.trial and attempt.review is None and consumer_of(source) in state.task.critic.reviewers:
        attempt.review = message
        state.answered("trial review")
        yield from judge(state, message, attempt)


def judge(state: RunState, review: SkillReviewed, attempt: Attempt) -> Iterator[Request]:
    """Both the success test and the critic have to accept; the critic cannot overrule a failed test."""
    passed = attempt.trial is not None and attempt.trial.success
    if passed and review.verdict == "accept" and attempt.draft:
        yield Settle(review.plan, review.name, attempt.draft.skill, review.attempt, "success test and review agree")
    else:
        yield from next_attempt(state, review.plan, review.name, review.why, given_up=review.verdict == "give_up")


def skill_failed(state: RunState, _seq: int, _source: str, message: SkillFailed) -> Iterator[Request]:
    attempt = _attempt(state, message.plan, message.name, message.attempt)
    if attempt and attempt.draft is None and not attempt.failure:
        attempt.failure, attempt.repeated = message.reason, message.repeated
        yield from next_attempt(state, message.plan, message.name, message.reason)


def next_attempt(
    state: RunState, plan: int, name: str, reason: str, *, given_up: bool = False, hopeless: bool = False
) -> Iterator[Request]:
    """Draft it once more, or end the inner loop; `hopeless`: no draft can do it."""
    inner = state.plans[plan].inner[name]
    used = len(inner.attempts)
    repeated = sum(attempt.repeated for attempt in inner.attempts)
    dead = repeated >= state.task.loops.repeats
    if used < state.task.loops.attempts and not given_up and not dead and not hopeless:
        yield AskSkill(plan, name, used + 1)
        return
    passed = next((a for a in reversed(inner.attempts) if a.draft and a.trial and a.trial.success), None)
    if dead:
        reason = f"dead loop: code that had failed came again {repeated} time{'s' * (repeated != 1)}; {reason}"
    if passed and passed.draft:
        # The success test has the last word, and the disagreement is on record.
        yield Settle(plan, name, passed.draft.skill, used, f"passed its success test; the critic disagreed: {reason}")
    elif name == CONTROLLER and (best := inner.best_draft()):
        yield Settle(plan, name, best, used, f"the best of {used} attempts, though {reason}")
    elif dead or hopeless:
        yield Settle(plan, name, None, used, reason)
    else:
        spent = "the critic gave it up" if given_up else f"all {used} attempts are used"
        yield Settle(plan, name, None, used, f"{spent}; last: {reason}")


def settled(state: RunState, _seq: int, _source: str, message: SkillSettled) -> Iterator[Request]:
    plan = state.plans.get(message.plan)
    inner = plan.inner.get(message.name) if plan else None
    if plan and inner and inner.settled is None:
        inner.settled = message
        yield from next_sub_action(state, plan)


def _attempt(state: RunState, plan: int, name: str, number: int) -> Attempt | None:
    """The attempt, begun if it is the next one; None if the plan, the name or the number is not of this run."""
    found = state.plans.get(plan)
    inner = found.inner.get(name) if found else None
    if inner is None or inner.settled is not None:
        return None
    if number == len(inner.attempts) + 1:
        inner.attempts.append(Attempt(number))
    return inner.attempts[number - 1] if 0 < number <= len(inner.attempts) else None
