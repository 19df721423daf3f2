"""`rlgpt study`: a matrix of runs that survives interruption, and a table that says what its figures are."""

import csv
from pathlib import Path

import pytest
import yaml
from running import ENDLESS, QUICK, Rlgpt, processes_of, until

from rlgpt.runtime import study, study_table
from rlgpt.runtime.study_table import Row


def settings(*overrides: str) -> dict[str, object]:
    return {key: yaml.safe_load(value) for key, value in (override.split("=") for override in overrides)}


def write(folder: Path, **fields: object) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({"name": "small", "scenarios": ["mountain_car"], **fields}, sort_keys=False))
    return path


def test_study_runs_every_cell_once_and_writes_its_table(rlgpt: Rlgpt):
    path = write(rlgpt.folder, arms={"PPO": settings(*QUICK), "PPO, longer": settings(*QUICK[:1], "trainer.env_steps=2048", *QUICK[2:])})
    status, said = rlgpt("study", str(path), "--jobs", "2")
    assert status == 0, said
    folder = rlgpt.folder / "runs" / "study-small"
    assert "| mountain_car | PPO, longer | 0% [0%, 49%] | 1 | 4 | sampled | 2,048 | 1.0 | 0.0 | none |" in said
    assert (folder / "table.svg").read_text().startswith("<svg")
    with (folder / "table.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["arm"], first["success"], first["env_steps"], first["interval"]) == ("PPO", "0.0", "1024.0", "Wilson, pooled episodes")
    assert second["ended"] == "1"
    again, said = rlgpt("study", str(path))
    assert again == 0
    assert "launched" not in said


def test_interrupted_study_leaves_no_process_and_resumes_its_run(rlgpt: Rlgpt):
    path = write(rlgpt.folder, arms={"PPO": settings(*ENDLESS)})
    cell = study.cells(study.read(path), path.parent, rlgpt.folder / "runs" / "study-small")[0]
    child = rlgpt.start("study", str(path))
    until("the run works", lambda: cell.run() is not None and len(processes_of(cell.run().path)) > 4)
    child.send_signal(2)
    child.communicate(timeout=200)
    assert child.returncode == 130
    until("every process is gone", lambda: processes_of(cell.run().path) == {})
    second = rlgpt.start("study", str(path))
    until("the same run works again", lambda: len(processes_of(cell.run().path)) > 4)
    second.terminate()
    said, _ = second.communicate(timeout=200)
    assert "mountain_car / PPO / seed 0: resumed" in said
    assert [run.name for run in cell.folder.iterdir() if run.is_dir()] == ["mountain_car-1"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"arms": {}}, "arms: Dictionary should have at least 1 item"),
        ({"arms": {"a": {}}, "sceds": [1]}, "sceds: Extra inputs are not permitted"),
        ({"arms": {"a": {"loops.plan": 1}}}, "did you mean 'plans'"),
        ({"arms": {"a b": {}, "A B": {}}}, "would share the folder"),
        ({"arms": {"a": {}}, "scenarios": ["mountain_cra"]}, "did you mean 'mountain_car'"),
    ],
)
def test_faulty_study_is_refused_before_anything_runs(rlgpt: Rlgpt, fields: dict[str, object], words: str):
    status, said = rlgpt("study", str(write(rlgpt.folder, **fields)))
    assert status == 2
    assert words in said
    assert not (rlgpt.folder / "runs").exists()


def test_interval_of_three_seeds_is_over_seeds_and_of_fewer_over_episodes():
    # By hand: mean 0.6, deviation 0.2, t(0.975, 2) = 4.303, half width 4.303 * 0.2 / sqrt(3) = 0.4969.
    low, high, how = study_table.spread([0.4, 0.6, 0.8], 18, 30)
    assert (round(low, 4), round(high, 4), how) == (0.1031, 1.0, "t over seeds")
    low, high, how = study_table.spread([0.5, 0.5], 10, 20)
    assert (round(low, 3), round(high, 3), how) == (0.299, 0.701, "Wilson, pooled episodes")


def test_arm_without_an_ended_run_is_shown_as_such_and_not_as_zero():
    table = [Row("car", "a", 3, 0), Row("car", "b", 3, 2, 0.5, 0.4, 0.6, "Wilson, pooled episodes", 40, "greedy", 10.0, models="recorded")]
    text = study_table.markdown(table)
    assert "| car | a | no run has ended | 0 of 3 |" in text
    assert "| car | b | 50% [40%, 60%] | 2 of 3 | 40 | greedy | 10 | 0.0 | 0.0 | recorded |" in text
    assert study_table.picture(table).count("car: ") == 2


def test_bundled_study_is_valid(tmp_path: Path):
    import rlgpt.scenarios.studies

    (folder,) = rlgpt.scenarios.studies.__path__
    for path in Path(folder).glob("*.yaml"):
        assert study.cells(study.read(path), path.parent, tmp_path)
