"""The skill library: what is kept, what is found again, and that it is tried again before it counts."""

import pytest
from structlog.testing import capture_logs
from test_prompts import SKILL, SOURCE, Run, episode

from rlgpt.agents import fields, keeping
from rlgpt.agents.answers import DraftAnswer
from rlgpt.agents.library import About, CardOf, Entry, Library, LibraryError, Trial, code_hash, place, skill_id
from rlgpt.agents.llm.reading import AnswerRejected
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import Settle
from rlgpt.agents.retrieval import candidates
from rlgpt.bus.messages import PlanProposed, SkillDrafted, SkillTried
from rlgpt.bus.parts import Artifact, Card, Skill, SubAction
from rlgpt.bus.task import Environment

LADDER = Environment(id="Ladder-v0")
CARD = Card(text="card", kind="Discrete", actions=("up", "down"), version="1")
TRIAL = Trial(run="ladder-1", scenario="ladder", plan=1, attempt=2, successes=4, episodes=4, model="m", date="2026-01-01T00:00:00Z")


def about(name: str = "climb", **changes: object) -> About:
    base = {
        "name": name,
        "kind": "skill",
        "purpose": "Climb ten rungs of the ladder.",
        "goal": "Reach the roof.",
        "success": "obs[0] > 5",
        "environment": LADDER,
        "card": CardOf(version="1", kind="Discrete", actions=("up", "down")),
        "max_steps": 77,
        "trials": (TRIAL,),
    }
    return About.model_validate({**base, **changes})


def entry(name: str = "climb", source: str = SOURCE, **changes: object) -> Entry:
    return Entry(f"{name}-1", place("/nowhere"), about(name, **changes), source)


def found(*entries: Entry, spec: SubAction | None = None, skills: tuple[Skill, ...] = (), controller: bool = False) -> list[str]:
    wanted = spec or SubAction(name="go_up", purpose="Climb up the ladder, ten rungs at least.", mode="code", success="obs[0] > 6")
    return [one.id for one in candidates(entries, wanted, "Reach the roof.", LADDER, CARD, skills, controller=controller)]


# ---------------------------------------------------------------- the folder


def test_an_entry_is_a_folder_people_can_read_and_comes_back_as_it_was(tmp_path):
    library = Library(tmp_path / "library")
    kept = library.keep("climb-1", about(), SOURCE.encode())
    assert (kept.path / "skill.py").read_text() == SOURCE
    assert "purpose: Climb ten rungs of the ladder." in (kept.path / "about.yaml").read_text()
    assert library.find("climb-1") == kept == next(iter(library.entries()))


def test_the_same_skill_again_adds_its_trial_once(tmp_path):
    library = Library(tmp_path)
    library.keep("climb-1", about(), SOURCE.encode())
    later = TRIAL.model_copy(update={"run": "ladder-2", "successes": 3})
    for _ in range(2):  # a restarted agent says it again
        library.keep("climb-1", about(trials=(later,)), SOURCE.encode())
    assert library.find("climb-1").about.trials == (TRIAL, later)


def test_an_unreadable_entry_is_named_in_the_log_and_the_others_are_there(tmp_path):
    library = Library(tmp_path)
    good = library.keep("climb-1", about(), SOURCE.encode())
    bad = good.path.parent / "broken-1"
    bad.mkdir()
    (bad / "about.yaml").write_text("name: [\n")
    with capture_logs() as logs:
        assert [one.id for one in library.entries()] == ["climb-1"]
    assert [line["event"] for line in logs] == ["library_entry_unreadable"]
    with pytest.raises(LibraryError, match="cannot be read"):
        library.find("broken-1")


@pytest.mark.parametrize("name", ["../../etc", "*", "climb-2", ""])
def test_what_is_not_there_is_an_error_that_says_what_is(tmp_path, name):
    library = Library(tmp_path)
    library.keep("climb-1", about(), SOURCE.encode())
    with pytest.raises(LibraryError, match="climb-1"):
        library.find(name)


