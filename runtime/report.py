"""What a run came to: the summary at its end, and several runs side by side. Everything is read back from the run folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from rlgpt.agents import arenas
from rlgpt.agents.llm.providers import HAND_WRITTEN
from rlgpt.agents.loops import RunState
from rlgpt.runtime.bill import role_words
from rlgpt.runtime.parts import mode_words, seed_words, stage_lines
from rlgpt.runtime.run import RunFolder, runs_folder
from rlgpt.runtime.scenario import bundled
from rlgpt.runtime.story import PHASE_NAMES, Story, read
from rlgpt.runtime.text import duration, money, percent, short, steps


@dataclass(frozen=True)
class Weight:
    """Largest resident memory of a process over all launches, KiB; `workers_kb` that of the environment processes below it, together."""

    peak_kb: int = 0
    workers_kb: int = 0
    restarts: int = 0


@dataclass(frozen=True)
class Summary:
    """One run.

    first_plan_s   seconds from the launch until the first plan; None if there was none, or the launch is not known
    ended_by, why  how its last launch ended
    """

    run: RunFolder
    story: Story
    running: bool
    weights: dict[str, Weight] = field(default_factory=dict)
    first_plan_s: float | None = None
    ended_by: str = ""
    why: str = ""

    @property
    def outcome(self) -> str:
        """`running`, `interrupted`, `gave up`, or how the loops ended."""
        finished = self.story.state.finished
        if finished:
            return finished.outcome.replace("_", " ")
        return "running" if self.running else self.ended_by or "interrupted"


def summarize(run: RunFolder) -> Summary:
    """Fold the run's journal. Raises JournalFailed for one that cannot be read."""
    story = read(run)
    notes = run.notes()
    started = next((note["started"] for note in notes if "started" in note), None)
    plan_at = story.first_plan_at
    first_plan_s = (plan_at - datetime.fromisoformat(started)).total_seconds() if plan_at and started else None
    last = notes[-1] if notes else {}
    ended_by = str(last.get("ended_by", "")).replace("_", " ")
    return Summary(run, story, run.running, _weights(notes), first_plan_s, ended_by, str(last.get("why", "")))


def _weights(notes: Sequence[dict[str, Any]]) -> dict[str, Weight]:
    weights: dict[str, Weight] = {}
    for note in notes:
        for name, numbers in note.get("processes", {}).items():
            before = weights.get(name, Weight())
            weights[name] = Weight(
                max(before.peak_kb, numbers["peak_kb"]),
                max(before.workers_kb, numbers["workers_peak_kb"]),
                before.restarts + numbers["restarts"],
            )
    return weights


def origin(summary: Summary) -> str:
    """Where the models' answers came from, in words."""
    state = summary.story.state
    if state.submitted is not None and state.task.mode == "rl-only":
        return "no model asked"
    asked = list(state.spent.questions.values())
    by_hand = sum(question.model == HAND_WRITTEN for question in asked)
    recorded = sum(question.origin == "recorded" for question in asked) - by_hand
    live = Counter(question.model for question in asked if question.origin != "recorded")
    parts = [f"{number} live by {model}" for model, number in live.items()]
    if recorded:
        parts.insert(0, f"{recorded} recorded (offline)")
    if by_hand:
        parts.insert(0, f"{by_hand} written by hand (offline), by no model")
    return ", ".join(parts) or "none"


def summary_lines(summary: Summary) -> list[str]:
    """The closing summary, a line a fact."""
    state = summary.story.state
    if state.submitted is None:
        return [f"{summary.run.name}: {_outcome_words(summary)}", f"  it had no task yet; it lies in {summary.run.path}"]
    facts = summary_facts(summary)
    return [f"{summary.run.name}  ({state.task.mode})", *(f"  {title:<11}{words}" for title, words in facts.items() if words)]


