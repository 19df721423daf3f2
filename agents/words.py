"""A run's state in words, as the prompts fill it in. Everything is bounded: tokens cost money, and a model's attention too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlgpt.agents.library import Entry
from rlgpt.agents.progress import Attempt, Inner, PlanState, Training
from rlgpt.agents.requests import CONTROLLER
from rlgpt.bus.messages import SkillTried, TrainingFinished
from rlgpt.bus.parts import Picture, Point, Score, Skill, TrialEpisode, Use
from rlgpt.bus.task import Loops

TRACED_EPISODES = 2
"""Episodes of a trial whose course is told step by step; the others are told by their outcome."""

ERROR_CHARACTERS = 1500
CURVE_POINTS = 8


def bar(loops: Loops) -> str:
    """In how many episodes of a trial the success test has to hold."""
    if loops.needed == loops.trial_episodes:
        return "EVERY one of these episodes"
    return f"at least {loops.needed} of these {loops.trial_episodes} episodes (where chance has a say, what is right can fail too)"


def plans(earlier: Iterable[PlanState], *, code_only: bool = False) -> str:
    """Plans with their results and the critic's words; empty if there is none."""
    return "\n\n".join(plan(one, code_only=code_only) for one in earlier)


def plan(earlier: PlanState, *, outcome: bool = True, code_only: bool = False) -> str:
    """The sub-actions with what became of them, and with `outcome` the score and the critic's word on the whole."""
    lines = [f"### Plan {earlier.ordinal}"]
    if earlier.proposal is None:
        return "\n".join([*lines, f"No usable plan: {_bounded(earlier.failure)}"])
    reviews = {review.name: review for review in earlier.review.sub_actions} if earlier.review else {}
    for name, inner in earlier.inner.items():
        test = f"Success test: `{inner.spec.success or '-'}`."
        lines.append(f"- `{name}` ({inner.spec.mode}): {inner.spec.purpose} {test} {fate(inner, code_only)}")
        if name in reviews:
            lines.append(f"  Critic: {'worked' if reviews[name].worked else 'did not work'}: {reviews[name].why}")
    if earlier.result and outcome:
        lines += [part for part in (learning(earlier), uses(earlier.result)) if part]
    if earlier.failure:
        lines.append(f"No result: {_bounded(earlier.failure)}")
    if earlier.review:
        lines.append(f"Critic on the whole plan: {earlier.review.why} Advice: {earlier.review.advice or '-'}")
    return "\n".join(lines)


def fate(inner: Inner, code_only: bool = False) -> str:
    """What became of a sub-action."""
    if inner.spec.mode == "rl":
        settled = inner.settled  # only of those that were, or could have been, learned by themselves
        became = f"{'Became a skill' if settled.accepted else 'Left to the learner'}: {_bounded(settled.reason, 400)}" if settled else ""
        return became or "Left to the learner."
    if inner.settled is None:
        return "Not written yet." if not inner.attempts else f"Not settled after {len(inner.attempts)} attempt(s)."
    became = "Became a skill" if inner.settled.accepted else "No skill; dropped" if code_only else "No skill; left to the learner"
    if inner.spec.name == CONTROLLER:
        became = "Written"
    return f"{became} after {inner.settled.attempts} attempt(s): {_bounded(inner.settled.reason, 400)}"


def learning(plan: PlanState) -> str:
    """The result of a plan, and with several seeds that of each; empty before there is one."""
    if plan.result is None:
        return ""
    lines = [result(plan.result)]
    if len(plan.trainings) > 1:
        lines[:0] = [f"Learned {len(plan.trainings)} times, with different seeds; all together:"]
        lines += [f"- Seed {seed}: {seed_words(training)}" for seed, training in plan.trainings.items()]
    return "\n".join(lines)


def seed_words(training: Training) -> str:
    """What one seed of a plan came to."""
    finished = training.result
    if finished is None:
        return "not ended"
    if finished.score is None:
        return f"no policy: {_bounded(finished.failure, 400)}"
    return f"{finished.score.successes} of {finished.score.episodes} episodes succeed"


def result(finished: TrainingFinished) -> str:
    """The evaluation, the learning curve and how often each action was used."""
    if finished.score is None:
        return f"Learning failed: {_bounded(finished.failure)}"
    lines = [score(finished.score)]
    if finished.curve:
        lines.append("Learning curve: " + "; ".join(point(p) for p in _evenly(finished.curve, CURVE_POINTS)))
    return "\n".join(lines)


