from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Asker
from local_pool import LocalPool
from model_server import ModelServer


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[LocalPool]:
    """In-process pools instead of workers; the list of those that were made."""
    from learning_here import in_process_pools  # torch is only imported for tests that learn

    return in_process_pools(monkeypatch)


@pytest.fixture
def asker(model_server: ModelServer, tmp_path: Path) -> Asker:
    return Asker(model_server, tmp_path / "transcript")
