"""An OpenAI-compatible endpoint on loopback that plays Mountain Car's conversation: a plan, a draft that falls short, one that works."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOO_SHORT = "def swing_back(obs, info):\n    for _ in range(3):\n        obs, info = yield 0\n"
LONG_ENOUGH = "def swing_back(obs, info):\n    while obs[0] > -0.65:\n        obs, info = yield 0\n"
PLAN = {
    "rationale": "First away from the flag, then up the hill.",
    "sub_actions": [
        {"name": "swing_back", "purpose": "gain height on the left", "mode": "code", "success": "obs[0] <= -0.65", "reason": "a rule"},
        {"name": "drive_up", "purpose": "reach the flag", "mode": "rl", "success": "", "reason": "timing"},
    ],
}
SET_UP = {"primitives": [], "skills": ["swing_back"], "shaping": "", "ppo": None, "reason": "the learner times it"}
PLAN_REVIEW = {
    "sub_actions": [{"name": name, "worked": name == "swing_back", "why": "seen"} for name in ("swing_back", "drive_up")],
    "why": "too few steps",
    "advice": "learn longer",
}


class Endpoint:
    """url: for `llm.base_url`. asked: the kind of every question, in order. requests: the questions themselves."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.requests: list[dict] = []
        self.url = ""

    def answer(self, request: dict) -> dict:
        fields = set(request["response_format"]["json_schema"]["schema"]["properties"])
        kinds = {"rationale": "plan", "source": "skill", "verdict": "trial_review", "primitives": "set_up", "advice": "plan_review"}
        kind = next(kind for field, kind in kinds.items() if field in fields)
        self.asked.append(kind)
        self.requests.append(request)
        first = self.asked.count(kind) == 1
        return {
            "plan": PLAN,
            "skill": {"explanation": "push left", "source": TOO_SHORT if first else LONG_ENOUGH},
            "trial_review": {"verdict": "revise", "why": "it stops too early", "change": "push until position -0.65"}
            if first
            else {"verdict": "accept", "why": "it is high enough", "change": ""},
            "set_up": SET_UP,
            "plan_review": PLAN_REVIEW,
        }[kind]


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    model = Endpoint()

    def reply(request: dict, _key: str) -> str:
        return json.dumps(model.answer(request))

    with _serving(reply, "hand") as model.url:
        yield model


@contextmanager
def _serving(reply: Callable[[dict, str], str], name: str) -> Iterator[str]:
    """An endpoint that says what `reply` makes of a request and its Authorization, as the model `name`; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": reply(request, self.headers.get("Authorization", ""))}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            choices = [{"index": 0, "finish_reason": "stop", "message": message}]
            said = {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": choices, "usage": usage}
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


class Reviewer:
    """An endpoint that only reviews: prose at first, then a bad verdict, from the second question on good ones.

    requests, keys: what it was sent.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict] = []
        self.keys: list[str] = []

    def answer(self, request: dict, key: str) -> str:
        self.requests.append(request)
        self.keys.append(key)
        if len(self.requests) == 1:
            return "It stops too early, I would say."
        question = json.dumps(request["messages"])
        if "Review plan 1 of at most" in question:
            names = ("swing_to_flag",)
            review = {"sub_actions": [{"name": name, "worked": True, "why": "seen"} for name in names], "why": "good", "advice": "go on"}
        else:
            first = "attempt 1 of" in question
            review = {"verdict": "revise" if first else "accept", "why": "seen", "change": "do it better" if first else ""}
        return f"Here it is:\n```json\n{json.dumps(review)}\n```"


@contextmanager
def reviewer() -> Iterator[Reviewer]:
    model = Reviewer()
    with _serving(model.answer, "their-model") as model.url:
        yield model