def summary_facts(summary: Summary) -> dict[str, str]:
    """What there is to say of a run that has its task, by title; what does not apply is empty."""
    state, spent = summary.story.state, summary.story.state.spent
    best = state.plans[state.best].result if state.best is not None else None
    parts = stage_lines(state)
    usage = best.score.usage if best and best.score else {}
    phases = [f"{name} {duration(seconds)}" for name, seconds in summary.story.phases.items() if seconds >= 0.05]
    live = f"{spent.tokens:,} tokens, {money(spent.usd, spent.unpriced)}" if spent.live else "none: no live model was asked"
    if len({asked.role for asked in spent.live}) > 1:
        live += f": {role_words(spent)}"
    first_plan = "" if summary.first_plan_s is None else f"{duration(summary.first_plan_s)} after the launch"
    under_way = sum(plan.under_way for plan in state.plans.values())
    learning = f"learning ({steps(under_way)} more under way)" if under_way else "learning"
    in_arenas = [(amount, "learning in arenas")] if (amount := _arena_steps(state)) else []
    counted = ((spent.learning_steps, learning), *in_arenas, (spent.trial_steps, "trials"), (spent.evaluation_steps, "evaluation"))
    return {
        "outcome": _outcome_words(summary),
        "success": _success_words(summary),
        "stages": ("\n" + " " * 13).join(parts),
        "seeds": seed_words(state.plans[state.best]) if state.best is not None else "",
        "decisions": ", ".join(f"{name} {share:.0%}" for name, share in sorted(usage.items(), key=lambda item: -item[1])),
        "skills": _skill_words(summary),
        "arenas": _arena_words(state),
        "shaping": f"{state.task.shaping} (the scenario's, added to the reward in learning, in every mode)" if state.task.shaping else "",
        "disagreed": _disagreements(summary),
        "env steps": ", ".join(f"{steps(number)} {what}" for number, what in counted),
        "wall time": f"{duration(summary.story.wall_s)}{': ' if phases else ''}{', '.join(phases)}",
        "first plan": first_plan,
        "models": origin(summary) + _drift_words(summary),
        "cost": live,
        "device": best.device if best else "",
        "memory": _memory_words(summary.weights),
        "folder": str(summary.run.path),
    }


def next_steps(summary: Summary) -> list[str]:
    """Commands worth typing now, with what they do."""
    name, state = summary.run.name, summary.story.state
    if summary.run.path.parent != runs_folder().resolve():
        name = str(summary.run.path)  # found from wherever the command is typed
    lines = [] if state.finished or summary.running else [f"rlgpt resume {name}    # continue it"]
    lines.append(f"rlgpt tail {name}    # what every process did")
    if state.submitted and state.task.mode == "rl-gpt":
        again = state.task.name if state.task.name in bundled() else summary.run.scenario
        lines.append(f"rlgpt launch {again} --set mode=rl-only    # the same steps without language models")
    elsewhere = "" if name == summary.run.name else f" --runs {summary.run.path.parent}"
    lines.append(f"rlgpt compare{elsewhere}    # all runs side by side")
    if any(question.origin != "recorded" for question in state.spent.questions.values()):
        lines.append(f"rlgpt record {name} --to scenarios/{state.task.name}_recorded    # a scenario that replays these answers offline")
    return lines


def _outcome_words(summary: Summary) -> str:
    """With the reason; that of a process that gave up is several lines, the last ones of what it said among them."""
    finished = summary.story.state.finished
    why = short(finished.reason, 300) if finished else summary.why if not summary.running else ""
    return f"{summary.outcome}: {why}" if why else summary.outcome


def _success_words(summary: Summary) -> str:
    state = summary.story.state
    score = state.score
    if score is None:
        return "no policy"
    checked = {True: "verified by replay", False: "NOT confirmed by the replay", None: "not replayed: the environment is not deterministic"}
    interval = f"95 % interval {score.low:.1%} to {score.high:.1%}"
    whole = f" pass all {len(state.sub_tasks)} stages" if state.sub_tasks else ""
    how = f"{score.successes} of {score.episodes} held-out episodes{whole}, {score.actions}"
    plan = "" if state.sub_tasks else f", plan {state.best}"
    return f"{score.rate:.1%} ({interval}; {how}; {checked[score.verified]}){plan}, mean return {score.mean_return:.1f}"


