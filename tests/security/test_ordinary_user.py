"""The attacks of `test_escape.py` once more, where the suite runs as root: as an ordinary user, which has other locks to rely on.

`-s` prints attack -> blocked by what, of this identity too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

UID = 65534  # nobody; any number does, it needs no account
BECOME = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
# For an interpreter in somebody's private folder: reading is all this adds, and a worker drops it when it locks itself in.
READ = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
# The Python it starts has to be able to start another one, as a zygote is started.
AGAIN = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import pytest, gymnasium, rlgpt.envs.worker'], check=True)"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="this is an ordinary user already: test_escape.py has run as one")


@pytest.fixture(scope="module")
def become():
    """The command that runs another as an ordinary user who can read this Python."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not installed, so that no test can become an ordinary user")
    why = ""
    for command in (BECOME, (*BECOME, *READ)):
        run = subprocess.run([*command, sys.executable, "-c", AGAIN], capture_output=True, text=True, timeout=200)
        if run.returncode == 0:
            return command
        why = run.stderr.strip()[-300:]
    return pytest.skip(f"uid {UID} cannot run {sys.executable} or read what it imports: {why}")


@pytest.fixture
def own():
    """A folder of that user's: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, UID, UID)
        yield folder


def test_every_attack_is_blocked_for_an_ordinary_user_too(become, own):
    suite = Path(__file__).with_name("test_escape.py")
    run = subprocess.run(
        [*become, sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", f"--basetemp={own}/base", str(suite)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=suite.parents[2],
        env={**os.environ, "HOME": own, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": own},
    )
    lines = re.findall(r"^\.?(.+ -> .+)$", run.stdout, re.MULTILINE)
    print(*(f"uid {UID}: {line}" for line in lines), sep="\n")
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert f"as uid {UID}" in run.stdout
    assert len(lines) > 100
