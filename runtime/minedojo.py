"""What MineDojo needs beside rlgpt: a venv of an older Python, Java 8, a display, Minecraft's mod. Looked for, and set up where possible.

The recipe was tried on Python 3.9, 3.10 and 3.11: gym 0.21 builds only with old setuptools and wheel, and pip from 24.1 on refuses its
metadata; MineDojo 0.1 uses np.unicode_, which numpy 2 has no more.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rlgpt.bus.errors import Explained
from rlgpt.envs.venvs import folder
from rlgpt.runtime.doctor import Finding

NAME = "minedojo"
PYTHONS = ("python3.11", "python3.10", "python3.9")
STEPS = (
    ("--quiet", "pip<24.1", "setuptools<66", "wheel<0.39"),
    ("--quiet", "--no-build-isolation", "gym==0.21.0"),
    ("--quiet", "--no-build-isolation", "minedojo==0.1", "numpy<2", "msgpack>=1.0.7", "pyzmq>=26.0"),
)
PROBE = """import json, sys, gym, numpy, msgpack, minedojo
from importlib.metadata import version
print(json.dumps([sys.version.split()[0], gym.__version__, numpy.__version__, version("minedojo"), minedojo.__path__[0]]))"""
PROBE_S = 120.0


class SetupFailed(Explained):
    """The venv cannot be made; the message says at which command, and why."""


def find_python() -> str | None:
    """A Python that MineDojo runs on: one on the path, else our own if it is old enough."""
    own = sys.executable if sys.version_info < (3, 12) else None
    return next((found for name in PYTHONS if (found := shutil.which(name))), own)


def commands(python: str, where: Path) -> list[list[str]]:
    """The recipe."""
    own = str(where / "bin" / "python")
    return [[python, "-m", "venv", str(where)], *([own, "-m", "pip", "install", *step] for step in STEPS)]


def set_up(python: str | None, say: Callable[[str], None]) -> Path:
    """Make the venv (about a minute, 360 MB) unless it is whole already; returns its Python. Raises SetupFailed."""
    where = folder(NAME)
    if (where / "bin" / "python").exists() and _ask(where / "bin" / "python")[0]:
        say(f"{where} is there already, and whole")
        return where / "bin" / "python"
    chosen = python or find_python()
    if chosen is None:
        raise SetupFailed(
            f"MineDojo needs Python 3.9, 3.10 or 3.11, and none of {', '.join(PYTHONS)} is on the path; name one with --python"
        )
    for command in commands(chosen, where):
        say(shlex.join(command))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            raise SetupFailed(f"`{shlex.join(command)}` ended with status {done.returncode}:\n{last}")
    words, _ = _ask(where / "bin" / "python")
    if not words:
        raise SetupFailed(f"{where} was made, but MineDojo cannot be imported there: {_ask(where / 'bin' / 'python')[1]}")
    say(words)
    return where / "bin" / "python"


def examine() -> Iterator[Finding]:
    """The venv, Java, a display, the mod; what is missing comes with the command that gets it."""
    python = folder(NAME) / "bin" / "python"
    words, why = _ask(python) if python.exists() else ("", f"{python} is not there")
    yield Finding("venv", words or f"{why}; make it with: rlgpt host minedojo --setup", bool(words))
    if not words:
        found = find_python()
        older = "none of them is on the path; install one, then: rlgpt host minedojo --setup --python PATH"
        yield Finding("python", f"{found}, for the venv" if found else f"MineDojo needs one of {', '.join(PYTHONS)}; {older}", bool(found))
    yield _java()
    yield _display()
    if words:
        yield _mod(Path(why))


def _ask(python: Path) -> tuple[str, str]:
    """(what is installed there in words, the package's folder), or ("", why MineDojo cannot be imported)."""
    try:
        done = subprocess.run([str(python), "-c", PROBE], capture_output=True, text=True, check=False, timeout=PROBE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if done.returncode:
        return "", (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    version, gym, numpy, minedojo, path = json.loads(done.stdout.splitlines()[-1])
    return f"{python}: Python {version}, minedojo {minedojo}, gym {gym}, numpy {numpy}", path


def _java() -> Finding:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = (
        "install Java 8 (Debian, Ubuntu: apt-get install openjdk-8-jdk; conda: conda install -c conda-forge openjdk=8) and set JAVA_HOME"
    )
    if not java or not Path(java).exists():
        return Finding("java", f"no Java; {advice}", ok=False)
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("java", f"{java} cannot be run: {error}; {advice}", ok=False)
    said = (done.stderr or done.stdout).strip().splitlines()
    version = said[0] if said else "?"
    return Finding(
        "java", version if '"1.8' in version else f"{version}: Minecraft 1.11.2 runs on Java 8 alone; {advice}", '"1.8' in version
    )


def _display() -> Finding:
    if os.environ.get("DISPLAY"):
        return Finding(
            "display", f"DISPLAY is {os.environ['DISPLAY']}; to draw elsewhere set environment.host.variables.MINEDOJO_HEADLESS=1"
        )
    if shutil.which("xvfb-run"):
        return Finding("display", "none, but xvfb-run is there: set environment.host.variables.MINEDOJO_HEADLESS=1 (the scenarios do)")
    return Finding(
        "display", "no DISPLAY and no xvfb-run; apt-get install xvfb (software rendering is slow; a GPU with VirtualGL is faster)", ok=False
    )


def _mod(package: Path) -> Finding:
    """The mod's jar; without it, MineDojo's launch script has Gradle build it at the first reset, which downloads Minecraft."""
    jars = list((package / "sim" / "Malmo" / "Minecraft" / "build" / "libs").glob("MalmoMod-*-fat.jar"))
    if jars:
        return Finding("minecraft", f"the mod is built: {jars[0]}")
    build = f"(cd {shlex.quote(str(package / 'sim' / 'Malmo' / 'Minecraft'))} && ./gradlew shadowJar)"
    return Finding(
        "minecraft", f"the mod is not built; the first reset would, for many minutes. Build it once, with network: {build}", ok=None
    )
