"""MineDojo's own package in its own venv, against the stand-in for Java. RLGPT_MINEDOJO_PYTHON names that venv's interpreter."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from stand_in import StandIn

from rlgpt.bus.task import Environment, Host
from rlgpt.envs.hosted import connect
from rlgpt.envs.hosts import LocalHosts

PYTHON = os.environ.get("RLGPT_MINEDOJO_PYTHON", "")
WAITS = {"start_s": 150.0, "reset_s": 100.0, "step_s": 20.0}
FIND = "import importlib.util as u; print(u.find_spec('minedojo').submodule_search_locations[0])"


@pytest.fixture(scope="session")
def python():
    if not PYTHON:
        pytest.skip("RLGPT_MINEDOJO_PYTHON names no interpreter with MineDojo; `rlgpt host minedojo --setup` makes one")
    return PYTHON


@pytest.fixture(scope="session")
def constants(python):
    found = subprocess.run([python, "-c", FIND], capture_output=True, text=True, check=True).stdout.strip()
    return Path(found) / "sim" / "mc_meta" / "mc_constants.json"


@pytest.fixture
def game(constants):
    stand_in = StandIn(constants).start()
    yield stand_in
    stand_in.close()


@pytest.fixture
def hosted(python, game):
    """`hosted(task, **options)`: the scenario's environment; the game is this test's stand-in unless the options say otherwise."""

    def hosted(task: str, *, name: str = "hosted.minedojo:MineDojo", host: dict | None = None, **options) -> Environment:
        place = Host(**{"python": python, **WAITS, **(host or {})})
        kwargs = {"task": task, "port": game.port, "size": [32, 48], **options}
        given = {key: value for key, value in kwargs.items() if value is not None}
        return Environment(id=name, kwargs=given, host=place, deterministic=False, toolkit="rlgpt.envs.minedojo_toolkit")

    return hosted


@pytest.fixture
def playing(hosted):
    """`playing(task, **options)`: the proxy itself, not in a locked worker, connected to a fresh host."""
    opened = []

    def playing(task: str, **options):
        environment = hosted(task, **options)
        hosts = LocalHosts(environment, environment.host)
        opened.append(hosts)
        lease = hosts.lease()
        host = environment.host
        env = connect(lease.end, environment.id, {"start_s": host.start_s, "reset_s": host.reset_s, "step_s": host.step_s}, None)
        env.lease, env.hosts = lease, hosts
        return env

    yield playing
    for hosts in opened:
        hosts.close()
