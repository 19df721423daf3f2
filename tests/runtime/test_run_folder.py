"""Run folders: names, `latest`, privacy, the socket's length, and who may run a run."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlgpt.runtime import run as run_module
from rlgpt.runtime.run import RunFolder, RunFolderError, listing


def made(runs: Path, name: str, age: int = 0) -> RunFolder:
    run = RunFolder.create(runs, name)
    run.scenario.write_text("name: x\n")
    os.utime(run.scenario, (10**9 - age, 10**9 - age))
    return run


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private folder for temporary things whose own path is short, which `tmp_path` need not be."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(run_module.tempfile, "gettempdir", lambda: folder)
        yield Path(folder)


def test_runs_of_a_name_are_numbered_upwards(tmp_path: Path):
    assert [RunFolder.create(tmp_path / "runs", "car").name for _ in range(3)] == ["car-1", "car-2", "car-3"]


def test_number_of_a_removed_run_is_not_used_again_while_later_ones_exist(tmp_path: Path):
    first, _ = RunFolder.create(tmp_path, "car"), RunFolder.create(tmp_path, "car")
    for path in (*first.path.iterdir(), first.path):
        path.rmdir()
    assert RunFolder.create(tmp_path, "car").name == "car-3"


def test_name_that_begins_alike_does_not_count(tmp_path: Path):
    RunFolder.create(tmp_path, "car_two")
    (tmp_path / "car-x").mkdir()
    assert RunFolder.create(tmp_path, "car").name == "car-1"


def test_latest_is_the_newest_run_and_names_and_paths_find_theirs(tmp_path: Path):
    old, new = made(tmp_path, "b", age=60), made(tmp_path, "a")
    assert RunFolder.find(tmp_path, "latest") == new
    assert RunFolder.find(tmp_path, old.name) == RunFolder.find(Path("elsewhere"), str(old.path)) == old
    assert listing(tmp_path) == [new, old]


def test_unknown_run_is_answered_with_those_that_exist(tmp_path: Path):
    made(tmp_path, "car")
    with pytest.raises(RunFolderError, match=r"no run 'bus-9'.*there: car-1"):
        RunFolder.find(tmp_path, "bus-9")
    with pytest.raises(RunFolderError, match="no runs in"):
        RunFolder.find(tmp_path / "nothing", "latest")


def test_folder_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot write a run folder in .*file/runs.*--runs DIR"):
        RunFolder.create(tmp_path / "file" / "runs", "car")


def test_run_folder_and_address_are_the_owners_alone(tmp_path: Path):
    run = made(tmp_path, "car")
    run.write_address()
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(run.bus.stat().st_mode) == 0o600


def test_address_is_a_socket_in_the_run_folder(tmp_path: Path):
    run = made(tmp_path, "c")
    assert run.write_address() == run.address == f"ipc://{run.path}/bus.sock"


def test_socket_of_a_long_path_lies_in_a_short_private_folder(short: Path):
    deep = short / ("d" * 90)
    address = made(deep, "car").write_address()
    socket = Path(address.removeprefix("ipc://"))
    assert len(str(socket)) <= run_module.MAX_SOCKET_PATH
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert made(deep, "car").write_address() != address


def test_short_folder_that_others_can_enter_is_not_used(short: Path):
    (short / f"rlgpt-{os.getuid()}").mkdir(mode=0o777)
    (short / f"rlgpt-{os.getuid()}").chmod(0o777)
    with pytest.raises(RunFolderError, match="private folder"):
        made(short / ("d" * 90), "car").write_address()


def test_run_without_an_address_says_so(tmp_path: Path):
    with pytest.raises(RunFolderError, match="was the run ever launched"):
        _ = made(tmp_path, "car").address


def test_run_is_held_by_one_launcher_at_a_time_and_let_go_when_it_is_killed(tmp_path: Path):
    run = made(tmp_path, "car")
    code = f"""
from pathlib import Path
from rlgpt.runtime.run import RunFolder
with RunFolder(Path({str(run.path)!r})).locked():
    print("held", flush=True)
    input()
"""
    assert not run.running
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert run.running
        with pytest.raises(RunFolderError, match=f"running already .launcher: process {holder.pid}"), run.locked():
            pass
        holder.kill()
        holder.wait()
    assert not run.running
    with run.locked():
        assert run.running
