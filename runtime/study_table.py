"""What a study came to: a row an arm, as Markdown, CSV and a picture.

Success is the mean over training seeds, each on its own held-out episodes. Its 95 % interval is Student's t over the seeds where there are
three or more, since seeds differ more than episodes do; with fewer it is Wilson's over the pooled episodes, and the row says so.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rlgpt.agents.llm.providers import HAND_WRITTEN
from rlgpt.agents.scoring import wilson
from rlgpt.bus.messages import ModelAsked
from rlgpt.runtime.html.element import Markup, el
from rlgpt.runtime.report import Summary
from rlgpt.runtime.study import Cell, groups

T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Quantile 0.975 of Student's t for 1, 2, ... degrees of freedom; beyond, 1.96 is within 15 %."""


@dataclass(frozen=True)
class Row:
    """One arm of one scenario. Figures other than the success rate are means over the seeds; None where no run has ended.

    interval  how low and high were had: "t over seeds" or "Wilson, pooled episodes"
    env_steps of learning and trials; origin: live, recorded (offline), hand-written, mixed or none
    """

    scenario: str
    arm: str
    seeds: int
    ended: int
    success: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    episodes: int = 0
    actions: str = ""
    env_steps: float = 0.0
    plans: float = 0.0
    questions: float = 0.0
    tokens: float = 0.0
    usd: float = 0.0
    wall_s: float = 0.0
    models: str = ""


def rows(made: Sequence[Cell]) -> list[Row]:
    """A row for every arm of every scenario, in the study's order."""
    return [_row(Path(scenario).stem, arm, cells) for scenario, arm, cells in groups(made)]


def _row(scenario: str, arm: str, cells: Sequence[Cell]) -> Row:
    ended = [summary for cell in cells if (summary := cell.summary())]
    if not ended:
        return Row(scenario, arm, len(cells), 0)
    finished = [summary.story.state.finished for summary in ended]
    scores = [one.score if one else None for one in finished]
    # A run without a policy has no success; to leave it out would flatter the arm.
    rates = [score.rate if score else 0.0 for score in scores]
    episodes = sum(score.episodes for score in scores if score)
    low, high, how = spread(rates, sum(score.successes for score in scores if score), episodes)
    spent = [summary.story.state.spent for summary in ended]
    n = len(ended)
    return Row(
        scenario,
        arm,
        len(cells),
        n,
        sum(rates) / n,
        low,
        high,
        how,
        episodes,
        ", ".join(sorted({score.actions for score in scores if score})),
        sum(one.env_steps for one in spent) / n,
        sum(len(summary.story.state.plans) for summary in ended) / n,
        sum(len(one.questions) for one in spent) / n,
        sum(one.tokens for one in spent) / n,
        sum(one.usd for one in spent) / n,
        sum(summary.story.wall_s for summary in ended) / n,
        _models(ended),
    )


def spread(rates: Sequence[float], successes: int, episodes: int) -> tuple[float, float, str]:
    """The 95 % interval of a mean success rate, and how it was had."""
    n = len(rates)
    if n < 3:
        low, high = wilson(successes, episodes) if episodes else (0.0, 1.0)
        return low, high, "Wilson, pooled episodes"
    mean = sum(rates) / n
    deviation = math.sqrt(sum((rate - mean) ** 2 for rate in rates) / (n - 1))
    half = (T_95[n - 2] if n - 2 < len(T_95) else 1.96) * deviation / math.sqrt(n)
    return max(0.0, mean - half), min(1.0, mean + half), "t over seeds"


def _origin(question: ModelAsked) -> str:
    if question.model == HAND_WRITTEN:
        return HAND_WRITTEN
    return "recorded" if question.origin == "recorded" else "live"


def _models(ended: Sequence[Summary]) -> str:
    asked = [question for summary in ended for question in summary.story.state.spent.questions.values()]
    origins = {_origin(question) for question in asked}
    return "mixed" if len(origins) > 1 else next(iter(origins), "none")


def markdown(table: Sequence[Row]) -> str:
    """The table as people read it."""
    head = "| scenario | arm | success, 95 % interval | seeds | episodes | actions | env steps | plans | questions | models |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for row in table:
        of = f"{row.ended}" if row.ended == row.seeds else f"{row.ended} of {row.seeds}"
        if row.success is None or row.low is None or row.high is None:
            lines.append(f"| {row.scenario} | {row.arm} | no run has ended | {of} | | | | | | |")
            continue
        success = f"{row.success:.0%} [{row.low:.0%}, {row.high:.0%}]"
        figures = f"{row.env_steps:,.0f} | {row.plans:.1f} | {row.questions:.1f} | {row.models}"
        lines.append(f"| {row.scenario} | {row.arm} | {success} | {of} | {row.episodes} | {row.actions} | {figures} |")
    notes = sorted({row.interval for row in table if row.interval})
    return "\n".join(lines) + "\n\nIntervals: " + ("; ".join(notes) or "none") + ". `recorded`: offline answers, not a live model.\n"


def comma_separated(table: Sequence[Row]) -> str:
    """Every figure, as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([field.name for field in fields(Row)])
    writer.writerows([getattr(row, field.name) for field in fields(Row)] for row in table)
    return out.getvalue()


def picture(table: Sequence[Row]) -> str:
    """Success by arm as an SVG file, one bar an arm with its interval."""
    left, width, step = 300, 720, 26
    height = step * len(table) + 30
    parts: list[Markup] = [el("rect", width=width, height=height, fill="#fff")]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + (width - left - 30) * share
        parts.append(el("line", x1=x, x2=x, y1=4, y2=height - 22, stroke="#dfe3e8"))
        parts.append(el("text", f"{share:.0%}", x=x, y=height - 6, text_anchor="middle"))
    for number, row in enumerate(table):
        y = 4 + step * number
        parts.append(el("text", f"{row.scenario}: {row.arm}", x=left - 8, y=y + 16, text_anchor="end"))
        if row.success is None or row.low is None or row.high is None:
            continue
        unit = width - left - 30
        parts.append(el("rect", x=left, y=y + 4, width=round(unit * row.success, 1), height=step - 9, fill="#7fb0ff"))
        parts.append(
            el("line", x1=left + unit * row.low, x2=left + unit * row.high, y1=y + 12, y2=y + 12, stroke="#1d2126", stroke_width=1.5)
        )
    style = "font: 12px system-ui, sans-serif"
    return el("svg", parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", style=style) + "\n"
