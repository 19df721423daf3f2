"""docs/scenario.md names every field that a scenario may have."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from rlgpt.bus.task import Task

DOC = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text()


def fields(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield name
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from fields(info.annotation)


def test_every_field_of_a_scenario_is_documented() -> None:
    missing = [name for name in fields(Task) if f"{name}`" not in DOC]
    assert missing == []
