"""Pictures of numbers as inline SVG: learning curves with their intervals, and shares as bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlgpt.agents.scoring import wilson
from rlgpt.bus.parts import Point
from rlgpt.runtime.html.element import Markup, el
from rlgpt.runtime.text import steps

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 34
POINTS = 160
"""Points of a curve that are drawn; more are pooled, episodes and all."""


def curve(curves: Mapping[int, Sequence[Point]], budget: int, target: float) -> Markup:
    """Success rate of the training episodes over environment steps, one line a seed, with the 95 % Wilson interval of every point.

    Points in which no episode ended are left out.
    """
    drawn = {seed: pooled(points) for seed, points in curves.items()}
    most = max([budget, *(point.env_steps for points in drawn.values() for point in points)], default=1)
    parts = [*_axes(most), _across(target, "target", f"target {target:.0%}")]
    for number, (seed, points) in enumerate(drawn.items()):
        parts += _one(points, most, f"line s{number % 6}", f"seed {seed}" if len(drawn) > 1 else "")
    label = "Success rate during learning over environment steps"
    return el("svg", parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label, class_="chart")


def pooled(points: Sequence[Point]) -> list[Point]:
    """At most POINTS points, each over the episodes of its neighbours; those without an ended episode are left out."""
    with_episodes = [point for point in points if point.episodes]
    size = math.ceil(len(with_episodes) / POINTS) or 1
    groups = [with_episodes[i : i + size] for i in range(0, len(with_episodes), size)]
    return [_pool(group) for group in groups]


def _pool(group: Sequence[Point]) -> Point:
    episodes = sum(point.episodes for point in group)
    rate = sum(point.success_rate * point.episodes for point in group) / episodes
    gained = sum(point.mean_return * point.episodes for point in group) / episodes
    return group[-1].model_copy(update={"episodes": episodes, "success_rate": rate, "mean_return": gained})


def bars(shares: Mapping[str, float]) -> Markup:
    """Shares of a whole, largest first."""
    rows = [
        el(
            "div",
            el("span", name, class_="name"),
            el("span", el("span", "", class_="fill", style=f"width:{100 * share:.1f}%"), class_="track"),
            el("span", f"{share:.1%}", class_="value"),
            class_="bar",
        )
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    return el("div", rows, class_="bars")


def _x(value: float, most: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * value / most, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)


def _axes(most: int) -> list[Markup]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_across(share, "grid", ""))
        parts.append(el("text", f"{share:.0%}", x=LEFT - 6, y=_y(share) + 4, text_anchor="end"))
    for tick in ticks(most):
        parts.append(el("text", steps(tick), x=_x(tick, most), y=HEIGHT - 14, text_anchor="middle" if tick < most else "end"))
    parts.append(el("text", "environment steps", x=WIDTH - RIGHT, y=HEIGHT - 1, text_anchor="end", class_="unit"))
    return parts


def ticks(most: int) -> list[int]:
    """Three to six round numbers from 0 up to `most`."""
    size = 10 ** math.floor(math.log10(max(most, 1)))
    step = next(step for step in (size // 5 or 1, size // 2 or 1, size, 2 * size) if most / step <= 5)
    return list(range(0, most + 1, step))


def _across(share: float, kind: str, title: str) -> Markup:
    tip = el("title", title) if title else None
    return el("line", tip, x1=LEFT, x2=WIDTH - RIGHT, y1=_y(share), y2=_y(share), class_=kind)


def _one(points: Sequence[Point], most: int, style: str, name: str) -> list[Markup]:
    if not points:
        return []
    at = [(_x(point.env_steps, most), point, wilson(round(point.success_rate * point.episodes), point.episodes)) for point in points]
    band = [f"{x},{_y(high)}" for x, _, (_, high) in at] + [f"{x},{_y(low)}" for x, _, (low, _) in reversed(at)]
    parts = [el("polygon", points=" ".join(band), class_=f"band {style}")] if len(at) > 1 else []
    parts.append(el("polyline", points=" ".join(f"{x},{_y(point.success_rate)}" for x, point, _ in at), class_=style))
    for x, point, (low, high) in at:
        words = f"{steps(point.env_steps)} steps: {point.success_rate:.0%} [{low:.0%}, {high:.0%}] of {point.episodes} episodes"
        parts.append(
            el("circle", el("title", f"{name + ', ' if name else ''}{words}"), cx=x, cy=_y(point.success_rate), r=2.5, class_=style)
        )
    return parts
