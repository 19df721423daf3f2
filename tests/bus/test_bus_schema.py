"""The generated documents for other languages: up to date, complete, and true to what the messages are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from rlgpt.bus import messages
from rlgpt.bus.messages import Message

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def asyncapi():
    return yaml.safe_load((DOCS / "asyncapi.yaml").read_text())


def test_documents_are_those_the_message_classes_give_now(generate):
    wanted = generate.files()
    old = [path.name for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert old == [], "run: python docs/generate.py"
    assert {path for path in wanted if path.suffix == ".json"} == set((DOCS / "schema").glob("*.json"))


def test_every_message_has_a_publisher_and_every_handled_one_is_there(generate):
    defined = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message}
    assert set(generate.PUBLISHERS) == defined
    assert {kind for role in generate.ROLES for kind in role.handlers} <= defined


def test_every_reference_leads_somewhere(asyncapi):
    def references(node):
        match node:
            case {"$ref": str(reference)}:
                yield reference
            case dict():
                for part in node.values():
                    yield from references(part)
            case list():
                for part in node:
                    yield from references(part)

    found = list(references(asyncapi))
    assert found
    for reference in found:
        path, _, inside = reference.partition("#")
        node = json.loads((DOCS / path).read_text()) if path else asyncapi
        for name in filter(None, inside.split("/")):
            node = node[name]


def test_channels_are_the_topics_and_say_who_speaks_and_who_listens(generate, asyncapi):
    assert {channel["address"] for channel in asyncapi["channels"].values()} == {kind.TOPIC for kind in generate.PUBLISHERS}
    operations = asyncapi["operations"]
    assert operations["fast.send.SkillDrafted"]["action"] == "send"
    assert operations["rollout.receive.SkillDrafted"]["action"] == "receive"
    assert "critic.send.SkillDrafted" not in operations


def test_schema_says_what_the_model_accepts(generate):
    schema = generate.schema(messages.SkillReviewed)
    assert schema["properties"]["verdict"]["enum"] == ["accept", "revise", "give_up"]
    assert set(schema["required"]) == {"plan", "attempt", "name", "verdict", "why"}
    assert schema["additionalProperties"] is False
