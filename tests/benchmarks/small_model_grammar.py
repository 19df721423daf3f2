"""A relay in front of a model's server that narrows the schemas of the answers, so that a model of any size gives whole ones.

llama.cpp turns the schema of a reply into a grammar and lets the model write nothing else. rlgpt's schemas say what an answer holds, not
how long a text may be or what a Python expression looks like; a model that loses its thread goes on for ever, or writes prose where an
expression stands. Here texts and lists get an end, expressions and sources the form of the simplest ones there are, and a name that the
question has given is the one that is used. What stands in them (which value is compared, with what, which action follows) is the model's.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXT = 80
COMPARISON = r"obs\[[0-3]\] [<>] -?0\.[0-9][0-9]?"
NARROWER: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "pattern": "^[a-z]{3,9}(_[a-z]{2,9})?$"},
    "success": {"type": "string", "pattern": f"^{COMPARISON}$"},
    "shaping": {"type": "string", "pattern": r"^(0\.[0-9] \* \(abs\(previous\[[0-3]\]\) - abs\(obs\[[0-3]\]\)\))?$"},
    "sub_actions": {"maxItems": 1},
    "primitives": {"maxItems": 0},
    "skills": {"maxItems": 1},
    "ppo": {"type": "null"},
}
"""By the name of a field: what takes the place of its schema, or with a list what is added to it."""


def given_names(question: str) -> dict[str, dict[str, Any]]:
    """What a question leaves no choice of: the name of the skill it asks for, or those of the plan it shows."""
    wanted = re.search(r"^Write the skill `(\w+)`", question, re.MULTILINE)
    planned = list(dict.fromkeys(re.findall(r"^- `(\w+)` \((?:code|rl)\)", question, re.MULTILINE)))
    if wanted:
        body = rf"obs, info = yield [01] if {COMPARISON} else [01]\\n"
        pattern = rf"^def {wanted[1]}\(obs, info\):\\n    for step in range\([1-4][0-9]\):\\n        {body}$"
        return {"source": {"type": "string", "pattern": pattern}}
    return {"name": {"type": "string", "enum": planned}, "skills": {"maxItems": 1, "items": {"enum": planned}}} if planned else {}


def narrowed(schema: Any, narrowers: dict[str, dict[str, Any]], name: str = "") -> Any:
    """The schema with bounds; `narrowers` as NARROWER."""
    if isinstance(schema, list):
        return [narrowed(part, narrowers, name) for part in schema]
    if not isinstance(schema, dict):
        return schema
    narrower = narrowers.get(name, {})
    if "type" in narrower:
        return narrower
    parts = {key: narrowed(part, narrowers) for key, part in schema.items() if key != "properties"}
    if "properties" in schema:
        parts["properties"] = {key: narrowed(part, narrowers, key) for key, part in schema["properties"].items()}
    if schema.get("type") == "string" and "enum" not in schema:
        parts["maxLength"] = TEXT
    return parts | (narrower if schema.get("type") == "array" else {})


class Relay:
    """Listens on loopback and passes everything on to `upstream`. `url` is its own address."""

    def __init__(self, upstream: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = (request.get("response_format") or {}).get("json_schema")
                if asked:
                    question = "\n".join(str(message.get("content")) for message in request["messages"])
                    asked["schema"] = narrowed(asked["schema"], NARROWER | given_names(question))
                onward = urllib.request.Request(
                    upstream + self.path, json.dumps(request).encode(), {"Content-Type": "application/json"}, method="POST"
                )
                try:
                    with urllib.request.urlopen(onward) as reply:
                        status, body = reply.status, reply.read()
                except urllib.error.HTTPError as error:
                    status, body = error.code, error.read()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing: rlgpt's own log has every question."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
