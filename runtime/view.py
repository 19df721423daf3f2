"""Watching a run: a live picture at a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from rlgpt.agents import arenas
from rlgpt.agents.progress import Attempt, Inner, Learnt, PlanState
from rlgpt.bus.messages import Message
from rlgpt.runtime.bill import budget_words, role_words
from rlgpt.runtime.glimpses import Window
from rlgpt.runtime.narrate import narrate, point_words, trial_words
from rlgpt.runtime.parts import mode_words, seed_words, stage_lines
from rlgpt.runtime.story import Story
from rlgpt.runtime.text import duration, money, percent, short, sparkline, steps

REFRESH_S = 0.25
ROOM, OTHERS = 44, 10  # columns that plans need beside a picture, and rows that the rest needs


@dataclass(frozen=True)
class ProcessLine:
    """One process of the picture. `state`: starting, up, lost, down, or attached."""

    name: str
    state: str
    restarts: int = 0
    peak_kb: int = 0


class View(Protocol):
    """What a launcher shows a run in. `event` for each event, `refresh` as often as it likes."""

    def note(self, words: str) -> None: ...
    def event(self, message: Message, story: Story) -> None: ...
    def refresh(self, story: Story, processes: Mapping[str, ProcessLine]) -> None: ...
    def close(self) -> None: ...


class PlainView:
    """Line by line, for pipes, files and CI."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()

    def note(self, words: str) -> None:
        self.console.print(Text(f"{time.monotonic() - self.began:7.1f} s  {words}"), soft_wrap=True)

    def event(self, message: Message, story: Story) -> None:
        for line in narrate(message, story.state):
            self.note(line)

    def refresh(self, story: Story, processes: Mapping[str, ProcessLine]) -> None:
        """Lines say it all."""

    def close(self) -> None:
        """Nothing is held open."""


class LiveView:
    """A picture that is redrawn: plans with their attempts and verdicts, the learning curve, processes, cost."""

    def __init__(self, console: Console, glimpses: Path | None = None) -> None:
        """`glimpses`: the folder with what the environments look like, if that is to be shown."""
        self.console = console
        self.window = Window(glimpses) if glimpses else None
        self.began = self.drawn = time.monotonic()
        self.notes: list[str] = []
        self.live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")
        self.live.start()
        self.picture: RenderableType = Text("")

    def note(self, words: str) -> None:
        self.notes = [*self.notes[-2:], words]

    def event(self, message: Message, story: Story) -> None:
        """The picture is drawn from the state; an event alone adds nothing."""

    def refresh(self, story: Story, processes: Mapping[str, ProcessLine]) -> None:
        notes = [Text(f"· {short(words, 160)}", style="dim") for words in self.notes]
        self.picture = Group(self._beside(plan_tree(story)), *notes, _processes(processes), _bill(story, time.monotonic() - self.began))
        if time.monotonic() - self.drawn >= REFRESH_S:
            self.drawn = time.monotonic()
            self.live.update(self.picture, refresh=True)

    def _beside(self, tree: RenderableType) -> RenderableType:
        """The tree, and beside it what the environment looks like, where there is room."""
        width, height = self.console.size
        seen = self.window.look(width - ROOM, height - OTHERS) if self.window and not self.console.no_color else None
        if seen is None:
            return tree
        both = Table.grid(expand=True, padding=(0, 1))
        both.add_column(ratio=1)
        both.add_column(width=seen.width + 4)
        both.add_row(tree, Panel(seen.drawn, title=seen.title, subtitle=seen.process, border_style="dim", expand=False))
        return both

    def close(self) -> None:
        """The last picture stays."""
        self.live.update(self.picture, refresh=True)
        self.live.stop()


def plan_tree(story: Story) -> RenderableType:
    """Every plan; the last one with its sub-actions, attempts, learning and verdicts, the earlier ones in a line."""
    state = story.state
    if state.submitted is None:
        return Text("starting …", style="dim")
    tree = Tree(Text.assemble((state.task.name, "bold"), f"  {short(state.task.goal, 120)}  ", (mode_words(state), "cyan")))
    last = max(state.plans, default=0)
    stages = {number: tree.add(Text(short(line, 160), style="bold cyan")) for number, line in enumerate(stage_lines(state), start=1)}
    for number, plan in state.plans.items():
        branch = stages.get(plan.stage, tree).add(_plan_line(plan))
        if number == last:
            for inner in plan.inner.values():
                _sub_action(branch, inner)
            _learning(branch, plan)
    if state.finished:
        tree.add(Text(f"{state.finished.outcome.replace('_', ' ')}: {short(state.finished.reason, 160)}", style="bold"))
    elif not state.plans:
        waits = "the task is being cut into stages …" if state.divided and not state.sub_tasks else "the slow agent plans …"
        tree.add(Text(waits, style="dim"))
    return tree


def _plan_line(plan: PlanState) -> Text:
    line = Text(f"plan {plan.number}", style="bold")
    if plan.failure:
        line.append(f"  {short(plan.failure, 140)}", style="red")
    elif plan.result and plan.result.score:
        line.append(f"  success {percent(plan.result.score)}", style="green")
    elif plan.proposal:
        line.append(f"  {short(plan.proposal.rationale, 140)}", style="not bold dim")
    return line


