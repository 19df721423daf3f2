"""What can go wrong with environments, skills and workers. Every text names the cause and the next step."""

from __future__ import annotations

from rlgpt.bus.errors import Explained


class EnvironmentUnavailable(Explained):
    """The environment's id is not registered, or something it needs is not installed; the text says which and what to install."""


class StartsInvalid(EnvironmentUnavailable):
    """A start-state file that cannot be used; the text names the file, the state and the cause."""


class EnvironmentUnsupported(Explained):
    """The environment works, but its spaces cannot be used here; the text says which part and why."""


class SkillInvalid(Explained):
    """A skill or an expression that cannot be run at all: syntax, no such function, an import that is not allowed.

    line  of the source the fault lies in, None if it has none
    """

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def lock_words(error: BaseException) -> str:
    """What to do where code failed for want of what the lock denies; "" for any other error."""
    if isinstance(error, PermissionError) or "can't start new thread" in str(error):
        return (
            " (behind the lock no file, socket, thread or process can be opened: do it when the environment is made, or let it be hosted: "
            "environment.host: {})"
        )
    if isinstance(error, ImportError):
        return " (nothing can be imported behind the lock: import it at the top of the environment's module)"
    return ""


class WorkerDied(Explained):
    """A worker ended, was killed at its deadline, or said something no honest worker says."""


class HostLost(EnvironmentUnavailable):
    """The process that holds a hosted environment is gone, does not answer, or said something no honest host says."""


class SandboxUnavailable(Explained):
    """This machine cannot lock workers in; the text says what is missing and what can be done."""
