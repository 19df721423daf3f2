"""A run read back from its journal: the loops' state as the agents fold it, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from rlgpt.agents.loops import RunState
from rlgpt.bus.envelope import Envelope
from rlgpt.bus.journal import Journal
from rlgpt.bus.messages import (
    AgentJoined,
    ArenaFinished,
    ArenaProgressed,
    ArenaRequested,
    Message,
    PlanFailed,
    PlanProposed,
    PlanReviewed,
    RunFinished,
    SkillDrafted,
    SkillFailed,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TaskDivided,
    TaskSubmitted,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
    UnknownMessage,
)
from rlgpt.runtime.run import RunFolder

LAUNCHER = "launcher"

# The ring is sequential: whatever ends with an event has taken the time since the ring's event before it.
PHASES: dict[type[Message], str] = {
    PlanProposed: "planning",
    PlanFailed: "planning",
    TaskDivided: "planning",
    SkillDrafted: "writing",
    SkillFailed: "writing",
    SkillSettled: "writing",
    TrainingRequested: "writing",
    ArenaRequested: "writing",
    ArenaProgressed: "learning",
    ArenaFinished: "learning",
    SkillTried: "trials",
    TrainingProgressed: "learning",
    TrainingFinished: "learning",
    SkillReviewed: "reviews",
    PlanReviewed: "reviews",
    RunFinished: "planning",
}
PHASE_NAMES = ("planning", "writing", "trials", "learning", "evaluation", "reviews")


@dataclass
class Story:
    """state: of the loops. seq: of the last event. phases: seconds by name, pauses between two launches left out."""

    state: RunState = field(default_factory=RunState)
    seq: int = 0
    phases: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASE_NAMES, 0.0))
    first_plan_at: datetime | None = None
    _last: datetime | None = None

    @property
    def wall_s(self) -> float:
        return sum(self.phases.values())

    def take(self, seq: int, envelope: Envelope) -> Message | None:
        """Apply an event; returns its message, None for a user's own type or one that cannot be read."""
        self.seq = seq
        try:
            message = envelope.message()
        except (UnknownMessage, ValidationError):
            return None
        self._time(message, datetime.fromisoformat(envelope.time) if envelope.time else None)
        self.state.apply(seq, envelope.source, envelope.time, message)
        return message

    def _time(self, message: Message, at: datetime | None) -> None:
        if at is None:
            return
        # A launcher joins when a run begins and when it is resumed: what lies before it is a pause.
        if isinstance(message, TaskSubmitted) or (isinstance(message, AgentJoined) and message.role == LAUNCHER):
            self._last = at
        phase = PHASES.get(type(message))
        if phase is None or self._last is None:
            return
        seconds = max((at - self._last).total_seconds(), 0.0)
        if isinstance(message, TrainingFinished | ArenaFinished):
            evaluated = min(message.evaluate_s, seconds)
            self.phases["evaluation"] += evaluated
            seconds -= evaluated
        self.phases[phase] += seconds
        self._last = at
        if isinstance(message, PlanProposed) and self.first_plan_at is None:
            self.first_plan_at = at


def read(run: RunFolder) -> Story:
    """The story so far, of a running or finished run. Raises JournalFailed for a journal that cannot be read."""
    story = Story()
    if not run.journal.exists():
        return story
    for seq, envelope in Journal.read(run.journal):
        story.take(seq, envelope)
    return story
