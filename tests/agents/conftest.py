from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Asker
from model_server import ModelServer


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def asker(model_server: ModelServer, tmp_path: Path) -> Asker:
    return Asker(model_server, tmp_path / "transcript")
