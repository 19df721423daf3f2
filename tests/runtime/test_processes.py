"""The life and death of a run's processes, with real ones."""

import os
import signal
from pathlib import Path

from running import ENDLESS, QUICK, Rlgpt, learning, pid_of, processes_of, ready, sets, story, until

from rlgpt.runtime.run import RunFolder


def test_kill_9_of_the_launcher_leaves_no_process_and_a_run_that_resumes_and_that_ctrl_c_ends(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*ENDLESS)
    until("learning", learning(run))
    assert len(processes_of(run.path)) >= 5
    launcher.kill()
    launcher.wait()
    until("every process is gone", lambda: processes_of(run.path) == {})
    assert not run.running
    steps = max(point.env_steps for plan in story(run).state.plans.values() for point in plan.curve)

    resumed = rlgpt.start("resume", "latest")
    until(
        "learning goes on from the checkpoint",
        lambda: any(plan.resumed and plan.curve[-1].env_steps > steps for plan in story(run).state.plans.values()),
    )
    resumed.send_signal(signal.SIGINT)
    said, _ = resumed.communicate(timeout=200)
    assert resumed.returncode == 130
    assert processes_of(run.path) == {}
    assert "interrupted" in said
    assert f"rlgpt resume {run.name}" in said


def test_ctrl_c_in_the_first_moment_ends_everything_too(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*ENDLESS)
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=200)
    assert launcher.returncode == 130
    assert processes_of(run.path) == {}


def test_killed_processes_are_started_again_and_the_run_reaches_its_end(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*QUICK, "trainer.env_steps=6144", "shaping=abs(obs[1])")
    until("learning", learning(run))
    for victim in ("trainer-1", "broker", "slow"):
        os.kill(pid_of(run, victim), signal.SIGKILL)
    said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 1, said
    memory = said.partition("memory")[2].partition("\n")[0]
    for victim in ("trainer-1", "broker", "slow"):
        assert "restarts)" in memory.partition(victim)[2].partition(",")[0]
    (plan,) = story(run).state.plans.values()
    assert plan.resumed
    assert story(run).state.spent.learning_steps == 6144
    assert plan.training.shaping == "abs(obs[1])", "the scenario's own, without a model too"
    assert "abs(obs[1]) (the scenario's" in said


def test_process_that_keeps_dying_ends_the_run_with_status_4_and_its_name(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*ENDLESS, "processes.restarts=0")
    until("fast is ready", ready(run, "fast"))
    os.kill(pid_of(run, "fast"), signal.SIGKILL)
    said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 4
    assert "fast was ended by SIGKILL, after 0 restarts (processes.restarts)" in said
    assert processes_of(run.path) == {}


def test_role_that_cannot_start_ends_the_run_at_once_with_status_4_and_its_reason(rlgpt: Rlgpt, tmp_path: Path):
    # As if a part of the installation were missing, in that process alone.
    broken = "import sys\nif 'trainer' in sys.orig_argv:\n    sys.modules['rlgpt.agents.trainer'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(broken)
    rlgpt.environ["PYTHONPATH"] = str(tmp_path)
    status, said = rlgpt("launch", "mountain_car", *sets(*ENDLESS))
    run = RunFolder.find(rlgpt.folder / "runs", "latest")
    assert status == 4
    assert "trainer-1 cannot start" in said
    assert "rlgpt.agents.trainer cannot be imported: ModuleNotFoundError" in said
    assert "ModuleNotFoundError" in (run.logs / "trainer-1.err").read_text()
    assert processes_of(run.path) == {}


def test_second_launcher_of_the_same_run_is_refused(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*ENDLESS)
    status, said = rlgpt("resume", run.name)
    assert status == 2
    assert f"{run.name} is running already (launcher: process {launcher.pid})" in said
    assert launcher.poll() is None


def test_spent_minutes_end_the_run_with_status_3_though_nothing_else_happens(rlgpt: Rlgpt):
    status, said = rlgpt("launch", "mountain_car", *sets(*ENDLESS, "budgets.minutes=0.02"))
    assert status == 3, said
    assert "budget spent" in said


def test_keys_reach_those_who_ask_models_and_nobody_else(rlgpt: Rlgpt):
    rlgpt.environ |= {"OPENAI_API_KEY": "sk-not-a-real-key-1234567890", "AWS_SECRET_ACCESS_KEY": "other-secret-0987", "PRIVATE_NOTE": "n"}
    launcher, run = rlgpt.launch("llm.model=some-model", "llm.base_url=https://models.invalid/v1", "llm.timeout_s=5")
    names = ("broker", "slow", "fast", "critic", "rollout-1", "trainer-1")
    until("all processes", lambda: all((run.logs / f"{name}.jsonl").exists() for name in names))
    environs = {name: Path(f"/proc/{pid_of(run, name)}/environ").read_text() for name in names}
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=200)
    assert {name for name, environ in environs.items() if "sk-not-a-real-key" in environ} == {"slow", "fast", "critic"}
    assert not any("other-secret" in environ or "PRIVATE_NOTE" in environ for environ in environs.values())
    for path in run.path.rglob("*"):
        if path.is_file():
            assert b"sk-not-a-real-key" not in path.read_bytes(), path
