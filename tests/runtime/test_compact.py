"""`rlgpt compact`: a finished run's journal is made small and stays readable; any other run's is refused."""

from pathlib import Path

import pytest
from running import Rlgpt
from told_run import LOG

from rlgpt.bus.codec import encode
from rlgpt.bus.envelope import seal
from rlgpt.bus.ids import Run
from rlgpt.bus.journal import Changes, Journal
from rlgpt.runtime.run import RunFolder


@pytest.fixture
def rlgpt(tmp_path: Path):
    rlgpt = Rlgpt(tmp_path)
    yield rlgpt
    rlgpt.end()


def run_of(folder: Path, upto: int = len(LOG)) -> RunFolder:
    """A run folder with the first events of the told run, each journalled by itself, as quiet runs do."""
    run = RunFolder.create(folder / "runs", "car")
    run.scenario.write_text("name: car\n")
    journal = Journal(run.journal)
    for seq, (_, source, message) in enumerate(LOG[:upto], start=1):
        envelope = seal(message, id=f"{source}-{seq}", source=source)
        journal.commit(Changes(events=[(seq, envelope.topic, encode(envelope))], ids=[(Run(f"{source}-", seq, 1), seq)]))
    journal.close()
    return run


def test_finished_run_is_compacted_and_told_as_before(rlgpt, tmp_path):
    run = run_of(tmp_path)
    events, told = list(Journal.read(run.journal)), rlgpt("tail", run.name)
    status, said = rlgpt("compact", run.name)
    assert (status, "bytes before" in said) == (0, True), said
    before, after = [int(word.replace(",", "")) for word in said.split() if word.replace(",", "").isdigit()]
    assert after == run.journal.stat().st_size <= before
    assert list(Journal.read(run.journal)) == events
    assert rlgpt("tail", run.name) == told


def test_run_that_has_not_finished_is_refused_with_what_continues_it(rlgpt, tmp_path):
    run = run_of(tmp_path, len(LOG) - 1)
    size = run.journal.stat().st_size
    status, said = rlgpt("compact", run.name)
    assert (status, f"rlgpt resume {run.name}" in said) == (2, True), said
    assert run.journal.stat().st_size == size


def test_running_run_is_refused(rlgpt, tmp_path):
    run = run_of(tmp_path)
    with run.locked():
        status, said = rlgpt("compact", run.name)
    assert (status, "is running" in said) == (2, True), said
