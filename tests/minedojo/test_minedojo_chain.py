"""The first stages of minedojo_obtain_diamond, chained live: hand-written answers, games in the old interpreter, the stand-in's world."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hand_written import plan, skill, sub_action
from running import Rlgpt, published
from stand_in import StandIn
from stand_in_world import World

from rlgpt.bus.messages import RunFinished
from rlgpt.runtime.run import RunFolder

SCENARIO = Path(__file__).parents[2] / "scenarios" / "minedojo_obtain_diamond" / "scenario.yaml"
LOGS = """def logs(obs, info):
    while count(info, "log") < 5:
        obs, info = yield look_at(info, info["x"] // 1 + 0.5, 65.5, info["z"] // 1 + 2.5)
        obs, info = yield from attack_for(obs, info, 4)
"""
TABLE = """def table(obs, info):
    for item in ("planks", "planks", "planks", "planks", "stick", "crafting_table"):
        obs, info = yield craft(item)
    obs, info = yield action(down=60 - info["pitch"])
    obs, info = yield place(info, "crafting_table")
"""
CONTROLLER = """def controller(obs, info):
    obs, info = yield from {name}(obs, info)
    while True:
        obs, info = yield action()
"""


class Forest(World):
    """Two blocks to the south of the player there is always a log, at the height of the eyes."""

    def server(self) -> None:
        super().server()
        self.blocks[(math.floor(self.x), 65, math.floor(self.z) + 2)] = "log"


def write_scenario(folder: Path, sources: dict[str, str], **environment: object) -> Path:
    """The bundled scenario cut to the stages of these skills, played by code; the answers beside it."""
    task = yaml.safe_load(SCENARIO.read_text())
    stages = task["stages"][: len(sources)]
    assert [stage["name"] for stage in stages] == list(sources)
    task.update(mode="code-only", stages=stages, success=stages[-1]["success"], critic={"enabled": False}, processes={"workers": 1})
    task["environment"].update(environment, max_episode_steps=150)
    task["loops"].update(skill_steps=100, trial_episodes=1, practice=1, plans=1, attempts=1)
    task["trainer"].update(environments=1)
    task["evaluation"].update(episodes=2, target=1.0)
    answers: dict[str, object] = {}
    for number, (stage, (name, source)) in enumerate(zip(stages, sources.items(), strict=True), 1):
        answers[f"code-only/plan-{number}/slow"] = plan(sub_action(name, stage["success"]))
        answers[f"code-only/plan-{number}/fast/{name}/attempt-1"] = skill(source)
        answers[f"code-only/plan-{number}/fast/controller/attempt-1"] = skill(CONTROLLER.format(name=name))
    place = folder / "chain"
    place.mkdir()
    (place / "scenario.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    said = {"model": "hand-written", "outcome": "answered", "question": "", "question_sha256": "", "system": ""}
    lines = [{"key": key, "role": key.split("/")[2], **said, "answer": answer} for key, answer in answers.items()]
    (place / "transcript.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


@pytest.mark.timeout(600)  # some ten hosts import MineDojo, which takes seconds each
def test_first_two_stages_of_obtain_diamond_are_chained_live(tmp_path, python, constants):
    game = StandIn(worlds=lambda: Forest(constants)).start()
    rlgpt = Rlgpt(tmp_path)
    quick = {"size": [32, 48], "pictures": False, "voxels": 0, "overrides": {"break_speed_multiplier": 20.0}}
    host = {"python": python, "start_s": 100.0, "reset_s": 100.0, "step_s": 20.0}
    scenario = write_scenario(tmp_path, {"logs": LOGS, "table": TABLE}, kwargs={"task": "diamond", "port": game.port, **quick}, host=host)
    try:
        process = rlgpt.start("launch", str(scenario))
        said, _ = process.communicate(timeout=500)
    finally:
        rlgpt.end()
        game.close()
    assert process.returncode == 0, said
    (finished,) = [envelope.message() for envelope in published(RunFolder.find(tmp_path / "runs", "latest"), RunFinished.TOPIC)]
    assert [stage.name for stage in finished.stages] == ["logs", "table"]
    assert all((stage.score.successes, stage.score.episodes) == (2, 2) for stage in finished.stages)
    assert (finished.score.successes, finished.score.episodes) == (2, 2)
