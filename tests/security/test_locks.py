"""The locks themselves: each layer alone, and what happens on machines that lack one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlgpt.bus.task import Environment
from rlgpt.envs import lockdown
from rlgpt.envs.pool import WorkerPool

LANDLOCK_ALONE = """
import os, socket, sys
from rlgpt.envs import lockdown
libc = lockdown._libc()
lockdown._prctl(libc, 38, 1)
server = socket.create_server(("127.0.0.1", 0))
lockdown._deny_paths(libc, lockdown.probe().landlock)
def attempt(name, run):
    try:
        run()
    except OSError as error:
        print(name, type(error).__name__)
    else:
        print(name, "succeeded")
attempt("read", lambda: open("/etc/hostname"))
attempt("write", lambda: open("/tmp/x", "w"))
attempt("list", lambda: os.listdir("/"))
attempt("tcp", lambda: socket.create_connection(server.getsockname()))
attempt("signal", lambda: os.kill(os.getppid(), 0))
"""


@pytest.mark.skipif(lockdown.probe().landlock < 6, reason="Landlock ABI 6 scopes signals")
def test_landlock_alone_denies_files_tcp_and_signals():
    run = subprocess.run([sys.executable, "-c", LANDLOCK_ALONE], capture_output=True, text=True, check=True)
    outcomes = dict(line.split() for line in run.stdout.splitlines())
    assert outcomes == dict.fromkeys(("read", "write", "list", "tcp", "signal"), "PermissionError")


def test_worker_has_no_capability_no_way_to_get_one_and_its_filter():
    with WorkerPool(Environment(id="CartPole-v1"), success="False", environments=1) as pool:
        (pid,) = pool.pids
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        locks = pool.locks
    assert {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapAmb"), 0
    )
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    assert "seccomp" in locks


@pytest.mark.skipif(not lockdown.namespaces_allowed(), reason="no namespaces of one's own are allowed here")
def test_worker_is_in_namespaces_of_its_own_where_that_is_allowed():
    with WorkerPool(Environment(id="CartPole-v1"), success="False", environments=1) as pool:
        (pid,) = pool.pids
        for name in ("net", "mnt", "ipc", "uts"):
            with contextlib.suppress(PermissionError):  # not dumpable: its links are root's alone to read
                assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        assert "namespaces" in pool.locks


def test_worker_runs_where_namespaces_are_forbidden(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("from rlgpt.envs import lockdown\nlockdown.enter_namespaces = lambda: False\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with WorkerPool(Environment(id="CartPole-v1"), success="False", environments=1) as pool:
        assert "namespaces" not in pool.locks
        assert "seccomp" in pool.locks