def score(measured: Score) -> str:
    usage = ", ".join(f"{name} {share:.0%}" for name, share in sorted(measured.usage.items(), key=lambda item: -item[1]))
    return (
        f"Evaluation on {measured.episodes} held-out episodes, {measured.actions} actions: success rate {measured.rate:.0%} "
        f"(95 % interval {measured.low:.0%} to {measured.high:.0%}), mean return {measured.mean_return:.4g}, "
        f"mean length {measured.mean_steps:.4g} steps." + (f" Decisions: {usage}." if usage else "")
    )


def uses(finished: TrainingFinished) -> str:
    """How each skill was used while learning and in the evaluation, beside all primitive actions together; empty without skills."""
    if not any(use.skill for use in (*finished.learned, *finished.played)):
        return ""
    lines = ["| choice | in | could be chosen | chosen | failed | mean steps | mean reward |", "|---|---|---|---|---|---|---|"]
    for where, counted in (("learning", finished.learned), ("evaluation", finished.played)):
        total = sum(use.calls for use in counted)
        lines += [use_words(use, where, total) for use in counted if use.skill]
        rest = [use for use in counted if not use.skill]
        lines += [use_words(together(rest), where, total)] if rest else []
    faults = [f"`{use.name}` failed last with: {use.fault}" for use in (*finished.learned, *finished.played) if use.fault]
    aside = [f"`{use.name}` failed so often that it was set aside while learning." for use in finished.learned if use.aside]
    shaped = "Reward: of a whole call, discounted inside it and with the shaping while learning."
    return "\n".join([*lines, shaped, *faults, *aside])


def use_words(use: Use, where: str, decisions: int) -> str:
    each = f"{use.steps / use.calls:.3g} | {use.reward / use.calls:.3g}" if use.calls else "- | -"
    share = f" ({use.calls / decisions:.1%})" if decisions else ""
    offered = f"{use.offered / decisions:.0%} of {decisions:,} decisions" if decisions else "-"
    return f"| {use.name} | {where} | {offered} | {use.calls:,}{share} | {use.failed} | {each} |"


def together(uses: Sequence[Use]) -> Use:
    """All primitive actions as one."""
    sums = {name: sum(getattr(use, name) for use in uses) for name in ("calls", "failed", "steps", "reward")}
    return Use(name="single actions", offered=max(use.offered for use in uses), **sums)


def point(at: Point) -> str:
    return f"{at.env_steps:,} steps: success {at.success_rate:.0%}, return {at.mean_return:.4g}"


def attempts(inner: Inner) -> str:
    """The earlier drafts of a skill with what happened; the last one in full, those before by their outcome. Empty if there is none."""
    if not inner.attempts:
        return ""
    # The code of the latest draft is what the next one begins from, also where an attempt after it led to no draft.
    shown = next((attempt for attempt in reversed(inner.attempts) if attempt.draft), inner.attempts[-1])
    earlier, last = inner.attempts[: shown.number - 1], shown
    lines = [f"- Attempt {attempt.number}: {_bounded(outcome(attempt), 500)}" for attempt in earlier]
    lines.append(f"### Attempt {last.number}, the latest{'' if last is inner.attempts[-1] else ' with code'}")
    if last.draft:
        lines.append(source(last.draft.skill))
    if last.failure:
        lines.append(f"It could not be used: {_bounded(last.failure)}")
    if last.trial:
        lines.append(trial(last.trial))
    if last.review:
        lines.append(f"Review: {last.review.why}\nTo change: {last.review.change or '-'}")
    lines += [f"- Attempt {attempt.number}, after it: {_bounded(outcome(attempt), 500)}" for attempt in inner.attempts[last.number :]]
    if any(attempt.repeated for attempt in inner.attempts):
        lines.append("Code that had failed came again. It will fail again: find another way, or change what the review says.")
    return "\n".join(lines)


def outcome(attempt: Attempt) -> str:
    """What an attempt came to, in a sentence."""
    if attempt.failure:
        return attempt.failure
    if attempt.trial is None:
        return "not tried"
    wins = sum(episode.success for episode in attempt.trial.episodes)
    words = attempt.trial.error or f"success in {wins} of {len(attempt.trial.episodes)} episodes"
    return f"{words}. Review: {attempt.review.why}" if attempt.review else words


