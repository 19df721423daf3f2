"""`rlgpt doctor`: what this machine and this installation offer, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlgpt.agents.llm.providers import PROVIDERS
from rlgpt.bus.task import Environment, Task
from rlgpt.runtime.preflight import NotReady, check_environment
from rlgpt.runtime.run import listing

NEEDED_DISK_MB = 200


@dataclass(frozen=True)
class Finding:
    """One line. ok: True is well, False is a fault, None is worth knowing."""

    what: str
    words: str
    ok: bool | None = True


def examine(runs: Path) -> Iterator[Finding]:
    """Look at Python, packages, the sandbox, memory, disk, keys and earlier runs; starts one environment worker."""
    version = platform.python_version()
    yield Finding("python", f"{version} at {sys.executable}", sys.version_info >= (3, 11))
    yield Finding("system", f"{platform.platform()}, {os.cpu_count()} cores", True if sys.platform == "linux" else None)
    yield from _packages()
    yield _sandbox()
    yield _namespaces()
    yield _worker()
    yield _runs(runs)
    for name, provider in PROVIDERS.items():
        if provider.key_env:
            there = bool(os.environ.get(provider.key_env, "").strip())
            yield Finding("key", f"{provider.key_env} ({name}) is {'set' if there else 'not set'}", True if there else None)


def _packages() -> Iterator[Finding]:
    try:
        needed = importlib.metadata.requires("rlgpt") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "rlgpt is not installed; pip install it (or `make venv` in a checkout)", ok=False)
        return
    versions = {}
    for requirement in (line for line in needed if "extra ==" not in line):
        name = re.split(r"[\[<>=~!; ]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("packages", f"{name} is missing; pip install '{requirement}'", ok=False)
    yield Finding("packages", ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))


def _sandbox() -> Finding:
    from rlgpt.envs import lockdown
    from rlgpt.envs.errors import SandboxUnavailable

    offer = lockdown.probe()
    try:
        warning = lockdown.require(unsafe=False)
    except SandboxUnavailable as error:
        return Finding("sandbox", str(error), ok=False)
    return Finding("sandbox", f"{offer.words}{f'; {warning}' if warning else ''}", None if warning else True)


def _namespaces() -> Finding:
    from rlgpt.envs import lockdown

    if lockdown.namespaces_allowed():
        return Finding("sandbox", "workers enter user, network, mount, IPC and host name namespaces of their own")
    return Finding("sandbox", "no namespaces for workers here (a container, or this system's policy); seccomp shuts the same doors", None)


def _worker() -> Finding:
    task = Task(name="doctor", goal="balance", success="steps >= 1", environment=Environment(id="CartPole-v1"))
    try:
        check_environment(task)
    except NotReady as error:
        return Finding("worker", str(error), ok=False)
    return Finding("worker", "a locked worker started CartPole-v1 and described it")


def _runs(runs: Path) -> Finding:
    there = runs if runs.exists() else runs.absolute().parent
    if not os.access(there, os.W_OK):
        return Finding("runs", f"{there} cannot be written; choose another place with --runs DIR", ok=False)
    free = shutil.disk_usage(there).free // 2**20
    newest = next(iter(listing(runs)), None)
    words = f"{runs.absolute()}: {len(listing(runs))} runs{f', the latest {newest.name}' if newest else ''}; {free:,} MB free"
    return Finding("runs", words, free >= NEEDED_DISK_MB)
