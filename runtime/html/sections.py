"""The parts of the report, in reading order: what came out, how it was reached plan by plan, films, what it cost."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlgpt.agents import arenas
from rlgpt.agents.budget import account
from rlgpt.agents.llm.transcript import Line
from rlgpt.agents.loops import RunState
from rlgpt.agents.progress import Attempt, Inner, Learnt, PlanState
from rlgpt.bus.messages import ModelAsked, TrainingFinished
from rlgpt.bus.parts import Score, TrialEpisode
from rlgpt.runtime.html import chart, code
from rlgpt.runtime.html.element import Markup, el, join
from rlgpt.runtime.parts import seed_words, stage_lines
from rlgpt.runtime.report import Summary, summary_facts
from rlgpt.runtime.text import duration, money, percent, steps

MAX_VIDEO = 16 << 20  # bytes of one film; larger ones are named, not carried along
OUTCOMES = {"target reached": "good", "below target": "fair", "budget spent": "fair"}


@dataclass(frozen=True)
class Told:
    """What models said, by the logical key of the question."""

    lines: Mapping[str, Line]

    def explanation(self, prefix: str, plan: int, name: str, attempt: int) -> str:
        keys = (f"{prefix}/plan-{plan}/{role}/{name}/attempt-{attempt}" for role in ("fast", "solo"))
        line = next((self.lines[key] for key in keys if key in self.lines), None)
        return str((line.answer or {}).get("explanation", "")) if line else ""


def outcome(summary: Summary) -> Markup:
    """The heading: the goal, how the run ended, and its figures."""
    state = summary.story.state
    if state.submitted is None:
        return join(el("h1", summary.run.name), el("p", "This run had no task yet."))
    facts = summary_facts(summary)
    verdict = el("span", summary.outcome, class_=f"verdict {OUTCOMES.get(summary.outcome, 'bad')}")
    rows = [el("div", el("dt", title), el("dd", words)) for title, words in facts.items() if words and title != "outcome"]
    return join(
        el("p", state.task.name, " · ", state.task.environment.id, " · ", state.task.mode, class_="crumbs"),
        el("h1", state.task.goal),
        el("p", verdict, " ", el("strong", _headline(state.score)), class_="lead"),
        el("p", facts["outcome"], class_="note"),
        el("dl", rows, class_="facts"),
        _stages(state),
    )


def _headline(score: Score | None) -> str:
    if score is None:
        return "no policy"
    return f"success {percent(score)}: {score.successes} of {score.episodes} held-out episodes, actions {score.actions}"


def _stages(state: RunState) -> Markup | None:
    """The stages of a divided task with their goals and scores; the score above is the whole chain's."""
    lines = stage_lines(state)
    if not lines:
        return None
    tests = [el("p", el("code", stage.success), " ", stage.goal, class_="note") for stage in state.sub_tasks]
    return join(el("h3", "Stages"), el("div", [el("div", line, test) for line, test in zip(lines, tests, strict=True)]))


def plan(plan: PlanState, best: bool, prefix: str, target: float, told: Told) -> Markup:
    """One plan with its sub-actions, learning, evaluation and review."""
    title = f"Plan {plan.number}" + (f", stage {plan.stage}" if plan.stage else "") + (" (best)" if best else "")
    parts: list[Markup] = [el("h2", title, id=f"plan-{plan.number}")]
    if plan.proposal and plan.proposal.rationale:
        parts.append(el("p", plan.proposal.rationale))
    if plan.failure:
        parts.append(el("p", plan.failure, class_="bad"))
    parts += [_sub_action(plan.number, inner, prefix, told) for inner in plan.inner.values()]
    parts += _learning(plan, target)
    if plan.review:
        reviews = [el("li", el("code", r.name), " worked: " if r.worked else " did not work: ", r.why) for r in plan.review.sub_actions]
        advice = el("p", el("b", "Next: "), plan.review.advice) if plan.review.advice else None
        parts.append(_quote("The critic on the whole plan", el("p", plan.review.why), el("ul", reviews) if reviews else None, advice))
    return el("section", parts)


def _sub_action(plan: int, inner: Inner, prefix: str, told: Told) -> Markup:
    spec, settled = inner.spec, inner.settled
    if spec.mode == "rl" and settled is None:
        state = el("span", "left to the learner", class_="tag")
    elif settled is None:
        state = el("span", "not settled", class_="tag")
    else:
        state = el(
            "span", "accepted" if settled.accepted else "fell to the learner", class_=f"tag {'good' if settled.accepted else 'fair'}"
        )
    head = [el("h3", el("code", spec.name), " ", el("span", spec.mode, class_="tag"), " ", state), el("p", spec.purpose)]
    if spec.success:
        head.append(el("p", "Success: ", el("code", spec.success), class_="note"))
    if spec.reason:
        head.append(el("p", "Why: ", spec.reason, class_="note"))
    if settled and settled.reason:
        head.append(el("p", "Settled: ", settled.reason, class_="note"))
    before = ""
    for attempt in inner.attempts:
        head.append(_attempt(attempt, before, told.explanation(prefix, plan, spec.name, attempt.number)))
        before = attempt.draft.skill.source if attempt.draft else before
    if inner.learnt:
        head.append(_arena(inner.learnt))
    return el("article", head)


