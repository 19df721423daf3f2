"""What each process loads: torch only where there is learning, AutoGen only where a live model is asked, environments only in workers."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("autogen", "gymnasium", "numpy", "stable_baselines3", "torch")


def loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=200)
    return set(done.stdout.split())


@pytest.mark.parametrize("role", ["slow", "fast", "critic", "solo"])
def test_agents_that_think_load_nothing_heavy_until_a_live_model_is_asked(role: str) -> None:
    assert loaded(f"rlgpt.agents.{role}") == set()


def test_the_trainer_loads_torch_only_when_it_learns() -> None:
    assert not loaded("rlgpt.agents.trainer") & {"autogen", "stable_baselines3", "torch"}


def test_the_rollout_process_loads_neither_torch_nor_autogen() -> None:
    assert not loaded("rlgpt.agents.rollout") & {"autogen", "stable_baselines3", "torch"}


def test_the_broker_and_the_launcher_load_nothing_heavy() -> None:
    assert loaded("rlgpt.bus.broker") == set()
    assert loaded("rlgpt.runtime.launcher") == set()


def test_autogen_is_known_to_one_module_alone() -> None:
    root = Path(__file__).parents[2]
    files = [path for folder in ("agents", "bus", "envs", "runtime") for path in (root / folder).rglob("*.py")]
    importing = [path.name for path in files if "import autogen" in path.read_text() or "from autogen" in path.read_text()]
    assert importing == ["conversation.py"]
