"""A critic that can see, in a real run: frames of the trial reach its model as PNG files, and only their hashes are written down."""

import base64
import hashlib
import json

from model_endpoint import endpoint
from running import Rlgpt, published

from rlgpt.agents.llm.transcript import read_folder
from rlgpt.bus.messages import SkillTried
from rlgpt.envs.png import MAGIC

HILL = """
import gymnasium
import numpy as np
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv


class Hill(MountainCarEnv):
    def render(self):
        frame = np.zeros((40, 180, 3), np.uint8)
        frame[:, int(100 * (self.state[0] + 1.2))] = (255, 0, 0)
        return frame


gymnasium.register("Hill-v0", Hill, max_episode_steps=150)
"""
SMALL = (
    "trainer.env_steps=512",
    "trainer.rollout=32",
    "loops.trial_episodes=3",
    "evaluation.episodes=4",
    "loops.plans=1",
    "environment.id=hill:Hill-v0",
)


def test_frames_of_the_first_failed_episode_reach_the_critics_model(rlgpt: Rlgpt):
    (rlgpt.folder / "hill.py").write_text(HILL)
    with endpoint() as model:
        launcher, run = rlgpt.launch(*SMALL, "llm.model=by-hand", f"llm.base_url={model.url}", "critic.pictures=3")
        said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode in (0, 1), said
    trial = published(run, SkillTried.TOPIC)[0].message()
    assert [picture.step for picture in trial.pictures] == [0, 2, 3]
    assert {picture.seed for picture in trial.pictures} == {trial.episodes[0].seed}

    review = model.requests[model.asked.index("trial_review")]["messages"][1]["content"]
    assert (
        "The 3 pictures show the environment in the episode of seed 500000: before the first step, after step 2, after step 3."
        in json.dumps(review)
    )
    sent = [base64.b64decode(part["image_url"]["url"].partition("base64,")[2]) for part in review if part["type"] == "image_url"]
    assert len(sent) == 3
    assert all(file.startswith(MAGIC) for file in sent)
    hashes = tuple(hashlib.sha256(file).hexdigest() for file in sent)
    assert hashes == tuple(picture.file.sha256 for picture in trial.pictures)
    assert sorted(path.name for path in (run.path / "pictures").iterdir())[0] == "plan-1-swing_back-attempt-1-step-0.png"

    lines = [line for line in read_folder(run.transcript) if line.pictures]
    assert lines[0].pictures == hashes
    assert base64.b64encode(sent[0])[:60] not in b"".join(path.read_bytes() for path in run.transcript.iterdir())
    assert all(not any(part["type"] == "image_url" for part in content) for content in others(model))


def others(model: object) -> list[list[dict]]:
    """Contents of all questions but the trial reviews, those that are lists of parts."""
    kinds = zip(model.asked, model.requests, strict=True)
    contents = [message["content"] for kind, request in kinds if kind != "trial_review" for message in request["messages"]]
    return [content for content in contents if isinstance(content, list)]