def test_an_entry_is_exported_and_removed_by_its_id(tmp_path):
    library = Library(tmp_path / "library")
    library.keep("climb-1", about(), SOURCE.encode())
    copy = library.export("climb-1", tmp_path / "mine")
    assert (copy / "skill.py").read_text() == SOURCE
    with pytest.raises(LibraryError, match="cannot be copied"):
        library.export("climb-1", tmp_path / "mine")
    library.remove("climb-1")
    assert list(library.entries()) == []


def test_an_environments_name_cannot_lead_out_of_the_library(tmp_path):
    library = Library(tmp_path / "library")
    kept = library.keep("climb-1", about(environment={"id": "../../out:Ladder-v0"}), SOURCE.encode())
    assert kept.path.is_relative_to(tmp_path / "library")


# ---------------------------------------------------------------- retrieval


def test_like_purposes_are_found_and_unlike_ones_are_not():
    dive = entry("dive", purpose="Jump into the pool head first.", success="info['wet']")
    assert found(dive, entry()) == ["climb-1"]


def test_the_nearer_purpose_comes_first_and_few_are_shown():
    many = [entry(f"climb_{n}", purpose=f"Climb {'ladder ' * (n > 3)}number {n}") for n in range(1, 7)]
    ids = found(*many)
    assert len(ids) == 3
    assert set(ids) & {"climb_4-1", "climb_5-1", "climb_6-1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {"id": "Stairs-v0"}},
        {"card": CardOf(version="1", kind="Box")},
        {"card": CardOf(version="1", kind="Discrete", actions=("down", "up"))},
        {"kind": "policy"},
        {"needs": {"grip": "0" * 8}},
    ],
)
def test_skills_for_another_environment_or_without_what_they_call_are_not_shown(changes):
    assert found(entry(**changes)) == []


def test_a_skill_that_calls_another_is_shown_where_that_one_was_accepted_unchanged():
    grip = Skill(name="grip", source="def grip(obs, info):\n    yield 0\n", max_steps=5)
    caller = entry(needs={"grip": code_hash(grip.source)})
    assert found(caller, skills=(grip,)) == ["climb-1"]
    assert found(caller, skills=(grip.model_copy(update={"source": grip.source.replace("0", "1")}),)) == []


def test_controllers_are_for_controllers():
    plays = entry("controller", purpose="Play whole episodes of: Reach the roof.")
    spec = SubAction(name="controller", purpose="play whole episodes", mode="code", success="obs[0] > 9")
    assert found(plays, entry(), spec=spec, controller=True) == ["controller-1"]
    assert found(plays, entry()) == ["climb-1"]


def test_another_version_of_the_card_is_said_and_counts_less():
    older = entry("climb_old", card=CardOf(version="0", kind="Discrete", actions=("up", "down")))
    assert found(older, entry("climb_new"))[0] == "climb_new-1"
    run = Run()
    run.plans()
    plan = run.state.plans[1]
    text = render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"], [older]))
    for words in ("climb_old-1", "4 of 4 episodes in ladder-1", "slightly different one", SOURCE.strip(), "set `reuse` to its id"):
        assert words in text


def test_without_earlier_skills_the_question_does_not_speak_of_a_library():
    run = Run()
    run.plans()
    plan = run.state.plans[1]
    assert "library" not in render("skill", **fields.skill_fields(run.state, plan, plan.inner["climb"])).lower()


# ---------------------------------------------------------------- what a run keeps


def accepted(run: Run, *, origin: str = "", success: bool = True, skill: Skill = SKILL) -> Settle:
    """The run's first attempt at `climb`, tried, and what settles it."""
    run.plans()
    env = run.task.environment
    run.tell(
        SkillDrafted(plan=1, attempt=1, skill=skill, success="obs[0] > 5", seeds=(1, 2, 3, 4), environment=env, origin=origin),
        SkillTried(
            plan=1, attempt=1, name="climb", success=success, env_steps=8, episodes=tuple(episode(s, success=success) for s in range(4))
        ),
    )
    return Settle(1, "climb", skill if success else None, 1, "fine")


