"""Pictures of trials on their way to a model that can see: drawn, kept, read back, checked, and done without where that must be."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from asking import GOOD
from model_server import answers, fails

from rlgpt.agents import drawing, pictures, words
from rlgpt.agents.llm.questioner import NOT_SHOWN
from rlgpt.agents.llm.transcript import picture_sha256, read_folder
from rlgpt.agents.pictures import PictureUnreadable
from rlgpt.bus.messages import SkillDrafted, SkillTried
from rlgpt.bus.parts import Picture, Skill, TrialEpisode
from rlgpt.bus.task import Environment
from rlgpt.envs.camera import CannotDraw

SEES = """
import gymnasium, numpy as np
from gymnasium import spaces

class Sees(gymnasium.Env):
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros((8, 8, 3), np.uint8), {}
    def step(self, action):
        self.t += 1
        return np.full((8, 8, 3), 10 * self.t, np.uint8), 0.0, False, False, {}

gymnasium.register("Sees-v0", Sees, max_episode_steps=20)
"""
PNG = b"\x89PNG\r\n\x1a\n..."


@pytest.fixture
def sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    (tmp_path / "sees.py").write_text(SEES)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Environment(id="sees:Sees-v0")


def episode(seed: int, success: bool) -> TrialEpisode:
    return TrialEpisode(seed=seed, success=success, steps=3, episode_return=0.0, ended="returned", first="", last="")


def draft(environment: Environment) -> SkillDrafted:
    return SkillDrafted(
        plan=2, attempt=1, skill=Skill(name="go", source="x", max_steps=9), success="True", seeds=(1, 2), environment=environment
    )


def drawn(environment: Environment, folder: Path) -> tuple[Picture, ...]:
    taken = {1: np.zeros(3, np.int64), 2: np.zeros(4, np.int64)}
    return drawing.draw(draft(environment), [episode(1, True), episode(2, False)], taken, 3, folder)


def test_the_first_failed_episode_is_drawn_and_the_files_are_those_the_message_names(sees, tmp_path):
    found = drawn(sees, tmp_path)
    assert [(picture.seed, picture.step) for picture in found] == [(2, 0), (2, 2), (2, 4)]
    trial = SkillTried(plan=2, attempt=1, name="go", success=False, episodes=(), env_steps=7, pictures=found)
    shown, files = pictures.shown(trial)
    assert shown == list(found)
    assert [picture_sha256(file) for file in files] == [picture.file.sha256 for picture in found]
    names = [f"plan-2-go-attempt-1-step-{step}.png" for step in (0, 2, 4)]
    assert sorted(os.listdir(tmp_path / "pictures")) == names


def test_a_trial_of_which_nothing_can_be_repeated_has_no_pictures(sees, tmp_path):
    with pytest.raises(CannotDraw, match="no episode of the trial came to its end"):
        drawing.draw(draft(sees), [episode(1, False)], {}, 3, tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"something else"), lambda path: path.unlink(), lambda path: path.write_bytes(bytes(9 << 20))]
)
def test_a_picture_that_is_not_the_one_that_was_drawn_is_not_shown(sees, tmp_path, damage):
    picture = drawn(sees, tmp_path)[0]
    damage(Path(picture.file.uri.removeprefix("file://")))
    with pytest.raises(PictureUnreadable, match=r"step-0\.png"):
        pictures.read(picture)


def test_the_words_beside_the_pictures_say_what_they_show(sees, tmp_path):
    found = drawn(sees, tmp_path)
    assert words.pictures(found) == (
        "The 3 pictures show the environment in the episode of seed 2: before the first step, after step 2, after step 4."
    )
    assert words.pictures(found[2:]) == "The picture shows the environment in the episode of seed 2: after step 4."
    assert words.pictures(()) == ""


@pytest.mark.parametrize(
    "refusal", [fails(400, "image input is not supported by this model"), fails(500, "image input is not supported - hint: use mmproj")]
)
def test_a_model_that_cannot_see_is_asked_again_in_words_alone_and_never_shown_any_more(asker, refusal):
    reply = asker.ask(refusal, answers(GOOD), pictures=[PNG], retries=0)
    assert reply.asked.outcome == "answered"
    first, second = (request["messages"][1]["content"] for request in asker.server.requests)
    assert [part["type"] for part in first] == ["text", "image_url"]
    assert NOT_SHOWN in str(second)
    assert "image_url" not in str(second)


def test_the_transcript_keeps_the_hash_of_a_picture_and_not_its_bytes(asker):
    asker.ask(answers(GOOD), pictures=[PNG + b"some very particular bytes"])
    [line] = read_folder(asker.folder)
    assert line.pictures == (picture_sha256(PNG + b"some very particular bytes"),)
    assert "particular" not in (asker.folder / "critic.jsonl").read_text()
