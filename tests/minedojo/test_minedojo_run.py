"""A whole run of a bundled MineDojo scenario: two loops and a short training, models on loopback, games in the old interpreter."""

from __future__ import annotations

import json

import pytest
from model_endpoint import Endpoint, _serving
from running import Rlgpt, processes_of, sets, story
from stand_in import StandIn
from stand_in_world import World

from rlgpt.runtime.run import RunFolder

SOURCE = """def reach_cow(obs, info):
    \"\"\"Turn until a cow is seen, walk up to it, face it.\"\"\"
    obs, info = yield from look_for(obs, info, "cow")
    obs, info = yield from walk_to(obs, info, "cow", within=2.5, steps=60)
    hit = nearest(info, "cow")
    yield turn_to(hit) if hit else action()
"""
PLAN = {
    "rationale": "First to the cow, then use the bucket.",
    "sub_actions": [
        {
            "name": "reach_cow",
            "purpose": "stand before a cow",
            "mode": "code",
            "success": "any(hit['name'] == 'cow' and hit['distance'] <= 3 for hit in info['seen'])",
            "reason": "a rule",
        },
        {"name": "use_bucket", "purpose": "milk it", "mode": "rl", "success": "", "reason": "timing"},
    ],
}


class Meadow(World):
    """A cow is never far."""

    def server(self) -> None:
        super().server()
        if not any(abs(mob[1] - self.x) + abs(mob[2] - self.z) < 12 for mob in self.mobs):
            self.mobs.append(["cow", self.x + 3.0, self.z + 4.0, 8])


class Player(Endpoint):
    """A model that knows how to reach a cow."""

    def answer(self, request: dict) -> dict:
        said = super().answer(request)
        match self.asked[-1]:
            case "plan":
                return PLAN
            case "skill":
                return {"explanation": "by lidar", "source": SOURCE}
            case "trial_review":
                return {"verdict": "accept", "why": "it stands before the cow", "change": ""}
            case "set_up":
                return {"primitives": [], "skills": ["reach_cow"], "shaping": "", "ppo": None, "reason": "the learner uses the bucket"}
            case "plan_review":
                judged = [{"name": name, "worked": True, "why": "seen"} for name in ("reach_cow", "use_bucket")]
                return {"sub_actions": judged, "why": "short", "advice": "longer"}
        return said


@pytest.mark.timeout(600)  # many hosts import MineDojo, which takes seconds each
def test_harvest_milk_runs_to_its_end_with_games_in_the_old_interpreter(tmp_path, python, constants):
    game = StandIn(worlds=lambda: Meadow(constants)).start()
    rlgpt, model = Rlgpt(tmp_path), Player()
    kwargs = {"task": "milk", "rays": 9, "size": [32, 48], "pictures": False, "voxels": 0, "port": game.port}
    settings = (
        "llm.model=hand",
        f"environment.kwargs={json.dumps(kwargs)}",
        f"environment.host.python={python}",
        "loops.plans=1",
        "loops.trial_episodes=2",
        "trainer.env_steps=400",
        "trainer.rollout=16",
        "trainer.batch_size=32",
        "evaluation.episodes=2",
    )
    try:
        with _serving(lambda request, _: json.dumps(model.answer(request)), "hand") as url:
            process = rlgpt.start("launch", "minedojo_harvest_milk", *sets(*settings, f"llm.base_url={url}"))
            said, _ = process.communicate(timeout=500)
    finally:
        rlgpt.end()
        game.close()
    assert process.returncode in (0, 1), said
    (folder,) = (tmp_path / "runs").iterdir()
    run = RunFolder(folder.resolve())
    (plan,) = story(run).state.plans.values()
    trial = plan.inner["reach_cow"].attempts[0].trial
    assert trial.success, trial
    assert plan.result.env_steps >= 400
    assert plan.result.failure == ""
    assert plan.result.score.episodes == 2
    assert processes_of(run.path) == {}
