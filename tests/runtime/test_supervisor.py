"""When a process counts as dead, hung or hopeless: the supervisor's rules, with processes and a clock made of paper."""

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlgpt.runtime import supervisor as module
from rlgpt.runtime.child import Spec
from rlgpt.runtime.process import CANNOT_START
from rlgpt.runtime.run import RunFolder
from rlgpt.runtime.supervisor import GaveUp, Supervisor


class Stage:
    """A supervisor of one trainer, whose starts are counted; `status` ends the process that runs."""

    def __init__(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch, restarts: int) -> None:
        self.now = 1000.0
        self.starts: list[float] = []
        self.status: int | None = None
        self.killed = 0
        monkeypatch.setattr(module, "Child", self.child)
        self.supervisor = Supervisor(run, [Spec("trainer-1", "trainer")], restarts=restarts, clock=lambda: self.now)

    def child(self, spec, run, redactor) -> SimpleNamespace:
        self.starts.append(self.now)
        self.status = None
        lines = deque(["Traceback ...", "RuntimeError: no memory left"])
        return SimpleNamespace(
            spec=spec, pid=10**9 + len(self.starts), exited=lambda: self.status, last_lines=lines, process=SimpleNamespace(kill=self.kill)
        )

    def kill(self) -> None:
        self.killed += 1
        self.status = -9

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.supervisor.tick()

    def join(self) -> None:
        self.supervisor.joined("trainer-1", 10**9 + len(self.starts))

    @property
    def state(self) -> str:
        return self.supervisor.health["trainer-1"].state


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(RunFolder.create(tmp_path, "r"), monkeypatch, restarts=3)


def test_dead_process_is_started_again_after_ever_longer_waits(stage: Stage):
    stage.tick()
    waits = []
    for _ in range(3):
        stage.status = 1
        stage.tick()
        died = stage.now
        while len(stage.starts) == len(waits) + 1:
            stage.tick(0.05)
        waits.append(round(stage.starts[-1] - died, 1))
    assert waits == [0.5, 1.0, 2.0]


def test_it_gives_up_after_the_allowed_restarts_and_says_what_the_process_said(stage: Stage):
    stage.tick()
    for _ in range(3):
        stage.status = 1
        stage.tick()
        stage.tick(20)
    stage.status = 1
    with pytest.raises(GaveUp, match=r"(?s)trainer-1 ended with status 1, after 3 restarts.*RuntimeError: no memory left.*rlgpt tail"):
        stage.tick()
    assert len(stage.starts) == 4


def test_process_that_cannot_start_is_not_started_again(stage: Stage):
    stage.tick()
    stage.status = CANNOT_START
    with pytest.raises(GaveUp, match="trainer-1 cannot start, it would fail again"):
        stage.tick()


def test_process_lost_to_the_bus_is_killed_and_started_again_unless_it_comes_back(stage: Stage):
    stage.tick()
    stage.join()
    stage.supervisor.left("trainer-1", "lost")
    assert stage.state == "lost"
    stage.tick(module.LOST_S - 1)
    stage.join()
    stage.tick(module.LOST_S)
    assert (stage.killed, stage.state) == (0, "up")

    stage.supervisor.left("trainer-1", "lost")
    stage.tick(module.LOST_S + 1)
    assert stage.killed == 1
    stage.tick()
    stage.tick(1)
    assert len(stage.starts) == 2


def test_process_that_never_gets_on_the_bus_is_killed(stage: Stage):
    stage.tick()
    stage.tick(module.JOIN_S + 1)
    assert stage.killed == 1


def test_presence_of_an_earlier_launch_says_nothing_about_this_process(stage: Stage):
    stage.tick()
    stage.supervisor.joined("trainer-1", 4711)
    assert stage.state == "starting"
    stage.supervisor.left("trainer-1", "lost")
    assert stage.state == "starting"
    stage.supervisor.joined("somebody-else", 1)


def test_goodbye_is_no_loss(stage: Stage):
    stage.tick()
    stage.join()
    stage.supervisor.left("trainer-1", "bye")
    stage.tick(module.LOST_S + 1)
    assert stage.killed == 0


def test_deaths_far_apart_are_not_held_against_a_process(stage: Stage):
    for _ in range(10):
        stage.tick(20.0)
        stage.join()
        stage.now += module.STEADY_S + 1
        stage.status = 1
        stage.tick()
    assert stage.state == "down"
    assert stage.supervisor.health["trainer-1"].restarts == 10