def trial(tried: SkillTried) -> str:
    """What happened in a trial: outcomes of all episodes; the course of a few, failures first."""
    if tried.error:
        return f"It could not be run:\n```\n{_bounded(tried.error)}\n```"
    wins = sum(episode.success for episode in tried.episodes)
    lines = [f"Trial: success in {wins} of {len(tried.episodes)} episodes. (Of long calls, evenly chosen steps are shown.)"]
    if any(episode.test_broken for episode in tried.episodes):
        lines.append("Where the success expression failed, the TEST could not be evaluated; the skill is not to blame for that.")
    shown = sorted(tried.episodes, key=lambda episode: episode.success)[:TRACED_EPISODES]
    lines += [_episode(episode, traced=episode in shown) for episode in tried.episodes]
    return "\n".join(lines)


def _episode(episode: TrialEpisode, *, traced: bool) -> str:
    lines = [
        f"- Seed {episode.seed}: {'success' if episode.success else 'FAILED'}, {episode.ended} after {episode.steps} steps, "
        f"return {episode.episode_return:.4g}. First: {episode.first}. Last: {episode.last}."
    ]
    if episode.error:
        lines.append(f"  ```\n{_bounded(episode.error)}\n  ```")
    if traced:
        lines += [f"    {line}" for line in episode.trace]
    return "\n".join(lines)


def pictures(shown: Sequence[Picture]) -> str:
    """What the pictures beside a question show; empty if there are none."""
    if not shown:
        return ""
    times = ["before the first step" if one.step == 0 else f"after step {one.step}" for one in shown]
    many = f"The {len(shown)} pictures show" if len(shown) > 1 else "The picture shows"
    return f"{many} the environment in the episode of seed {shown[0].seed}: {', '.join(times)}."


def samples(finished: TrainingFinished) -> str:
    """A few evaluation episodes."""
    return "\n".join(_episode(episode, traced=True) for episode in finished.samples[:TRACED_EPISODES])


def source(skill: Skill) -> str:
    return f"```python\n{skill.source.strip()}\n```"


def library(accepted: Iterable[Inner]) -> str:
    """Accepted skills with what they did in their trial, and their sources; empty if there is none."""
    return "\n\n".join(
        f"`{inner.settled.skill.name}` ({tried_words(inner, inner.settled.skill)}):\n{source(inner.settled.skill)}"
        for inner in accepted
        if inner.settled and inner.settled.skill
    )


def tried_words(inner: Inner, skill: Skill) -> str:
    """How long a call is at most, and was in the trial that the skill was accepted for."""
    most = f"at most {skill.max_steps} steps a call"
    trial = next((a.trial for a in reversed(inner.attempts) if a.draft and a.draft.skill == skill and a.trial), None)
    if trial is None or not trial.episodes:
        return most if not skill.whole else "plays whole episodes"
    wins, steps = sum(episode.success for episode in trial.episodes), [episode.steps for episode in trial.episodes]
    taken = f"{sum(steps) / len(steps):.3g} on average in its trial, {min(steps)} to {max(steps)}; success in {wins} of {len(steps)}"
    return f"{most}; {taken}" if not skill.whole else f"plays whole episodes; {taken}"


def earlier_skill(entry: Entry, version: str) -> str:
    """A skill of the library; `version` is that of the card in hand."""
    about = entry.about
    tried = "; ".join(f"{one.successes} of {one.episodes} episodes in {one.run}" for one in about.trials[-3:])
    changed = "" if about.card.version == version else " The description of the environment was a slightly different one then."
    head = f"Id `{entry.id}`: `{about.name}`: {about.purpose} Its success test: `{about.success}`. Tried: {tried}.{changed}"
    return f"{head}\n```python\n{entry.source.strip()}\n```"


def _bounded(text: str, most: int = ERROR_CHARACTERS) -> str:
    """The text, its middle left out if it is longer than `most` characters: the cause of a traceback is at its end."""
    return text if len(text) <= most else f"{text[: most // 3]} [...] {text[-2 * most // 3 :]}"


def _evenly(points: tuple[Point, ...], most: int) -> list[Point]:
    step = max(1, -(-len(points) // most))
    return [*points[:-1:step], points[-1]]
