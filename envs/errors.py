"""What can go wrong with environments, skills and workers. Every text names the cause and the next step."""

from __future__ import annotations


class EnvironmentUnavailable(Exception):
    """The environment's id is not registered, or something it needs is not installed; the text says which and what to install."""


class EnvironmentUnsupported(Exception):
    """The environment works, but its spaces cannot be used here; the text says which part and why."""


class SkillInvalid(Exception):
    """A skill or an expression that cannot be run at all: syntax, no such function, an import that is not allowed.

    line  of the source the fault lies in, None if it has none
    """

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


class WorkerDied(Exception):
    """A worker ended, was killed at its deadline, or said something no honest worker says."""


class SandboxUnavailable(Exception):
    """This machine cannot lock workers in; the text says what is missing and what can be done."""
