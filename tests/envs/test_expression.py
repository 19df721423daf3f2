"""Expressions of scenarios and plans: what they may use works at its first use, and what they may not is refused."""

import subprocess
import sys

import pytest

from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.expression import Expression


@pytest.mark.parametrize("text", ["(obs == 4).any()", "obs.mean() > 0 and np.median(obs) > 0", "np.linalg.norm(obs) > 1"])
def test_methods_of_arrays_work_where_nothing_has_called_them_before(text: str):
    code = "import numpy as np; from rlgpt.envs.expression import Expression; " + (
        f"print(Expression({text!r}, 'success').holds({{'obs': np.array([4.0, 5.0])}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("text", ["__import__('os')", "obs.__class__", "open('x')", "(lambda: os)()", "[x for x in obs].append(sys)"])
def test_nothing_else_can_be_reached(text: str):
    with pytest.raises(SkillInvalid):
        Expression(text, "success")
