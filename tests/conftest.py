"""What every test leaves behind: nothing of the logging it set up."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command tried in this process logs to that test's stderr, which is closed when the next test logs."""
    yield
    structlog.reset_defaults()
