"""A Luanti server for the tests; without one they are skipped, with the reason."""

from __future__ import annotations

import pytest

from rlgpt.envs.errors import EnvironmentUnavailable
from rlgpt.envs.luanti.program import find


def pytest_collection_modifyitems(items):
    try:
        find()
    except EnvironmentUnavailable as missing:
        for item in items:
            if "tests/luanti" in str(item.path):
                item.add_marker(pytest.mark.skip(reason=str(missing)))


@pytest.fixture
def made():
    """Makes environments, and ends their servers after the test."""
    from rlgpt.envs.luanti.environment import Luanti

    envs = []

    def make(**kwargs) -> Luanti:
        envs.append(Luanti(probe=True, **kwargs))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


@pytest.fixture(scope="module")
def env():
    """One environment for all tests of a file, none of which ends it."""
    from rlgpt.envs.luanti.environment import Luanti

    shared = Luanti(probe=True, target="")
    yield shared
    shared.close()
