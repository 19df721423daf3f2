"""Whole runs under real faults: whatever is killed or frozen, the run ends as an undisturbed one does (counts: `pytest -s`)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from running import Rlgpt, processes_of, published, sets, until

from rlgpt.agents import agent
from rlgpt.agents.llm.transcript import read_folder
from rlgpt.bus.envelope import Envelope, consumer_of
from rlgpt.bus.journal import Journal
from rlgpt.bus.messages import (
    ModelAsked,
    PlanProposed,
    PlanReviewed,
    RunFinished,
    SkillDrafted,
    SkillReviewed,
    SkillSettled,
    SkillTried,
    TrainingFinished,
    TrainingProgressed,
    TrainingRequested,
)
from rlgpt.runtime import supervisor
from rlgpt.runtime.run import RunFolder

ROLES = ("broker", "slow", "fast", "critic", "rollout", "trainer")
RING = (PlanProposed, SkillDrafted, SkillTried, SkillReviewed, SkillSettled, TrainingRequested, TrainingFinished, PlanReviewed, RunFinished)
TIMES = {"learn_s", "evaluate_s", "steps_per_s"}
SMALL = sets(
    "trainer.env_steps=60000",
    "trainer.rollout=8",
    "trainer.batch_size=16",
    "trainer.checkpoint_every=512",
    "evaluation.episodes=20",
    "processes.restarts=50",
    "budgets={}",
)
SEEDS = [int(word) for word in os.environ.get("CHAOS_SEEDS", "1").split()]
"""Of the victims and moments. CHAOS_SEEDS="2 3 4" tries others."""
MOST_KILLS = 24
"""A dead process is started again after ever longer waits, and a machine that is busy besides would never get done."""
QUESTIONS = 7
"""Of a run that needs one plan: the plan, two drafts, two reviews, the set-up, the plan's review."""


def bare(value: object, run: RunFolder) -> object:
    """A message as plain data, without what time of day and place make of it."""
    match value:
        case dict():
            return {name: bare(part, run) for name, part in value.items() if name not in TIMES}
        case list():
            return [bare(part, run) for part in value]
        case str():
            return value.replace(str(run.path), "RUN")
    return value


def ring(run: RunFolder) -> list[tuple[str, object]]:
    """Everything the loops said, in order: plans, drafts, trials, reviews, skills, settings, curve, score, policy."""
    types = {kind.TYPE for kind in RING}
    events = (envelope for _, envelope in Journal.read(run.journal) if envelope.type in types)
    return [(event.type, bare(event.message().model_dump(mode="json"), run)) for event in events]


def curve(run: RunFolder) -> dict[int, object]:
    """The points as they were published on the way, by environment steps; a point may be told by several lives of the trainer."""
    points: dict[int, object] = {}
    for event in published(run, TrainingProgressed.TOPIC):
        point = bare(event.message().point.model_dump(mode="json"), run)
        assert points.setdefault(point["env_steps"], point) == point
    return points


def questions(run: RunFolder) -> tuple[Counter[str], Counter[str]]:
    """How often every question stands in the transcripts, and in the accounts on the bus."""
    files = [path for path in run.transcript.glob("*.jsonl") if path != run.recorded]
    # Read here, not by the transcript's own reader, which drops repeats.
    kept = Counter(json.loads(line)["key"] for path in files for line in path.read_bytes().splitlines())
    return kept, Counter(event.message().key for event in published(run, ModelAsked.TOPIC))


def assert_same(run: RunFolder, undisturbed: RunFolder) -> None:
    assert ring(run) == ring(undisturbed)
    assert curve(run) == curve(undisturbed)
    kept, accounted = questions(run)
    assert kept == accounted == questions(undisturbed)[0]
    assert len(kept) == kept.total() == QUESTIONS
    assert [line.key for line in read_folder(run.transcript)] == [line.key for line in read_folder(undisturbed.transcript)]


def restarts(run: RunFolder) -> dict[str, int]:
    """Of every process, over all launches that could still write them down."""
    counted: Counter[str] = Counter()
    for note in run.notes():
        counted.update({name: weights["restarts"] for name, weights in note.get("processes", {}).items()})
    return {name: number for name, number in sorted(counted.items()) if name != "launcher"}


def learning(run: RunFolder) -> bool:
    """Whether there are a few points of the curve, so that the trainer has something to lose, and a checkpoint behind it."""
    return len(published(run, TrainingProgressed.TOPIC)) >= 2


def launches(run: RunFolder) -> int:
    return sum("started" in note for note in run.notes())


def pids(run: RunFolder, role: str) -> list[int]:
    marker = f"rlgpt.runtime.process {role} "
    return sorted(pid for pid, command in processes_of(run.path).items() if marker in command)


def kill_at_random(launcher: subprocess.Popen[str], run: RunFolder, chance: random.Random) -> Counter[str]:
    """A random process every few seconds until the run ends; all roles have had their turn before one is hit again.

    Learning is the one stretch with something to lose: as soon as there is some, the trainer is next. The last kill is kept for
    that: on a busy machine the others may all be spent before learning begins.
    """
    kills: Counter[str] = Counter()
    turn: list[str] = []
    pause, learned = threading.Event(), False
    while launcher.poll() is None and kills.total() < MOST_KILLS:
        due, role = time.monotonic() + chance.uniform(0.3, 3.0), ""
        kept = not learned and kills.total() == MOST_KILLS - 1
        while (time.monotonic() < due or kept) and not role and launcher.poll() is None:
            pause.wait(0.05)
            if not learned and learning(run):
                learned, role = True, "trainer"
        turn = turn or chance.sample(ROLES, len(ROLES))
        role = role or turn.pop()
        for pid in pids(run, role)[:1]:
            os.kill(pid, signal.SIGKILL)
            kills[role] += 1
    return kills