def _disagreements(summary: Summary) -> str:
    """Where the critic and a success test said different things; the test has the last word."""
    words = [
        f"{name}, attempt {attempt.number}: {attempt.disagreement}"
        for plan in summary.story.state.plans.values()
        for name, inner in plan.inner.items()
        for attempt in inner.attempts
        if attempt.disagreement
    ]
    return "; ".join(words[:5]) + (f"; and {len(words) - 5} more" if len(words) > 5 else "")


def _skill_words(summary: Summary) -> str:
    words = []
    for plan in summary.story.state.plans.values():
        for inner in plan.inner.values():
            if inner.settled:
                tries = f"{inner.settled.attempts} attempt{'s' * (inner.settled.attempts != 1)}"
                words.append(f"{inner.spec.name} {'accepted' if inner.settled.accepted else 'left to the learner'} after {tries}")
    return "; ".join(words) or "none"


def _arena_steps(state: RunState) -> int:
    """Environment steps in arenas, those under way among them."""
    return state.spent.arena_steps + sum(plan.arena_under_way for plan in state.plans.values())


def _arena_words(state: RunState) -> str:
    """What was learned by itself, and whether it counts."""
    words = []
    for plan in state.plans.values():
        for name, inner in plan.inner.items():
            if inner.learnt:
                contest = inner.learnt.result.contest if inner.learnt.result else None
                words.append(f"{name}: {arenas.outcome(contest) if contest else inner.settled.reason if inner.settled else 'under way'}")
    return "; ".join(words)


def _drift_words(summary: Summary) -> str:
    drifted = sum(question.drifted for question in summary.story.state.spent.questions.values())
    return f"; {drifted} of the questions have changed since they were recorded" if drifted else ""


def _memory_words(weights: dict[str, Weight]) -> str:
    parts = []
    for name, weight in weights.items():
        workers = f" (+ {weight.workers_kb // 1024} MB workers)" if weight.workers_kb else ""
        restarts = f" ({weight.restarts} restarts)" if weight.restarts else ""
        if weight.peak_kb >= 1024:  # one that died at once was never measured
            parts.append(f"{name} {weight.peak_kb // 1024} MB{workers}{restarts}")
    return ", ".join(parts)


def compare(summaries: Sequence[Summary]) -> Table:
    """Runs side by side, a column each."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("", style="bold", no_wrap=True)
    for summary in summaries:
        table.add_column(summary.run.name, overflow="fold")
    for title, cells in _rows(summaries):
        if any(cell not in ("", duration(0)) for cell in cells):
            table.add_row(title, *(Text(cell) for cell in cells))
    return table


def _rows(summaries: Sequence[Summary]) -> list[tuple[str, list[str]]]:
    states = [summary.story.state for summary in summaries]
    bests = [state.plans[state.best].result if state.best is not None else None for state in states]
    scores = [state.score for state in states]
    rows = [
        ("mode", [mode_words(state) for state in states]),
        ("outcome", [summary.outcome for summary in summaries]),
        ("success [95 %]", [percent(score) for score in scores]),
        ("episodes", [f"{score.successes} of {score.episodes}, {score.actions}" if score else "" for score in scores]),
        ("mean return", [f"{score.mean_return:.1f}" if score else "" for score in scores]),
        ("steps: learning", [steps(state.spent.learning_steps) for state in states]),
        ("steps: arenas", [steps(state.spent.arena_steps) if state.spent.arena_steps else "" for state in states]),
        ("steps: trials", [steps(state.spent.trial_steps) for state in states]),
        ("steps: evaluation", [steps(state.spent.evaluation_steps) for state in states]),
        ("plans", [str(len(state.plans)) for state in states]),
        ("wall time", [duration(summary.story.wall_s) for summary in summaries]),
    ]
    for phase in PHASE_NAMES:
        rows.append((f"  {phase}", [duration(summary.story.phases[phase]) for summary in summaries]))
    rows += [
        ("models", [origin(summary) for summary in summaries]),
        ("live tokens", [f"{state.spent.tokens:,}" for state in states]),
        ("cost", [money(state.spent.usd, state.spent.unpriced) for state in states]),
        ("device", [best.device if best else "" for best in bests]),
        ("seed", [str(state.task.seed) if state.submitted else "?" for state in states]),
    ]
    return rows
