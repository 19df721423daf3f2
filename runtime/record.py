"""`rlgpt record`: a scenario that plays a run's conversation with its models again, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from rlgpt.agents.library import Library, LibraryError
from rlgpt.agents.llm import transcript
from rlgpt.agents.llm.providers import RECORDED
from rlgpt.agents.source_check import renamed_function
from rlgpt.bus.errors import Explained
from rlgpt.bus.task import Task
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.scenario import FILE, TRANSCRIPT, load


class CannotRecord(Explained):
    """There is nothing to record, or something is in the way."""


def record(runs: Sequence[RunFolder], to: Path) -> int:
    """Write scenario.yaml and transcript.jsonl into the folder `to`; returns the number of questions. Raises CannotRecord.

    The scenario is the first run's, except that its models are the recording and that no library is used. Further runs add answers, of
    other modes say; where two runs have asked under the same key, the earlier one's answer is taken.
    """
    for file in (to / FILE, to / TRANSCRIPT):
        if file.exists():
            raise CannotRecord(f"{file} exists already; choose another folder, or remove it first")
    answered: dict[str, transcript.Line] = {}
    for run in runs:
        lines = transcript.read_folder(run.transcript)
        if not lines:
            raise CannotRecord(f"{run.name} asked no question, so there is nothing to record (its transcripts: {run.transcript})")
        for line in lines:
            answered.setdefault(line.key, line)
    lines, names = list(answered.values()), ", ".join(run.name for run in runs)
    task = load(str(runs[0].scenario)).task
    lines = [_self_contained(line, task) for line in lines]
    live = sorted({line.model for line in lines})
    fields = task.model_dump(mode="json", exclude_defaults=True)
    fields["llm"] = {"model": RECORDED}
    fields.pop("library", None)  # what it holds is another thing on every machine
    try:
        to.mkdir(parents=True, exist_ok=True)
        number = transcript.record(lines, to / TRANSCRIPT, run=names)
        head = f"# Recorded from {names}: {number} answers by {', '.join(live)}. A live model: --set llm.model=NAME\n"
        (to / FILE).write_text(head + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    except OSError as error:
        raise CannotRecord(f"cannot write to {to}: {error.strerror or error}") from error
    return number


def _self_contained(line: transcript.Line, task: Task) -> transcript.Line:
    """The line; where it takes a skill of the library over, with that skill's source: a recording is played without a library."""
    taken = (line.answer or {}).get("reuse")
    if not line.answer or not taken:
        return line
    try:
        entry = Library.of(task).find(str(taken))
    except LibraryError as error:
        raise CannotRecord(f"the answer to {line.key} takes over a skill of the library that is no longer to be had: {error}") from error
    name = line.key.split("/")[-2]
    answer = {"explanation": line.answer["explanation"], "source": renamed_function(entry.source, entry.about.name, name)}
    return line.model_copy(update={"answer": answer})
