"""A whole run with real processes, its answers hand-written: the middle part is learned in an arena, and code after it calls it."""

import os
import signal

from hand_written import GO_LEFT, plan, set_up, skill, sub_action, write_scenario
from running import PATIENCE_S, Rlgpt, pid_of, published, story, until

from rlgpt.bus.messages import ArenaFinished, ArenaRequested, SkillDrafted, SkillSettled, TrainingRequested

CHECKPOINT = 128
BOTH = "def both(obs, info):\n    obs, info = yield from go_left(obs, info)\n    yield from go_out(obs, info)\n"
ARENA = {
    "learn": True,
    "where": "obs[1] > 0",
    "success": "obs[0] >= 3",
    "shaping": "obs[0] - previous[0]",
    "judged": "success",
    "steps": 8,
    "can_run": "obs[1] > 0",
    "primitives": [],
    "skills": [],
    "against": None,
    "reason": "the way out is short",
}


def test_a_part_learned_in_an_arena_serves_code_and_the_learner_of_the_whole_task(rlgpt: Rlgpt):
    answers = {
        "rl-gpt/plan-1/slow": plan(
            sub_action("go_left", "obs[1] > 0"),
            sub_action("go_out", "obs[0] >= 3", mode="rl"),
            sub_action("both", "terminated"),
        ),
        "rl-gpt/plan-1/fast/go_left/attempt-1": skill(GO_LEFT),
        "rl-gpt/plan-1/fast/go_out/arena": ARENA,
        "rl-gpt/plan-1/fast/both/attempt-1": skill(BOTH),
        "rl-gpt/plan-1/fast/set-up": set_up("go_left", "go_out", "both"),
    }
    loops = {"arenas": True, "arena_steps": 512, "skill_steps": 20}
    scenario = write_scenario(rlgpt.folder, answers, loops=loops, shaping="0.01 * obs[1]")
    launcher, run = rlgpt.launch(f"trainer.checkpoint_every={CHECKPOINT}", scenario=str(scenario))
    until("a checkpoint of the arena", lambda: [*run.checkpoints.glob("plan-1/arena-go_out/checkpoint-*.pt")])
    os.kill(pid_of(run, "trainer-1"), signal.SIGKILL)
    said, _ = launcher.communicate(timeout=PATIENCE_S)
    assert launcher.returncode in (0, 1), said
    (asked,) = [envelope.message() for envelope in published(run, ArenaRequested.TOPIC)]
    assert (asked.name, asked.arena.env_steps, [one.name for one in asked.skills]) == ("go_out", 512, ["go_left"])
    (found,) = [envelope.message() for envelope in published(run, ArenaFinished.TOPIC)]
    assert not found.failure, found.failure
    state = story(run).state
    assert found.contest.verified is True
    assert found.contest.won, found.contest
    assert found.states > 0
    memory = said.partition("memory")[2].partition("\n")[0]
    assert "restarts)" in memory.partition("trainer-1")[2].partition(",")[0]
    settled = {one.name: one for one in (envelope.message() for envelope in published(run, SkillSettled.TOPIC))}
    assert settled["go_out"].skill == found.skill
    drafts = {one.skill.name: one for one in (envelope.message() for envelope in published(run, SkillDrafted.TOPIC))}
    assert [one.name for one in drafts["both"].library] == ["go_left", "go_out"]
    assert settled["both"].accepted, "code that calls what was learned was tried and succeeds"
    (training,) = [envelope.message() for envelope in published(run, TrainingRequested.TOPIC)]
    assert {one.name for one in training.skills} == {"go_left", "go_out", "both"}
    assert training.shaping == "0.01 * obs[1]"
    assert state.spent.arena_steps == found.env_steps + found.found_steps
    assert state.score.verified is True
    for words in (
        "go_out: learned in its arena for 512 environment steps",
        "it beats doing nothing",
        "learning in arenas",
        "0.01 * obs[1]",
    ):
        assert words in said
    assert (run.checkpoints / "plan-1" / "arena-go_out" / "skill.network").stat().st_size < 100_000

    status, said = rlgpt("report", "latest")
    assert status == 0, said
    page = next(rlgpt.folder.glob("runs/*/report.html")).read_text()
    assert "Learned in its arena" in page
