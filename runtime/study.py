"""A study: the same scenarios under several settings (arms) and seeds, each a run of its own, and one table of what came out.

A study file is YAML:

    name: ablations
    scenarios: [mountain_car]
    seeds: [0, 1, 2]
    arms:
      pure RL: {mode: rl-only}
      no iteration: {loops.plans: 1, loops.attempts: 1}

Every run lies in `<study folder>/<scenario>/<arm>/seed-<n>/`, so that a study that was interrupted goes on where it stopped: finished runs
are kept, unfinished ones resumed, missing ones launched.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlgpt.bus.errors import Explained
from rlgpt.runtime.report import Summary, summarize
from rlgpt.runtime.run import RunFolder, listing
from rlgpt.runtime.scenario import ScenarioInvalid, load
from rlgpt.runtime.text import printable

Word = Annotated[str, Field(min_length=1, max_length=60)]
LOG = "launch.log"
PROGRAM = "from rlgpt.runtime.cli import main; main()"
STOP_S = 20.0
"""Seconds a run may take to end itself when the study is interrupted."""


class StudyInvalid(Explained):
    """A study file that cannot be used; the text names the file and every mistake."""


class Study(BaseModel):
    """A study file. `arms`: name -> settings, as `--set` takes them; `scenarios`: bundled names or paths relative to the study file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    scenarios: tuple[str, ...] = Field(min_length=1)
    arms: dict[Word, dict[str, Any]] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)


@dataclass(frozen=True)
class Cell:
    """One run of a study. `folder`: where its run lies; `sets`: its settings, as `--set` takes them."""

    scenario: str
    arm: str
    seed: int
    folder: Path
    sets: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{Path(self.scenario).stem} / {self.arm} / seed {self.seed}"

    def run(self) -> RunFolder | None:
        """Its run, None before the first launch."""
        return next(iter(listing(self.folder)), None) if self.folder.is_dir() else None

    def summary(self) -> Summary | None:
        """What its run came to; None unless the loops ended."""
        run = self.run()
        found = summarize(run) if run else None
        return found if found and found.story.state.finished else None


def read(path: Path) -> Study:
    """The study of a YAML file; raises StudyInvalid."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Study.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyInvalid(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors())
        raise StudyInvalid(f"{path} is no study: {'; '.join(mistakes)}") from error


def cells(study: Study, beside: Path, folder: Path) -> list[Cell]:
    """Every run of the study, its scenario read and checked once. Raises StudyInvalid with all that is wrong.

    beside  the study file's folder, where scenarios are looked for first
    """
    made, wrong = [], []
    for scenario in study.scenarios:
        which = str(beside / scenario) if (beside / scenario).exists() else scenario
        for arm, settings in study.arms.items():
            for seed in study.seeds:
                sets = (*(f"{key}={_yaml(value)}" for key, value in settings.items()), f"seed={seed}")
                made.append(Cell(which, arm, seed, folder / _slug(Path(scenario).stem) / _slug(arm) / f"seed-{seed}", sets))
            try:
                load(which, made[-1].sets)
            except ScenarioInvalid as error:
                wrong.append(f"arm {arm!r}: {error}")
    folders = [cell.folder for cell in made]
    wrong += [f"two arms or scenarios would share the folder {path}" for path in sorted({f for f in folders if folders.count(f) > 1})]
    if wrong:
        raise StudyInvalid("\n".join(wrong))
    return made


def carry_out(todo: Sequence[Cell], jobs: int, say: Callable[[str], None]) -> list[str]:
    """Launch or resume every cell that has not ended, `jobs` at a time; returns what failed, a line each.

    KeyboardInterrupt ends the runs under way, which a later call resumes.
    """
    crew = _Crew(say)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(crew.play, cell) for cell in todo]
        try:
            return [failure for future in futures if (failure := future.result())]
        except BaseException:
            crew.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _Crew:
    """The launches under way."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._stopped = False
        self._children: set[subprocess.Popen[bytes]] = set()

    def play(self, cell: Cell) -> str:
        """The cell's run, to its end; what went wrong, or nothing."""
        if cell.summary():
            return ""
        run = cell.run()
        cell.folder.mkdir(parents=True, exist_ok=True)
        verb = ["resume", str(run.path)] if run else ["launch", cell.scenario, *(word for one in cell.sets for word in ("--set", one))]
        command = [sys.executable, "-c", PROGRAM, *verb, "--runs", str(cell.folder)]
        self._say(f"{cell.name}: {'resumed' if run else 'launched'}")
        log = cell.folder / LOG
        with log.open("ab") as output, self._child(command, output) as child:
            status = child.wait()
        summary = cell.summary()
        if summary is None:
            last = printable(log.read_text(encoding="utf-8", errors="replace")[-300:])
            return f"{cell.name}: did not end (status {status}); {log} ends with: {last}"
        self._say(f"{cell.name}: {summary.outcome}")
        return ""

    def _child(self, command: list[str], output: Any) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            # A session of its own: Ctrl-C reaches it through `stop` alone, once.
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
            self._children.add(child)
        return child

    def stop(self) -> None:
        """Ask every run to end; one that does not within STOP_S is killed, which a run survives."""
        with self._lock:
            self._stopped = True
        for child in self._children:
            child.terminate()
        for child in self._children:
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()


def _yaml(value: Any) -> str:
    """A value on one line, as `--set` reads it."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "_"


def groups(made: Sequence[Cell]) -> Iterator[tuple[str, str, list[Cell]]]:
    """Scenario, arm, and the cells of their seeds, in the study's order."""
    keys = dict.fromkeys((cell.scenario, cell.arm) for cell in made)
    for scenario, arm in keys:
        yield scenario, arm, [cell for cell in made if (cell.scenario, cell.arm) == (scenario, arm)]
