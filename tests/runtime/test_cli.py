"""The command line: what is wrong is told in a line or two with status 2, and nothing heavy is imported to say so."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from running import Rlgpt
from typer.testing import CliRunner

from rlgpt.runtime.cli import app

HEAVY = ("torch", "autogen", "gymnasium", "stable_baselines3", "openai")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RLGPT_RUNS", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return call


@pytest.mark.parametrize(
    "modules",
    [
        "rlgpt.runtime.cli",
        "rlgpt.runtime.launcher, rlgpt.runtime.view, rlgpt.runtime.report",
        "rlgpt.runtime.preflight, rlgpt.runtime.record, rlgpt.runtime.tail",
        "rlgpt.runtime.process, rlgpt.bus.broker",
    ],
)
def test_launcher_and_broker_import_nothing_heavy(modules: str):
    code = f"import sys, {modules}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_neither_pydantic_nor_the_bus():
    code = "import sys, rlgpt.runtime.cli; print([name for name in ('pydantic', 'zmq', 'yaml', 'rich.table') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_check_of_a_good_scenario_says_so(cli):
    status, said = cli("check", "mountain_car", "--set", "mode=rl-only")
    assert (status, said) == (0, "mountain_car/scenario.yaml: good. rl-only, MountainCar-v0 (Discrete actions), models: none asked\n")


@pytest.mark.parametrize("value", ["1e5", "1.0e+5", "100_000"])
def test_whole_numbers_may_be_written_as_powers(cli, value: str):
    status, said = cli("check", "mountain_car", "--set", "mode=rl-only", "--set", f"trainer.env_steps={value}")
    assert (status, "good" in said) == (0, True)
    status, said = cli("check", "mountain_car", "--set", "mode=rl-only", "--set", "trainer.env_steps=1.5e0")
    assert status == 2
    assert "expected a valid integer" in said


def test_version_is_that_of_the_package(cli):
    assert cli("--version") == (0, f"rlgpt {metadata.version('rlgpt')}\n")


@pytest.mark.parametrize("command", ["check", "launch"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mountain_cra",), "did you mean 'mountain_car'?"),
        (("mountain_car", "--set", "trainer.steps=1"), "--set #1: trainer.steps: unknown setting (here: 1); did you mean 'env_steps'?"),
        (("mountain_car", "--set", "llm.model=m"), "set the environment variable OPENAI_API_KEY"),
        (("mountain_car", "--set", "llm.model=m", "--set", "llm.provider=anthropic"), "anthropic"),
        (("mountain_car", "--set", "mode=rl-only", "--set", "environment.id=MountainCra-v0"), "'MountainCar-v0'"),
        (("mountain_car", "--set", "mode=rl-only", "--set", "environment.id=my_game:Game-v0"), "my_game"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_started(cli, tmp_path: Path, command: str, arguments: tuple[str, ...], words: str):
    status, said = cli(command, *arguments)
    assert status == 2, said
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


def test_recorded_model_without_recorded_answers_is_told_with_what_to_do(cli, tmp_path: Path):
    Path("s.yaml").write_text("name: pole\ngoal: g\nsuccess: steps > 9\nenvironment: {id: CartPole-v1}\n")
    status, said = cli("check", "s.yaml")
    assert status == 2
    assert "s.yaml has no transcript.jsonl beside it" in said
    assert "--set llm.model=NAME" in said


def test_model_on_this_machine_needs_no_key(cli):
    status, said = cli("check", "mountain_car", "--set", "llm.model=m", "--set", "llm.base_url=http://127.0.0.1:9/v1")
    assert status == 0, said
    assert "models: m" in said


def test_run_folder_that_cannot_be_written_is_told(cli, tmp_path: Path):
    (tmp_path / "file").write_text("")
    status, said = cli("launch", "mountain_car", "--set", "mode=rl-only", "--runs", str(tmp_path / "file" / "runs"))
    assert status == 2
    assert "cannot write a run folder" in said
    assert "--runs DIR" in said


@pytest.mark.parametrize(
    "command", [("tail",), ("resume",), ("summary",), ("compare",), ("attach", "trainer"), ("record", "latest", "--to", "x")]
)
def test_commands_about_runs_say_where_they_looked(cli, tmp_path: Path, command: tuple[str, ...]):
    status, said = cli(*command)
    assert status == 2
    assert f"no runs in {tmp_path}/runs" in said


def test_environment_of_the_users_own_folder_is_found(rlgpt: Rlgpt):
    (rlgpt.folder / "my_game.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Game-v0', entry_point=CartPoleEnv, max_episode_steps=50)\n"
    )
    status, said = rlgpt("check", "mountain_car", "--set", "mode=rl-only", "--set", "environment={id: 'my_game:Game-v0'}")
    assert status == 0, said
    assert "my_game:Game-v0 (Discrete actions)" in said


def test_doctor_finds_this_installation_well(cli):
    status, said = cli("doctor")
    assert status == 0, said
    assert "pydantic" in said
    assert "described it" in said


def test_attach_to_what_is_no_agent_is_refused(cli, tmp_path: Path):
    from rlgpt.runtime.run import RunFolder

    RunFolder.create(tmp_path / "runs", "car").scenario.write_text("name: car\n")
    for target, words in (("slow", "a run has one slow"), ("mine.py", "is no agent"), ("trainer", "is not running")):
        status, said = cli("attach", target)
        assert status == 2
        assert words in said


def test_reader_that_has_seen_enough_is_no_error(rlgpt: Rlgpt):
    from rlgpt.runtime.run import RunFolder

    run = RunFolder.create(rlgpt.folder / "runs", "car")
    run.scenario.write_text("name: car\n")
    line = '{"time": "2026-01-31T12:00:00Z", "level": "info", "name": "slow", "role": "slow", "event": "e"}\n'
    (run.logs / "slow.jsonl").write_text(line * 20_000)
    process = rlgpt.start("tail")
    assert process.stdout is not None
    assert "slow" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(200) == 141


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("success=obs[0] >", "is not a Python expression"),
        ("success=speed > 3", "uses 'speed'"),
        ("success=obs[7] > 3", "IndexError"),
        ("environment.actions=[left]", "names 1 actions (left), but the action space is Discrete(3)"),
    ],
)
def test_what_only_the_environment_can_tell_is_told_by_check(cli, setting: str, words: str):
    status, said = cli("check", "mountain_car", "--set", setting)
    assert status == 2
    assert words in said
