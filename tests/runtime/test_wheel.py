"""The wheel holds everything: installed in a fresh venv, it works by scenario name from another folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # Built beside the checkout, so that a build folder left there by somebody else takes no part in it.
    for entry in ("agents", "bus", "envs", "runtime", "scenarios", "pyproject.toml", "README.md", "LICENSE"):
        (source / entry).symlink_to(CHECKOUT / entry)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_every_source_scenario_and_prompt(wheel: Path):
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"rlgpt/{path.relative_to(CHECKOUT)}"
        for package in ("agents", "bus", "envs", "runtime", "scenarios")
        for path in (CHECKOUT / package).rglob("*")
        if path.suffix in {".py", ".md", ".yaml", ".jsonl", ".typed", ".html"} and "__pycache__" not in path.parts
    }
    assert wanted - packed == set()
    assert not any(name.startswith(("tests/", "agents/", "envs/")) for name in packed)


def test_wheel_installed_elsewhere_checks_and_launches_by_scenario_name(wheel: Path, tmp_path: Path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(
        subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    # The dependencies are those of this venv, by path. Its .pth files, the editable install among them, are not read there.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    subprocess.run(command, check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(*arguments: str) -> str:
        program = [str(python.parent / "rlgpt"), *arguments]
        done = subprocess.run(program, cwd=elsewhere, env=environ, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    where = [str(python), "-P", "-c", "import rlgpt.runtime.cli as cli; print(cli.__file__)"]
    assert subprocess.run(where, cwd=elsewhere, env=environ, capture_output=True, text=True, check=True).stdout.startswith(str(site))
    assert "good" in call("check", "mountain_car", "--set", "mode=rl-only")
    sets = ("mode=rl-only", "trainer.env_steps=512", "trainer.rollout=32", "evaluation.episodes=2")
    said = call("launch", "mountain_car", *(word for override in sets for word in ("--set", override)))
    assert str(elsewhere / "runs" / "mountain_car-1") in said
    assert "below target" in said
