"""One process of a run as its launcher sees it: how it is started, what it inherits, what it wrote to stderr, what it weighs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlgpt.agents.llm.providers import key_variable
from rlgpt.agents.llm.redact import Redactor
from rlgpt.bus.task import Task
from rlgpt.runtime.logs import SECRET_NAME
from rlgpt.runtime.process import BROKER
from rlgpt.runtime.run import RunFolder

THINKERS = ("slow", "fast", "critic", "solo")
MAX_ERR_BYTES = 1_000_000
MAX_LINE_BYTES = 64_000
LAST_LINES = 12

_INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "VIRTUAL_ENV"}
    | {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "MUJOCO_GL", "DISPLAY", "XAUTHORITY", "JAVA_HOME"}
)
_INHERITED_PREFIXES = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "NVIDIA_", "RLGPT_")
# What an HTTP client needs to get out of this machine. A proxy's address may hold a password, so only those who ask models get it.
_NETWORK = frozenset(["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"])


@dataclass(frozen=True)
class Spec:
    """A process to keep running. secrets: names of the environment variables that hold keys it needs."""

    name: str
    role: str
    secrets: tuple[str, ...] = ()


def roster(task: Task) -> list[Spec]:
    """The processes a task needs, the broker first. Who would have nothing to do is not started."""
    models = task.mode != "rl-only"
    specs = [Spec(BROKER, BROKER), *(Spec(role, role, _secrets(task, role)) for role in planners(task))]
    if models and task.critic.enabled and "critic" in task.critic.reviewers:
        specs.append(Spec("critic", "critic", _secrets(task, "critic")))
    if models:
        specs += [Spec(f"rollout-{n}", "rollout") for n in range(1, task.processes.rollout + 1)]
    return specs + [Spec(f"trainer-{n}", "trainer") for n in range(1, task.processes.trainer + 1)]


def planners(task: Task) -> tuple[str, ...]:
    """Roles that plan and write: two agents, or with `agents: one` a single one."""
    return ("solo",) if task.agents == "one" else ("slow", "fast")


def _secrets(task: Task, role: str) -> tuple[str, ...]:
    variable = key_variable(task.llm.of(role))
    return (variable,) if variable else ()


def inherited(environ: Mapping[str, str], spec: Spec) -> dict[str, str]:
    """The environment of one process: what Python and the libraries need, and the keys this role needs; nothing else of the user's."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in _INHERITED or name.startswith(_INHERITED_PREFIXES)) and not SECRET_NAME.search(name)
    }
    if spec.role in THINKERS:
        kept |= {name: value for name, value in environ.items() if name.upper() in _NETWORK}
    kept |= {name: environ[name] for name in spec.secrets if name in environ}
    # Several processes share the cores, each with its own pool of threads: left alone they slow each other down.
    kept.setdefault("OMP_NUM_THREADS", "1")
    kept.setdefault("OPENBLAS_NUM_THREADS", "1")
    return kept


class Child:
    """A running process. Its output goes to logs/<name>.err without secrets, the last megabyte or two of it."""

    def __init__(self, spec: Spec, run: RunFolder, redactor: Redactor) -> None:
        # Its own session: a Ctrl-C at the terminal reaches the launcher alone, which then ends the others in order.
        self.spec = spec
        module = [sys.executable, "-P", "-m", "rlgpt.runtime.process"]
        arguments = [spec.role, "--run", str(run.path), "--name", spec.name, "--parent", str(os.getpid())]
        self.process = subprocess.Popen(
            module + arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=inherited(os.environ, spec),
            start_new_session=True,
        )
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._pump = threading.Thread(target=self._keep_output, args=(run.logs / f"{spec.name}.err", redactor), daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def exited(self) -> int | None:
        """The exit status (negative: the signal that ended it), None while it runs."""
        status = self.process.poll()
        if status is not None:
            self._pump.join(timeout=1.0)
        return status

    def _keep_output(self, path: Path, redactor: Redactor) -> None:
        output = self.process.stdout
        if output is None:
            return
        with output:
            for data in iter(lambda: output.readline(MAX_LINE_BYTES), b""):
                line = redactor.text(data.decode("utf-8", "replace").rstrip("\n"))
                self.last_lines.append(line[:2000])
                if path.exists() and path.stat().st_size > MAX_ERR_BYTES:
                    path.replace(path.with_suffix(".err.1"))
                with path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


def peak_kb(pid: int) -> int:
    """Largest resident memory so far, KiB; 0 if the process is gone or the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def descendants(pid: int) -> Iterable[int]:
    """Processes below `pid`, such as environment workers."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in below:
        yield child
        yield from descendants(child)
