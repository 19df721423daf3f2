"""What a run's environments look like, from a worker's memory to the terminal."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs import glimpser as glimpses
from rlgpt.envs.glimpse import EDGE, GLIMPSE_BYTES, Glimpse, Lookout, read
from rlgpt.envs.glimpser import Glimpser
from rlgpt.envs.toolkit import Toolkit
from rlgpt.envs.trial import Trials
from rlgpt.runtime.glimpses import Window, half_blocks, showing, shown, write
from rlgpt.runtime.story import Story
from rlgpt.runtime.view import LiveView

RED_OVER_BLUE = Glimpse(7, 1234, 2, 1, bytes([255, 0, 0, 0, 0, 255]), "in a room")


def moment(**parts: Any) -> Any:
    env = SimpleNamespace(render_mode=None)
    return SimpleNamespace(**{"env": env, "obs": np.zeros(3), "info": {}, "seed": 3, "steps": 5, **parts})


def memory() -> Any:
    return np.zeros(GLIMPSE_BYTES, np.uint8)


def test_it_comes_back_as_it_was_packed() -> None:
    assert read(RED_OVER_BLUE.packed(1)) == RED_OVER_BLUE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(GLIMPSE_BYTES),
        RED_OVER_BLUE.packed(0),  # being written
        RED_OVER_BLUE.packed(1)[:-1],  # cut off
        Glimpse(0, 0, EDGE + 1, 1, b"", "x").packed(1),
        Glimpse(0, 0, -1, -1, bytes(3), "x").packed(1),
    ],
)
def test_what_is_no_glimpse_is_not_shown(data: bytes) -> None:
    assert read(data) is None


def test_words_carry_no_control_characters() -> None:
    found = read(Glimpse(0, 0, 0, 0, b"", "red \x1b[31m\nflag").packed(1))
    assert found is not None
    assert found.words == "red  [31m flag"


def test_the_toolkits_map_is_made_small_enough() -> None:
    place = memory()
    Glimpser(place, Toolkit(glimpse=lambda obs, info: np.full((96, 10, 3), 9, np.uint8))).look(moment())
    found = read(place.tobytes())
    assert found == Glimpse(3, 5, 48, 5, bytes([9]) * 3 * 48 * 5, "")


def test_an_observation_that_is_a_picture_is_shown() -> None:
    place = memory()
    Glimpser(place, Toolkit()).look(moment(obs=np.full((4, 6, 3), 200, np.uint8)))
    found = read(place.tobytes())
    assert found is not None
    assert (found.height, found.width) == (4, 6)


def test_where_there_is_nothing_to_see_nothing_is_told() -> None:
    place = memory()
    Glimpser(place, Toolkit()).look(moment())
    assert not place.any()


def test_a_toolkit_that_fails_says_so() -> None:
    place = memory()
    Glimpser(place, Toolkit(glimpse=lambda obs, info: info["nothing"])).look(moment())
    found = read(place.tobytes())
    assert found is not None
    assert "KeyError" in found.words


def test_it_is_drawn_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(glimpses.time, "monotonic", lambda: now[0])
    drawn: list[int] = []
    glimpser = Glimpser(memory(), Toolkit(glimpse=lambda obs, info: drawn.append(1) or np.zeros((1, 1, 3), np.uint8)))
    for now[0] in (100.0, 101.9, 102.0, 103.0):
        glimpser.look(moment())
    assert len(drawn) == 2


def test_the_newest_worker_is_shown_and_nothing_twice() -> None:
    lookout = Lookout()

    class Seen:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def glimpse(self) -> bytes:
            return self.data

    old, new = Seen(Glimpse(1, 0, 0, 0, b"", "old").packed(1)), Seen(Glimpse(2, 0, 0, 0, b"", "new").packed(1))
    lookout.add(old)
    lookout.add(new)
    told = [lookout.latest() for _ in range(3)]
    assert [found.words if found else None for found in told] == ["new", "old", None]
    lookout.remove(new)
    old.data = Glimpse(1, 9, 0, 0, b"", "later").packed(2)
    found = lookout.latest()
    assert found is not None
    assert found.words == "later"


def test_a_trial_in_crafter_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    environment = Environment(id="rlgpt/CrafterSymbolic-v0", toolkit="rlgpt.envs.crafter.toolkit", max_episode_steps=50)
    skill = Skill(name="walk", source="def walk(obs, info):\n    for _ in range(20):\n        yield 1\n", max_steps=30)
    kept: list[bytes] = []
    with Trials(environment) as trials:

        class Keeping(Lookout):
            """Of this process; what a worker drew is looked at when it is ended."""

            def remove(self, worker: Any) -> None:
                kept.append(worker.glimpse())
                super().remove(worker)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rlgpt.envs.handle.LOOKOUT", Keeping())
            trials.run(skill, [], "", [3])
    found = [glimpse for data in kept if (glimpse := read(data))]
    assert {(glimpse.seed, glimpse.height, glimpse.width) for glimpse in found} == {(3, 24, 32)}
    assert all("health" in glimpse.words for glimpse in found)
    write(tmp_path / "rollout-1", found[0])
    assert Window(tmp_path).look(100, 40) is not None


def test_a_process_keeps_the_newest_in_its_file(tmp_path: Path) -> None:
    told = [RED_OVER_BLUE]
    written = threading.Event()

    class Told(Lookout):
        def latest(self) -> Glimpse | None:
            if not told:
                written.set()
                return None
            return told.pop()

    with showing(tmp_path / "glimpses" / "rollout-1", Told(), 0.001):
        assert written.wait(10)
    assert read((tmp_path / "glimpses" / "rollout-1").read_bytes()) == RED_OVER_BLUE


def test_two_pixels_are_a_character() -> None:
    (span,) = half_blocks(RED_OVER_BLUE).spans
    assert half_blocks(RED_OVER_BLUE).plain == "▀"
    assert str(span.style) == "#ff0000 on #0000ff"


def test_it_is_as_large_as_there_is_room() -> None:
    tall = Glimpse(0, 0, 20, 30, bytes(1800), "")
    large, small = shown(tall, "x", 70, 24), shown(tall, "x", 40, 14)
    assert (large and large.width, small and small.width, shown(tall, "x", 20, 14)) == (60, 30, None)


def test_the_live_view_shows_it_beside_the_plans(tmp_path: Path) -> None:
    write(tmp_path / "trainer-1", RED_OVER_BLUE)
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, color_system="truecolor", width=120, height=40, _environ={}), tmp_path)
    view.refresh(Story(), {})
    view.close()
    assert "38;2;255;0;0;48;2;255;0;0m▀▀" in out.getvalue()
    assert "seed 7, step 1,234" in out.getvalue()


def test_without_a_file_the_view_is_as_before(tmp_path: Path) -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=120, height=40), tmp_path / "glimpses")
    view.refresh(Story(), {})
    view.close()
    assert "starting" in out.getvalue()
    assert "▀" not in out.getvalue()
