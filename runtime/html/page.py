"""The whole report. It carries its style, pictures and films; a content security policy forbids it everything else."""

from __future__ import annotations

import importlib.resources
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from rlgpt.agents.llm import transcript
from rlgpt.agents.requests import question_prefix
from rlgpt.runtime.html import sections
from rlgpt.runtime.html.element import Markup, el, join
from rlgpt.runtime.report import Summary, origin
from rlgpt.runtime.tail import Filter, history, readable

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
MAX_LINES = 400
PACKAGES = ("rlgpt", "torch", "stable-baselines3", "gymnasium", "numpy", "autogen", "pyzmq", "msgpack")


def page(summary: Summary) -> str:
    """The report of a run as one HTML document."""
    run, state = summary.run, summary.story.state
    told = sections.Told({line.key: line for line in transcript.read_folder(run.transcript)})
    body: list[Markup] = [el("header", sections.outcome(summary))]
    films = sections.films(run.path / "videos")
    if films:
        body.append(el("section", el("h2", "Episodes"), films))
    if state.submitted is not None:
        target = state.task.evaluation.target
        best = set(sections.best_plans(state))
        body += [sections.plan(plan, plan.number in best, question_prefix(state.task), target, told) for plan in state.plans.values()]
        body.append(el("section", el("h2", "Cost by role"), sections.cost(state.spent.questions.values())))
    body.append(el("section", el("h2", "Failures and restarts"), _faults(summary)))
    body.append(el("section", el("h2", "How to repeat it"), *_reproduce(summary)))
    style = importlib.resources.files("rlgpt.runtime.html").joinpath("page.css").read_text(encoding="utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{run.name}: {summary.outcome}"),
        el("link", rel="icon", href="data:,"),
        el("style", Markup(style)),
    )
    return "<!doctype html>\n" + el("html", head, el("body", el("main", body)), lang="en") + "\n"


def _faults(summary: Summary) -> Markup:
    """Warnings and worse from the logs of all processes, and which were started again."""
    restarts = [f"{name}: started again {weight.restarts} times" for name, weight in summary.weights.items() if weight.restarts]
    wanted = Filter(level="warning")
    lines: list[dict[str, Any]] = [fields for _, _, fields in history(summary.run) if wanted.passes(fields)]
    parts = [el("ul", [el("li", words) for words in restarts])] if restarts else []
    if lines:
        left_out = f"{len(lines) - MAX_LINES} earlier lines are left out\n" if len(lines) > MAX_LINES else ""
        parts.append(el("pre", left_out + "\n".join(readable(fields) for fields in lines[-MAX_LINES:])))
    return join(*parts) if parts else el("p", "None: no process was started again, and no log has a warning.")


def _reproduce(summary: Summary) -> Sequence[Markup]:
    """The scenario as resolved, the versions here, and the command."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} is not installed")
    scenario = summary.run.scenario.read_text(encoding="utf-8") if summary.run.scenario.is_file() else ""
    return (
        el("p", "Save the scenario below as ", el("code", "scenario.yaml"), ", then:"),
        el("pre", el("code", "rlgpt launch scenario.yaml")),
        el("p", f"Models: {origin(summary)}. Same scenario, seed and answers give the same plans, code and, on a CPU, learning curve."),
        el("details", el("summary", "The scenario as resolved"), el("pre", el("code", scenario))),
        el("p", f"Page made with Python {platform.python_version()}, {', '.join(versions)}.", class_="note"),
    )
