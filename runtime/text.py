"""Words and numbers for people: the live view, the summary and `tail` write them alike."""

from __future__ import annotations

from rlgpt.bus.parts import Point, Score

BARS = "▁▂▃▄▅▆▇█"


def printable(text: str) -> str:
    """One line without control characters: models and tracebacks write what a terminal would otherwise obey."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def short(text: str, length: int = 100) -> str:
    line = printable(text)
    return line if len(line) <= length else line[: length - 1] + "…"


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def percent(score: Score | None) -> str:
    """Success with its 95 % interval."""
    if score is None:
        return "no policy"
    return f"{score.rate:.0%} [{score.low:.0%}, {score.high:.0%}]"


def steps(number: int) -> str:
    return f"{number:,}"


def money(usd: float, unpriced: int = 0) -> str:
    known = f"${usd:.4f}" if 0 < usd < 0.1 else f"${usd:.2f}"
    return f"{known} + {unpriced} of unknown price" if unpriced else known


def sparkline(curve: list[Point], width: int = 40) -> str:
    """Success rate over training as a row of bars, 0 at the bottom and 1 at the top."""
    if not curve:
        return ""
    picked = [curve[i * len(curve) // width] for i in range(width)] if len(curve) > width else curve
    return "".join(BARS[min(int(point.success_rate * len(BARS)), len(BARS) - 1)] for point in picked)
