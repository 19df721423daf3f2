"""Pictures of episodes: drawn in a clean, locked worker, small, checked, and never a reason for a trial to fail."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import worlds  # noqa: F401
from PIL import Image

from rlgpt.bus.task import Environment
from rlgpt.envs import camera
from rlgpt.envs.camera import Camera, CannotDraw, chosen_steps
from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.frames import EDGE, bounded, draw
from rlgpt.envs.png import png

RIGHT = np.ones(4, np.int64)


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def light(file: bytes) -> float:
    """Where the line of light is, as a share of the width."""
    row = pixels(file)[0, :, 0]
    return float(np.flatnonzero(row > 128)[0] / len(row))


def test_the_first_the_last_and_frames_between_show_where_the_episode_went():
    with Camera(Environment(id="worlds:Drawn-v0")) as made:
        frames = made.film(7, RIGHT, 3)
    assert [frame.step for frame in frames] == [0, 2, 4]
    assert [round(light(frame.file) * 9) for frame in frames] == [0, 2, 4]
    assert pixels(frames[0].file).shape == (100, 300, 3)


def test_one_picture_is_that_of_the_end():
    with Camera(Environment(id="worlds:Drawn-v0")) as made:
        (frame,) = made.film(7, RIGHT, 1)
    assert (frame.step, round(light(frame.file) * 9)) == (4, 4)


def test_the_same_episode_gives_the_same_bytes():
    with Camera(Environment(id="worlds:Drawn-v0")) as made:
        assert made.film(7, RIGHT, 2) == made.film(7, RIGHT, 2)


def test_an_environment_that_draws_nothing_but_sees_pictures_shows_what_it_sees():
    with Camera(Environment(id="worlds:Pictures-v0")) as made:
        first, last = made.film(1, RIGHT, 2)
    assert pixels(first.file).shape == (64, 64, 3)
    assert [pixels(frame.file).max() for frame in (first, last)] == [0, 4]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (Environment(id="worlds:Corridor-v0"), "render_mode"),
        (Environment(id="worlds:Drawn-v0", kwargs={"broken": True}), "render() failed: RuntimeError: no screen"),
        (Environment(id="worlds:Lucky-v0", deterministic=False), "not deterministic"),
    ],
)
def test_what_cannot_be_drawn_says_why(environment: Environment, words: str):
    with pytest.raises(CannotDraw, match=words.replace("(", r"\(").replace(")", r"\)")), Camera(environment) as made:
        made.film(1, RIGHT, 2)


def test_actions_that_cannot_be_repeated_give_no_pictures():
    with Camera(Environment(id="worlds:Drawn-v0")) as made, pytest.raises(CannotDraw, match="episode was over after 5 of 9"):
        made.film(1, np.ones(9, np.int64), 2)


@pytest.mark.parametrize(
    "frame",
    [
        None,
        {},
        {"height": 2, "width": 2, "rgb": b"too short"},
        {"height": EDGE + 1, "width": 1, "rgb": bytes(3 * (EDGE + 1))},
        {"height": -1, "width": -1, "rgb": b"\0\0\0"},
        {"height": True, "width": 1, "rgb": b"\0\0\0"},
        {"height": 1.0, "width": 1, "rgb": b"\0\0\0"},
        {"height": 1, "width": 1, "rgb": [0, 0, 0]},
    ],
)
def test_a_worker_that_sends_no_picture_is_not_believed(frame: object):
    with pytest.raises(CannotDraw):
        camera.checked([frame], [0])
    with pytest.raises(CannotDraw):
        camera.checked([], [0])


@pytest.mark.parametrize(("total", "most", "steps"), [(10, 1, [10]), (10, 2, [0, 10]), (10, 3, [0, 5, 10]), (1, 8, [0, 1]), (0, 3, [0])])
def test_chosen_steps_are_few_and_even(total: int, most: int, steps: list[int]):
    assert chosen_steps(total, most) == steps


@pytest.mark.parametrize("shape", [(1, 1), (384, 384), (385, 3), (3, 5000), (2160, 3840), (210, 160)])
def test_frames_are_made_small_and_keep_their_colours(shape: tuple[int, int]):
    small = bounded(np.full((*shape, 3), (10, 200, 30), np.uint8))
    assert max(small.shape[:2]) <= EDGE
    assert np.unique(small.reshape(-1, 3), axis=0).tolist() == [[10, 200, 30]]


def test_a_png_file_is_read_by_others_as_it_was():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (pixels(png(5, 7, picture.tobytes())) == picture).all()
    with pytest.raises(ValueError, match="no picture of 7 x 6"):
        png(6, 7, picture.tobytes())


def test_a_render_that_gives_something_else_is_named():
    env = SimpleNamespace(render_mode="rgb_array", render=lambda: "text")
    with pytest.raises(EnvironmentUnavailable, match="gave no array"):
        draw(env, 0)
