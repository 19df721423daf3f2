"""`rlgpt replay`: what is filmed is the very episode that was played, each frame says what was running, and bad wishes are refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlgpt.agents.learning.evaluation import Played
from rlgpt.bus.messages import TrainingRequested
from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment, Evaluation, Host, Learner
from rlgpt.envs.camera import Camera
from rlgpt.envs.trial import Replayer
from rlgpt.runtime import film

KEEP = Skill(
    name="keep", source="def keep(obs, info):\n    while True:\n        obs, info = yield int(obs[2] + 0.3 * obs[3] > 0)\n", max_steps=99
)
ASKED = TrainingRequested(
    plan=1,
    environment=Environment(id="CartPole-v1", max_episode_steps=40, actions=("left", "right")),
    success="truncated",
    skills=(KEEP,),
    controller="keep",
    learner=Learner(environments=2),
    evaluation=Evaluation(episodes=3, first_seed=7),
    seed=0,
)


@pytest.fixture(scope="module")
def episodes() -> list[film.Episode]:
    return film.play(ASKED, None)


def test_frames_are_of_the_episode_that_was_played_and_of_the_steps_that_were_asked_for(episodes: list[film.Episode]):
    one = episodes[0]
    assert one.played.end is not None
    with film.camera_for(ASKED) as camera:
        shots = camera.draw(one.played.seed, one.played.end.actions, list(range(0, 41, 2)))
        (alone,) = camera.draw(one.played.seed, one.played.end.actions, [20])
    assert [shot.step for shot in shots] == list(range(0, 41, 2))
    assert shots[10] == alone  # whether drawn in parts or not
    assert len({shot.rgb for shot in shots}) > 5
    with Replayer(ASKED.environment, ASKED.success) as replayer:
        assert shots[-1].words == replayer.narrate(one.played.seed, one.played.end.actions).last


def test_film_is_a_file_with_every_frame_and_its_line(episodes: list[film.Episode], tmp_path: Path):
    with film.camera_for(ASKED) as camera:
        frames = film.shoot(episodes[0], 11, camera)
    film.write(frames, tmp_path / "videos" / "keeps.gif", 10)
    with Image.open(tmp_path / "videos" / "keeps.gif") as found:
        assert found.n_frames == 11
        assert found.size == frames[0].size
        assert all(side % 2 == 0 for side in found.size)
    bottom = np.asarray(frames[0])[-2 * film.LINE :]
    assert len(np.unique(bottom.reshape(-1, 3), axis=0)) > 3  # there is writing


def test_what_was_running_is_known_for_every_step():
    one = film.Episode(Played(1, ""), ((0, "left"), (1, "keep"), (9, "right")))
    assert [one.running(step) for step in (0, 1, 2, 9, 10, 50)] == ["left", "left", "keep", "keep", "right", "right"]


def test_one_success_and_one_failure_are_picked(episodes: list[film.Episode]):
    assert [one.played.seed for one in film.picked(episodes)] == [7]
    broken = film.Episode(Played(99, "", fault="lost"), ())
    assert [one.title for one in film.picked([broken, *episodes])] == ["seed_7_success", "seed_99_failure"]


def test_other_kinds_of_file_are_refused(tmp_path: Path):
    with pytest.raises(film.CannotFilm, match=r"ends in \.gif or \.mp4"):
        film.write([Image.new("RGB", (2, 2))], tmp_path / "film.avi", 10)


def test_mp4_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(film.CannotFilm, match=r"rlgpt\[video\]"):
        film.write([Image.new("RGB", (2, 2))], tmp_path / "film.mp4", 10)


# ---------------------------------------------------------------- where nothing can be repeated, or a host has to draw


def test_episodes_that_cannot_be_repeated_are_filmed_as_they_are_played(tmp_path: Path):
    moving = ASKED.model_copy(update={"environment": ASKED.environment.model_copy(update={"deterministic": False})})
    episodes = film.play(moving, None, most=8)
    filmed = [one for one in episodes if one.frames is not None]
    assert [one.played.success for one in filmed] == [film.picked(episodes)[0].played.success], "one of every outcome there was"
    frames = filmed[0].frames or ()
    steps = [frame.step for frame in frames]
    assert 4 <= len(steps) <= 9
    assert (steps[0], steps[-1]) == (0, filmed[0].played.steps)
    assert len({frame.rgb for frame in frames}) == len(frames)
    with film.camera_for(moving) as camera:
        assert camera is None
        assert len(film.shoot(filmed[0], 8, camera)) == len(frames)
        with pytest.raises(film.CannotFilm, match="was not filmed when it was played"):
            film.shoot(next(one for one in episodes if one.frames is None), 8, camera)


def test_host_draws_its_environment(tmp_path: Path):
    hosted = ASKED.environment.model_copy(update={"host": Host(step_s=20.0)})
    episodes = film.play(ASKED.model_copy(update={"environment": hosted, "evaluation": Evaluation(episodes=1, first_seed=7)}), None)
    here = film.play(ASKED.model_copy(update={"evaluation": Evaluation(episodes=1, first_seed=7)}), None)
    drawn = []
    for environment, (one,) in ((hosted, episodes), (ASKED.environment, here)):
        assert one.played.end is not None
        with Camera(environment) as camera:
            drawn.append(camera.draw(one.played.seed, one.played.end.actions, [0, 10, 20]))
    assert [(shot.step, shot.rgb) for shot in drawn[0]] == [(shot.step, shot.rgb) for shot in drawn[1]]