def _arena(learnt: Learnt) -> Markup:
    """What was learned by itself: under which terms, the curve, and the comparison."""
    arena, result = learnt.request.arena, learnt.result
    contest = result.contest if result else None
    words = arenas.outcome(contest) if contest else (result.failure if result else learnt.failure) or "under way"
    summary = el("summary", "Learned in its arena: ", el("span", words, class_="good" if contest and contest.won else "bad"))
    begins = arena.where or ("a file of start states" if arena.starts else "every episode's own beginning")
    terms = {
        "begins": begins,
        "done": arena.success,
        "shaping": arena.shaping,
        "may be called": arena.can_run,
        "primitive actions": ", ".join(arena.primitives) or "all",
        "skills": ", ".join(arena.skills),
        "steps of an episode": str(arena.steps),
    }
    parts = [summary, el("ul", [el("li", f"{title}: ", el("code", text)) for title, text in terms.items() if text])]
    if result:
        spent = f"{steps(result.env_steps)} environment steps of learning, {steps(result.found_steps)} to find {result.states} start states"
        parts.append(el("p", f"{spent}; they count apart from those of the task.", class_="note"))
    if learnt.request.reason:
        parts.append(el("p", learnt.request.reason, class_="note"))
    if any(point.episodes for point in learnt.curve):
        caption = f"Success of the arena's episodes in learning, seed {learnt.request.seed}."
        curve = chart.curve({learnt.request.seed: learnt.curve}, arena.env_steps, 1.0)
        if arena.success:
            parts.append(el("figure", curve, el("figcaption", caption)))
    if result and result.skill:
        parts.append(code.python(result.skill.source))
    return el("details", parts, class_="attempt", open=not (contest and contest.won))


def _attempt(attempt: Attempt, before: str, explanation: str) -> Markup:
    """Folded to a line; the last word on it, accepted or not, is in that line."""
    trial = attempt.trial
    good = bool(trial and trial.success)
    words = attempt.failure or "not tried yet"
    if trial:
        words = trial.error or f"{sum(e.success for e in trial.episodes)} of {len(trial.episodes)} episodes succeed"
    summary = el("summary", f"Attempt {attempt.number}: ", el("span", words, class_="good" if good else "bad"))
    parts: list[Markup] = [summary]
    if explanation:
        parts.append(_quote("The fast agent", el("p", explanation)))
    if attempt.draft:
        source = attempt.draft.skill.source
        if before:
            added, removed = code.counted(before, source)
            parts.append(el("details", el("summary", f"Changes: +{added} −{removed} lines"), code.changes(before, source), open=True))
            parts.append(el("details", el("summary", "The whole source"), code.python(source)))
        else:
            parts.append(code.python(source))
    if trial and trial.episodes:
        parts.append(_episodes(trial.episodes))
    if attempt.review:
        change = el("p", el("b", "Change: "), attempt.review.change) if attempt.review.change else None
        aside = (
            el("p", el("b", "They disagree: "), f"{attempt.disagreement}; the test has the last word.") if attempt.disagreement else None
        )
        parts.append(_quote(f"The critic: {attempt.review.verdict}", el("p", attempt.review.why), change, aside))
    return el("details", parts, class_="attempt", open=not good)


def _episodes(episodes: Sequence[TrialEpisode]) -> Markup:
    head = el("tr", [el("th", title) for title in ("seed", "success", "steps", "return", "ended", "at the end")])
    rows = [
        el(
            "tr",
            el("td", str(e.seed)),
            el("td", "yes" if e.success else "no", class_="good" if e.success else "bad"),
            el("td", steps(e.steps)),
            el("td", f"{e.episode_return:.4g}"),
            el("td", e.error or e.ended),
            el("td", e.last),
        )
        for e in episodes
    ]
    traced = next((e for e in episodes if not e.success and e.trace), next((e for e in episodes if e.trace), None))
    trace = None
    if traced:
        trace = el("details", el("summary", f"Step by step, seed {traced.seed}"), el("pre", "\n".join((traced.first, *traced.trace))))
    table = el("div", el("table", el("thead", head), el("tbody", rows)), class_="wide")
    return el("details", el("summary", f"{len(episodes)} episodes"), table, trace)


