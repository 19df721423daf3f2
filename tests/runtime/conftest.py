"""The command line of a test, whose processes end with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Rlgpt


@pytest.fixture
def rlgpt(tmp_path: Path) -> Iterator[Rlgpt]:
    command = Rlgpt(tmp_path)
    yield command
    command.end()