def _sub_action(branch: Tree, inner: Inner) -> None:
    settled = inner.settled
    mark, style = ("✓", "green") if settled and settled.accepted else ("→ rl", "yellow") if settled else ("…", "dim")
    if inner.spec.mode == "rl" and not (settled and settled.accepted) and not inner.learnt:
        mark, style = "·", "dim"
    line = Text.assemble(f"[{inner.spec.mode}] ", (inner.spec.name, "cyan"), f"  {short(inner.spec.purpose, 90)}  ", (mark, style))
    leaf = branch.add(line)
    for attempt in inner.attempts:
        leaf.add(_attempt(attempt))
    if inner.learnt:
        leaf.add(_arena(inner.learnt))


def _arena(learnt: Learnt) -> Text:
    """The learning of a sub-action by itself."""
    point = learnt.curve[-1] if learnt.curve else None
    done = f"  {steps(point.env_steps if point else 0)} of {steps(learnt.request.arena.env_steps)} steps"
    line = Text.assemble("arena: ", (sparkline(learnt.curve), "magenta"), done)
    result = learnt.result
    if result and result.contest:
        line.append(f"  {short(arenas.outcome(result.contest), 200)}", style="green" if result.contest.won else "yellow")
    elif result or learnt.failure:
        line.append(f"  {short(result.failure if result else learnt.failure, 140)}", style="red")
    elif point:
        line.append(f"  {point_words(point)}", style="dim")
    return line


def _attempt(attempt: Attempt) -> Text:
    line = Text(f"attempt {attempt.number}: ")
    if attempt.failure:
        return line.append(short(attempt.failure, 140), style="red")
    if attempt.trial is None:
        return line.append("being tried …" if attempt.draft else "being written …", style="dim")
    line.append(short(trial_words(attempt.trial), 160), style="green" if attempt.trial.success else "red")
    if attempt.review:
        line.append(f"  {attempt.review.verdict}: {short(attempt.review.why, 120)}", style="italic")
    return line


def _learning(branch: Tree, plan: PlanState) -> None:
    if plan.training is None:
        return
    if plan.training.controller:
        leaf = branch.add(Text(f"{plan.training.controller} plays"))
    else:
        budget, point = plan.training.learner.env_steps, plan.curve[-1] if plan.curve else None
        done = point.env_steps if point else 0
        leaf = branch.add(Text.assemble("learning  ", (sparkline(plan.curve), "magenta"), f"  {steps(done)} of {steps(budget)} steps"))
        if point:
            used = ", ".join(f"{name} {share:.0%}" for name, share in sorted(point.usage.items(), key=lambda item: -item[1])[:5])
            leaf.add(Text(f"{point_words(point)}{'; ' if used else ''}{used}", style="dim"))
        if plan.resumed:
            leaf.add(Text(f"continued from a checkpoint {plan.resumed} time{'s' * (plan.resumed != 1)}", style="dim"))
    if seeds := seed_words(plan):
        branch.add(Text(short(seeds, 200), style="dim"))
    if plan.result:
        bad = plan.result.failure if plan.result.score is None else ""
        words = f"no policy: {short(bad, 140)}" if bad else f"success {percent(plan.result.score)} on held-out seeds"
        branch.add(Text(words, style="red" if bad else "bold green"))
    if plan.review:
        branch.add(Text(f"review: {short(plan.review.why, 160)}", style="italic"))


def _processes(processes: Mapping[str, ProcessLine]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    styles = {"up": "green", "attached": "green", "starting": "dim", "lost": "yellow", "down": "red"}
    cells = []
    for line in processes.values():
        memory = f" {line.peak_kb // 1024} MB" if line.peak_kb else ""
        restarts = f" ({line.restarts} restarts)" if line.restarts else ""
        cells.append(Text.assemble(f"{line.name} ", (f"{line.state}{memory}{restarts}", styles.get(line.state, ""))))
    for row in range(0, len(cells), 4):
        table.add_row(*cells[row : row + 4])
    return Panel(table, title="processes", title_align="left", border_style="dim", expand=False)


def _bill(story: Story, seconds: float) -> Text:
    spent = story.state.spent
    asked = f"{len(spent.questions)} questions ({len(spent.live)} live), {spent.tokens:,} tokens, {money(spent.usd, spent.unpriced)}"
    under_way = sum(plan.under_way for plan in story.state.plans.values())
    used = f"{steps(spent.trial_steps)} trial + {steps(spent.learning_steps + under_way)} learning steps"
    if in_arenas := spent.arena_steps + sum(plan.arena_under_way for plan in story.state.plans.values()):
        used += f" + {steps(in_arenas)} in arenas"
    lines = [f"{duration(seconds)} · {used} · {asked}"]
    if limits := budget_words(story):
        lines.append(f"budgets: {limits}")
    if roles := role_words(spent):
        lines.append(f"of it {roles}")
    return Text("\n".join(lines), style="dim")
