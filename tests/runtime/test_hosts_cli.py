"""`rlgpt host`, `rlgpt doctor minedojo` and `environment.host` in a scenario, as a user meets them."""

import os
import re
import signal

import pytest
import yaml
from running import Rlgpt

from rlgpt.runtime import minedojo
from rlgpt.runtime.run import RunFolder

SCENARIO = {
    "name": "cart_pole",
    "goal": "Keep the pole upright.",
    "success": "steps >= 20",
    "mode": "rl-only",
    "environment": {"id": "CartPole-v1"},
    "trainer": {"env_steps": 512, "environments": 2, "rollout": 32},
    "evaluation": {"episodes": 4, "target": 0.0},
}


def served(rlgpt: Rlgpt, *options: str) -> tuple[object, str]:
    """A running `rlgpt host`, and what it said until it served."""
    process = rlgpt.start("host", "CartPole-v1", *options)
    said = ""
    while "serving " not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return process, said


def test_run_learns_in_an_environment_that_is_served_with_the_keys_that_host_made(rlgpt: Rlgpt):
    process, said = served(rlgpt, "--bind", "tcp://127.0.0.1:0", "--slots", "4", "--keys", "keys")
    address = re.search(r"at (tcp://127.0.0.1:\d+), 4 slots", said).group(1)
    assert "environment.host.keys: a copy of keys/player.json" in said
    assert (rlgpt.folder / "keys" / "player.json").stat().st_mode & 0o077 == 0
    host = {"address": address, "keys": str(rlgpt.folder / "keys" / "player.json"), "start_s": 30}
    (rlgpt.folder / "mine.yaml").write_text(yaml.safe_dump({**SCENARIO, "environment": {"id": "CartPole-v1", "host": host}}))
    status, words = rlgpt("launch", "mine.yaml")
    assert status == 0, words
    assert RunFolder.find(rlgpt.folder / "runs", "latest").name.startswith("cart_pole")
    process.send_signal(signal.SIGINT)
    assert process.wait(200) == 0


def test_run_whose_address_nobody_serves_says_so_before_it_costs_anything(rlgpt: Rlgpt):
    host = {"address": "tcp://127.0.0.1:9", "start_s": 1}
    (rlgpt.folder / "mine.yaml").write_text(yaml.safe_dump({**SCENARIO, "environment": {"id": "CartPole-v1", "host": host}}))
    status, words = rlgpt("check", "mine.yaml")
    assert status == 2
    assert "no sign of life at tcp://127.0.0.1:9" in words
    assert "is `rlgpt host` running there" in words


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("CartPole-v1", "--kwargs", "[1]"), "has to be a JSON object"),
        (("CartPole-v1", "--setup"), "knows how to make a venv for minedojo alone"),
        (("nowhere_at_all:World",), "needs module 'nowhere_at_all'"),
        (("minedojo",), "its venv /nonexistent is not there; make it: rlgpt host minedojo --setup"),
    ],
)
def test_host_that_cannot_be_says_why(rlgpt: Rlgpt, arguments, says):
    rlgpt.environ["RLGPT_MINEDOJO"] = "/nonexistent"
    status, words = rlgpt("host", *arguments)
    assert status != 0
    assert says in " ".join(re.sub(r"[│╭╰╮╯─]", " ", words).split())


def test_doctor_minedojo_names_the_command_for_what_is_missing(rlgpt: Rlgpt):
    rlgpt.environ |= {"RLGPT_MINEDOJO": "/nonexistent", "PATH": "/usr/bin:/bin", "JAVA_HOME": "/nonexistent"}
    rlgpt.environ.pop("DISPLAY", None)
    status, words = rlgpt("doctor", "minedojo")
    assert status == 1
    assert "BAD venv      /nonexistent/bin/python is not there; make it with: rlgpt host minedojo --setup" in words
    assert "openjdk-8-jdk" in words


def test_setup_that_fails_says_at_which_command(tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module venv >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("RLGPT_MINEDOJO", str(tmp_path / "venv"))
    said = []
    with pytest.raises(minedojo.SetupFailed, match=r"-m venv .*ended with status 3:\nno module venv"):
        minedojo.set_up(str(broken), said.append)
    assert said == [f"{broken} -m venv {tmp_path / 'venv'}"]
    assert os.listdir(tmp_path) == ["python"]
