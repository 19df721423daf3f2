"""`rlgpt record`: a scenario that plays a run's conversation with its models again, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from rlgpt.agents.llm import transcript
from rlgpt.agents.llm.providers import RECORDED
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.scenario import FILE, TRANSCRIPT, load


class CannotRecord(Exception):
    """There is nothing to record, or something is in the way."""


def record(runs: Sequence[RunFolder], to: Path) -> int:
    """Write scenario.yaml and transcript.jsonl into the folder `to`; returns the number of questions. Raises CannotRecord.

    The scenario is the first run's, except that its models are the recording. Further runs add answers, of other modes say; where two
    runs have asked under the same key, the earlier one's answer is taken.
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
    live = sorted({line.model for line in lines})
    fields = task.model_dump(mode="json", exclude_defaults=True)
    fields["llm"] = {"model": RECORDED}
    try:
        to.mkdir(parents=True, exist_ok=True)
        number = transcript.record(lines, to / TRANSCRIPT, run=names)
        head = f"# Recorded from {names}: {number} answers by {', '.join(live)}. A live model: --set llm.model=NAME\n"
        (to / FILE).write_text(head + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    except OSError as error:
        raise CannotRecord(f"cannot write to {to}: {error.strerror or error}") from error
    return number
