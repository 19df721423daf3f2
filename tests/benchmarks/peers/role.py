"""What a publisher or consumer process of the comparison does around its library: the message, the rhythm, the report.

A process is started as `SCRIPT publish|consume ADDRESS NAME MESSAGES PER_S [OPTIONS]`, says "ready" once connected (a consumer: once
subscribed), waits for a line, reports a JSON line at its end, and stays until its standard input closes, so that its CPU can be read.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Literal

import msgpack
from pydantic import BaseModel, ConfigDict

TEXT = "k" * 850  # makes a body of 1 KB
WINDOW, BATCH = 1024, 256  # messages published and unacknowledged; messages in one round trip where a library asks for it


class Sample(BaseModel):
    """The body, for all alike: the fields of the bus's own `ModelAsked`. `usd` carries the time it was due."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: str
    key: str
    model: str
    origin: Literal["live", "recorded", "transcript"]
    outcome: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    drifted: bool = False


def sample_fields(number, due):
    return {"role": "slow", "key": TEXT, "model": "m", "origin": "live", "outcome": "answered", "prompt_tokens": number, "usd": due}


def body(number, due):
    return msgpack.packb(Sample(**sample_fields(number, due)).model_dump(mode="json"), use_bin_type=True)


def opened(data):
    return Sample.model_validate(msgpack.unpackb(data, strict_map_key=True))


@dataclass
class Role:
    role: str
    address: str
    name: str
    messages: int
    per_s: float
    options: list
    began: float = 0.0
    sent: int = 0
    delays: list = field(default_factory=list)

    @classmethod
    def of_arguments(cls):
        role, address, name, messages, per_s, *options = sys.argv[1:]
        return cls(role, address, name, int(messages), float(per_s), options)

    def start(self):
        print("ready", flush=True)
        sys.stdin.readline()
        self.began = time.time()

    async def start_async(self):
        await asyncio.to_thread(self.start)

    def due(self, most):
        """The numbers and due times of messages to publish now, up to `most` at a time; empty: wait for `next_s` seconds."""
        now = time.time()
        ready = self.messages if not self.per_s else min(self.messages, int((now - self.began) * self.per_s) + 1)
        first, self.sent = self.sent, min(ready, self.sent + most)
        return [(number, self.began + number / self.per_s if self.per_s else now) for number in range(first, self.sent)]

    @property
    def next_s(self):
        return max(0.0, self.began + self.sent / self.per_s - time.time())

    @property
    def is_done(self):
        return self.sent >= self.messages

    def got(self, message):
        """A validated message was handed to the application."""
        if self.per_s:
            self.delays.append((time.time() - message.usd) * 1000)

    def report(self):
        print(json.dumps({"began": self.began, "ended": time.time(), "delays": self.delays}), flush=True)

    def end(self):
        self.report()
        sys.stdin.read()

    async def end_async(self):
        self.report()
        await asyncio.to_thread(sys.stdin.read)
