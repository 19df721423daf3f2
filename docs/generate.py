"""Writes docs/schema/*.json and docs/asyncapi.yaml from the message classes: `python docs/generate.py`.

For clients in other languages. docs/protocol.md says how bytes travel; these say what is in an envelope's `data`, one JSON Schema a message
type, and who publishes what, as AsyncAPI. `data` is msgpack of the same maps, lists, strings, numbers, booleans and nil.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import yaml

from rlgpt.agents.critic import Critic
from rlgpt.agents.fast import Fast
from rlgpt.agents.rollout import Rollout
from rlgpt.agents.slow import Slow
from rlgpt.agents.trainer import Trainer
from rlgpt.bus import messages
from rlgpt.bus.codec import MAX_ENVELOPE
from rlgpt.bus.envelope import CONTENT_TYPE, SPEC_VERSION
from rlgpt.bus.messages import Message

FOLDER = Path(__file__).parent
SCHEMA = "https://json-schema.org/draft/2020-12/schema"
ROLES = (Slow, Fast, Critic, Rollout, Trainer)

PUBLISHERS: dict[type[Message], tuple[str, ...]] = {
    messages.TaskSubmitted: ("launcher",),
    messages.TaskDivided: ("slow",),
    messages.PlanProposed: ("slow",),
    messages.PlanFailed: ("slow",),
    messages.SkillDrafted: ("fast",),
    messages.SkillTried: ("rollout",),
    messages.SkillReviewed: ("critic",),
    messages.SkillFailed: ("fast",),
    messages.SkillSettled: ("fast",),
    messages.ArenaRequested: ("fast",),
    messages.ArenaProgressed: ("trainer",),
    messages.ArenaFinished: ("trainer",),
    messages.TrainingRequested: ("fast",),
    messages.TrainingProgressed: ("trainer",),
    messages.TrainingFinished: ("trainer",),
    messages.PlanReviewed: ("critic",),
    messages.RunFinished: ("slow",),
    messages.ModelAsked: ("slow", "fast", "critic"),
    messages.BudgetSpent: ("launcher",),
    messages.ReviewMissed: ("launcher",),
    messages.AgentJoined: ("broker",),
    messages.AgentLeft: ("broker",),
    messages.DeadLettered: ("broker",),
}
"""Who publishes each message; who handles it is read off the agents' handlers. A test compares this with what a run publishes."""


def document(kind: type[Message]) -> str:
    """A class's docstring as one text: its own words, the table of fields left as it stands."""
    return inspect.cleandoc(kind.__doc__ or "")


def schema(kind: type[Message]) -> dict[str, Any]:
    """The JSON Schema of a message's body."""
    # As `validation` sees it: what a reader accepts. Fields with a default may be left out by a publisher.
    found = kind.model_json_schema()
    return {"$schema": SCHEMA, "$id": f"{kind.TYPE}.json", **found, "title": kind.__name__, "description": document(kind)}


def envelope() -> dict[str, Any]:
    """The JSON Schema of an envelope; `data` stands for msgpack bytes (bin)."""
    name = {"type": "string", "minLength": 1, "maxLength": 256}
    optional = {
        "time": "RFC 3339, UTC",
        "subject": "the run",
        "correlationid": "id of the event that began the exchange",
        "causationid": "id of the event this one answers",
        "traceparent": "W3C trace context",
    }
    return {
        "$schema": SCHEMA,
        "$id": "envelope.json",
        "title": "Envelope",
        "description": f"CloudEvents {SPEC_VERSION} attributes around a message's body: a msgpack map of at most {MAX_ENVELOPE} bytes.",
        "type": "object",
        "properties": {
            "specversion": {"const": SPEC_VERSION},
            "id": {**name, "description": "unique in the log; a repeat is the same event"},
            "source": {**name, "description": "the publishing process"},
            "type": {**name, "description": "the message's type, such as rlgpt.skill.tried.v1"},
            "datacontenttype": {"const": CONTENT_TYPE},
            "topic": {**name, "pattern": r"^[^*]+$", "description": "what consumers select by, such as skill.tried"},
            **{attribute: {"type": "string", "description": words} for attribute, words in optional.items()},
            "data": {"description": "the body as msgpack bytes (bin); its schema is TYPE.json", "contentMediaType": CONTENT_TYPE},
        },
        "required": ["specversion", "id", "source", "type", "datacontenttype", "topic", "data"],
    }


def handlers(kind: type[Message]) -> list[str]:
    return [role.role for role in ROLES if kind in role.handlers]


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3.0 document: a channel a topic, and what every role sends and receives."""
    channels, operations, components = {}, {}, {}
    for kind, publishers in PUBLISHERS.items():
        name = kind.__name__
        components[name] = {
            "name": kind.TYPE,
            "title": name,
            "summary": document(kind).splitlines()[0],
            "contentType": CONTENT_TYPE,
            "headers": {"$ref": "schema/envelope.json"},
            "payload": {"$ref": f"schema/{kind.TYPE}.json"},
            "correlationId": {"location": "$message.header#/correlationid"},
        }
        channels[name] = {"address": kind.TOPIC, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}
        for action, roles in (("send", publishers), ("receive", handlers(kind))):
            for role in roles:
                operations[f"{role}.{action}.{name}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{name}"},
                    "tags": [{"name": role}],
                }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "rlgpt",
            "version": "1",
            "description": "What the processes of a run say to each other over the bus. How bytes travel is in protocol.md: a ZeroMQ "
            "DEALER, msgpack frames, a broker with acknowledgements, leases and named consumers. A channel's address is a topic of that "
            "protocol. Written by docs/generate.py.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "run": {
                "host": "{address}",
                "protocol": "zmq",
                "protocolVersion": "3.1",
                "description": "The broker of a run.",
                "variables": {
                    "address": {"description": "`address` in the run folder's bus.json: ipc://PATH, or tcp://HOST:PORT with keys"}
                },
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": components},
    }


def files() -> dict[Path, str]:
    """Everything this script writes."""
    schemas = {"envelope": envelope()} | {kind.TYPE: schema(kind) for kind in PUBLISHERS}
    texts = {FOLDER / "schema" / f"{name}.json": json.dumps(found, indent=2) + "\n" for name, found in schemas.items()}
    head = "# Written by docs/generate.py from the message classes; a test compares them.\n"
    return texts | {FOLDER / "asyncapi.yaml": head + yaml.safe_dump(asyncapi(), sort_keys=False, width=120)}


def main() -> None:
    wanted = files()
    for old in set((FOLDER / "schema").glob("*.json")) - set(wanted):
        old.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