def test_an_accepted_skill_is_kept_with_its_trial_and_where_it_comes_from(tmp_path):
    run = Run(library={"add": True, "folder": str(tmp_path)})
    keeping.keep_skill(run.state, accepted(run), "fast", "2026-01-01T00:00:00Z")
    (kept,) = Library(tmp_path).entries()
    assert kept.id == skill_id("climb", SOURCE, "obs[0] > 5", run.task.environment)
    assert (kept.source, kept.about.success, kept.about.max_steps) == (SOURCE, "obs[0] > 5", 77)
    (trial,) = kept.about.trials
    assert (trial.run, trial.plan, trial.attempt, trial.successes, trial.episodes) == ("ladder-1", 1, 1, 4, 4)


def test_a_skill_that_failed_is_not_kept_but_one_of_the_library_that_failed_is_noted_there(tmp_path):
    run = Run(library={"add": True, "folder": str(tmp_path)})
    keeping.keep_skill(run.state, accepted(run, success=False), "fast", "")
    assert list(Library(tmp_path).entries()) == []
    library = Library(tmp_path)
    library.keep("climb-1", about(trials=(TRIAL.model_copy(update={"run": "before-7"}),)), SOURCE.encode())
    run = Run(library={"add": True, "folder": str(tmp_path)})
    keeping.keep_skill(run.state, accepted(run, success=False, origin="climb-1"), "fast", "")
    assert [(trial.run, trial.successes) for trial in library.find("climb-1").about.trials] == [("before-7", 4), ("ladder-1", 0)]


def test_a_library_that_cannot_be_written_is_said_and_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    run = Run(library={"add": True, "folder": str(tmp_path / "file")})
    with capture_logs() as logs:
        keeping.keep_skill(run.state, accepted(run), "fast", "")
    assert [line["event"] for line in logs] == ["library_not_written"]


def test_a_policy_that_reached_the_target_is_kept_as_the_file_that_was_evaluated(tmp_path):
    import hashlib

    policy = tmp_path / "policy.pt"
    policy.write_bytes(b"weights")
    run = Run(library={"add": True, "folder": str(tmp_path / "library")})
    run.plans()
    finished = run.learned()
    (training,) = run.state.plans[1].trainings.values()
    artifact = Artifact(uri=policy.as_uri(), sha256=hashlib.sha256(b"weights").hexdigest(), media_type="x")
    training.result = finished.model_copy(update={"policy": artifact})
    keeping.keep_policies(run.state, "2026-01-01T00:00:00Z")
    (kept,) = Library(tmp_path / "library").entries()
    assert (kept.about.kind, kept.about.trials[0].successes, (kept.path / "policy.pt").read_bytes()) == ("policy", 60, b"weights")
    policy.write_bytes(b"other weights")
    with capture_logs() as logs:
        keeping.keep_policies(run.state, "")
    assert "is not the file that was evaluated" in logs[0]["why"]


# ---------------------------------------------------------------- taking one over


def test_a_skill_taken_over_bears_the_name_it_is_wanted_by():
    from rlgpt.agents.fast import _reused, renamed

    earlier = [entry()]
    answer = DraftAnswer(explanation="e", source="", reuse="climb-1")
    assert renamed(_reused(answer, earlier), "go_up").startswith("def go_up(obs, info):")
    assert _reused(answer.model_copy(update={"reuse": None}), earlier) is None
    with pytest.raises(AnswerRejected, match="nearest: `climb-1`"):
        _reused(answer.model_copy(update={"reuse": "climb-11"}), earlier)


def test_drafts_that_came_with_the_plan_are_part_of_it():
    proposed = PlanProposed(plan=1, sub_actions=(SubAction(name="climb", purpose="p", mode="code", success="True"),), drafts=(SKILL,))
    assert PlanProposed.model_validate(proposed.model_dump()) == proposed