def _learning(plan: PlanState, target: float) -> list[Markup]:
    request, result = plan.training, plan.result
    if request is None:
        return []
    parts: list[Markup] = [el("h3", "Learning and evaluation")]
    if request.controller:
        parts.append(el("p", f"{request.controller} plays whole episodes; nothing is learned."))
    else:
        skills = ", ".join(skill.name for skill in request.skills) or "none"
        primitives = ", ".join(request.primitives) or "all"
        parts.append(
            el("p", f"{steps(request.learner.env_steps)} environment steps a seed. Skills: {skills}. Primitive actions: {primitives}.")
        )
        if request.shaping:
            parts.append(el("p", "Shaping: ", el("code", request.shaping)))
    if request.reason:
        parts.append(el("p", request.reason, class_="note"))
    curves = {seed: training.curve for seed, training in plan.trainings.items()}
    if any(point.episodes for curve in curves.values() for point in curve):
        caption = "Success of the training episodes, each point with its 95 % interval; the score below is of held-out episodes."
        parts.append(el("figure", chart.curve(curves, request.learner.env_steps, target), el("figcaption", caption)))
    if result is None:
        return parts
    if result.failure:
        parts.append(el("p", result.failure, class_="bad"))
    if result.score:
        parts.append(
            el("p", el("strong", _headline(result.score)), f"; mean return {result.score.mean_return:.4g}, {_checked(result.score)}.")
        )
        if seeds := seed_words(plan):
            parts.append(el("p", seeds))
        if result.score.usage:
            parts += [el("h4", "What was chosen, of all decisions"), chart.bars(result.score.usage)]
    if any(use.skill for use in (*result.learned, *result.played)):
        parts.append(_uses(result))
    if result.samples:
        parts.append(_episodes(result.samples))
    return parts


def _uses(result: TrainingFinished) -> Markup:
    """How often each skill could be chosen, was, and failed, and what a call took and was paid."""
    head = el("tr", [el("th", title) for title in ("skill", "in", "could be chosen", "chosen", "failed", "steps a call", "reward a call")])
    rows = []
    for where, uses in (("learning", result.learned), ("evaluation", result.played)):
        for use in (use for use in uses if use.skill):
            each = (f"{use.steps / use.calls:.3g}", f"{use.reward / use.calls:.3g}") if use.calls else ("-", "-")
            failed = f"{use.failed}{', set aside' * use.aside}"
            cells = (use.name, where, f"{use.offered:,}", f"{use.calls:,}", failed, *each)
            rows.append(el("tr", [el("td", cell, title=use.fault) if use.fault else el("td", cell) for cell in cells]))
    return el("div", el("table", el("thead", head), el("tbody", rows)), class_="wide")


def _checked(score: Score) -> str:
    return {True: "verified by replay", False: "not confirmed by its replay", None: "not replayed (not deterministic)"}[score.verified]


def _quote(who: str, *children: Markup | None) -> Markup:
    return el("blockquote", el("p", el("b", who), class_="who"), *children)


def cost(asked: Iterable[ModelAsked]) -> Markup:
    """Questions, tokens, money and seconds by role; recorded answers are counted, and cost nothing."""
    by_role: dict[str, list[ModelAsked]] = {}
    for one in asked:
        by_role.setdefault(one.role, []).append(one)
    if not by_role:
        return el("p", "No model was asked.")
    head = el("tr", [el("th", title) for title in ("role", "questions", "of them live", "prompt tokens", "answer tokens", "cost", "time")])
    rows = []
    for role, questions in by_role.items():
        every, live = account(questions), account(one for one in questions if one.origin != "recorded")
        paid = money(live.usd, live.unpriced) if live.questions else "recorded: none"
        tokens = (f"{every.prompt_tokens:,}", f"{every.completion_tokens:,}")
        cells = (role, str(every.questions), str(live.questions), *tokens, paid, duration(every.seconds))
        rows.append(el("tr", [el("td", cell) for cell in cells]))
    return el("div", el("table", el("thead", head), el("tbody", rows)), class_="wide")


def films(folder: Path) -> Markup | None:
    """The films of the run's `videos` folder, carried in the file."""
    figures = []
    for path in sorted(folder.glob("*")):
        kind = mimetypes.guess_type(path.name)[0] or ""
        if kind not in ("image/gif", "video/mp4"):
            continue
        if path.stat().st_size > MAX_VIDEO:
            figures.append(el("p", f"{path.name}: {path.stat().st_size >> 20} MB, too large for this page; it lies in {folder.name}/"))
            continue
        data = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        film = el("img", src=data, alt=path.stem) if kind == "image/gif" else el("video", src=data, controls=True, loop=True)
        figures.append(el("figure", film, el("figcaption", path.stem.replace("_", " "))))
    return el("div", figures, class_="films") if figures else None


def best_plans(state: RunState) -> Iterable[int]:
    """Numbers of the plans whose policies make up the result."""
    stages = state.finished.stages if state.finished else ()
    if stages:
        return [stage.plan for stage in stages if stage.plan is not None]
    return [] if state.best is None else [state.best]