@pytest.fixture
def rlgpt(tmp_path: Path) -> Iterator[Rlgpt]:
    command = Rlgpt(tmp_path)
    yield command
    command.end()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The same settings, left in peace."""
    command = Rlgpt(tmp_path_factory.mktemp("undisturbed"))
    status, said = command("launch", "mountain_car", *SMALL)
    assert status == 0, said
    return RunFolder.find(command.folder / "runs", "latest")


def launch(rlgpt: Rlgpt, *more: str) -> tuple[subprocess.Popen[str], RunFolder]:
    settings = [word for word in SMALL if word != "--set"]
    return rlgpt.launch(*settings, *more)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_run_whose_processes_are_killed_at_random_ends_like_an_undisturbed_one(rlgpt, undisturbed, seed):
    launcher, run = launch(rlgpt)
    kills = kill_at_random(launcher, run, random.Random(seed))
    said = launcher.communicate()[0]
    resumed = max((event.message().resumed for event in published(run, TrainingProgressed.TOPIC)), default=0)
    print(
        f"\nseed {seed}: kills {dict(sorted(kills.items()))} = {kills.total()}, restarts {restarts(run)}, learning resumed {resumed} times"
    )
    assert launcher.returncode == 0, said
    assert kills.total() >= len(ROLES)
    assert resumed >= 1
    assert_same(run, undisturbed)
    assert processes_of(run.path) == {}


@pytest.mark.timeout(600)
def test_run_whose_launcher_is_killed_again_and_again_resumes_to_the_same_end(rlgpt, undisturbed):
    moments: list[tuple[str, Callable[[RunFolder], object]]] = [
        ("the first draft", lambda run: published(run, SkillDrafted.TOPIC)),
        ("some learning", lambda run: learning(run)),
        ("resumed learning", lambda run: any(event.message().resumed for event in published(run, TrainingProgressed.TOPIC))),
    ]
    launcher, run = launch(rlgpt)
    kills = 0
    for what, reached in moments:
        until(what, lambda reached=reached, launcher=launcher: launcher.poll() is not None or reached(run))
        kills += launcher.poll() is None
        launcher.kill()
        launcher.communicate()
        until("every process is gone", lambda: processes_of(run.path) == {})
        launcher = rlgpt.start("resume", run.name)
    said = launcher.communicate()[0]
    print(f"\nlauncher killed {kills} times, at: {', '.join(what for what, _ in moments)}; {launches(run)} launches")
    assert launcher.returncode == 0, said
    assert kills == len(moments)
    assert_same(run, undisturbed)


def test_run_goes_on_without_its_frozen_launcher_which_then_ends_it(rlgpt, undisturbed):
    launcher, run = launch(rlgpt)
    until("the first draft", lambda: published(run, SkillDrafted.TOPIC))
    launcher.send_signal(signal.SIGSTOP)
    until("the run's end", lambda: published(run, RunFinished.TOPIC))
    launcher.send_signal(signal.SIGCONT)
    said = launcher.communicate()[0]
    assert launcher.returncode == 0, said
    assert_same(run, undisturbed)
    assert processes_of(run.path) == {}


def test_starting_agent_waits_longer_for_its_bus_than_a_dead_broker_takes_to_be_back():
    assert agent.JOIN_S >= supervisor.LONGEST_DELAY_S + 10.0


def test_who_publishes_what_is_as_the_docs_say(undisturbed):
    documented = yaml.safe_load((Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text())["operations"]
    said = {(event.source, type(event.message())) for _, event in Journal.read(undisturbed.journal)}
    operations = {f"{consumer_of(source)}.send.{kind.__name__}" for source, kind in said}
    assert operations <= set(documented)
    assert len(operations) > len(RING)


@pytest.mark.timeout(600)
def test_request_of_a_frozen_trainer_is_finished_by_another_from_its_checkpoint(rlgpt):
    launcher, run = launch(rlgpt, "processes.trainer=2")
    until("some learning", lambda: learning(run))
    frozen = published(run, TrainingProgressed.TOPIC)[0].source
    (pid,) = (pid for pid, command in processes_of(run.path).items() if f"--name {frozen} " in command)
    os.kill(pid, signal.SIGSTOP)
    said = launcher.communicate()[0]
    assert launcher.returncode == 0, said
    (finished,) = published(run, TrainingFinished.TOPIC)
    assert finished.source != frozen
    told: dict[str, list[Envelope]] = {}
    for event in published(run, TrainingProgressed.TOPIC):
        told.setdefault(event.source, []).append(event)
    points = {source: [event.message().point.env_steps for event in events] for source, events in told.items()}
    print(f"\n{frozen} frozen at {points[frozen][-1]} steps; {finished.source} told of {points.get(finished.source)}")
    assert all(event.message().resumed == 1 for event in told[finished.source])
    assert processes_of(run.path) == {}
