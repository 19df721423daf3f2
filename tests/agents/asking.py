"""One question put to a model server that plays a script."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer
from pydantic import BaseModel

from rlgpt.agents.llm.endpoint import Backoff
from rlgpt.agents.llm.questioner import Questioner, QuestionFailed, Reply
from rlgpt.agents.llm.transcript import Transcript
from rlgpt.bus.models import Model


class Answered(BaseModel):
    """What the tests ask for."""

    verdict: str
    why: str


GOOD = {"verdict": "accept", "why": "it works"}
SYSTEM, QUESTION = "You review.", "Did it work?"


@dataclass
class Asker:
    """Asks with a questioner of its own each time; `waits` are the seconds it would have waited between requests."""

    server: ModelServer
    folder: Path
    waits: list[float] = field(default_factory=list)
    check: Any = None

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def questioner(self, *, offline: Path | None = None, transcript: str = "critic", **settings: Any) -> Questioner:
        model = Model.model_validate({"model": "test-model", "base_url": self.server.url, **settings})
        return Questioner("critic", model, Transcript(self.folder, transcript), offline, backoff=Backoff(sleep=self.sleep))

    def ask(self, *script: Any, key: str = "plan-1/critic", question: str = QUESTION, **settings: Any) -> Reply[Answered]:
        """Ask a server that plays `script`; three options are the question's, the others the model's."""
        self.server.plays(*script)
        options = {name: settings.pop(name) for name in ("deadline_s", "pictures", "afford") if name in settings}
        questioner = self.questioner(**settings)

        async def go() -> Reply[Answered]:
            try:
                return await questioner.ask(key, SYSTEM, question, Answered, check=self.check, **options)
            finally:
                await questioner.close()

        return asyncio.run(go())

    def put(self, answer: type[Any], check: Any, *script: Any, key: str = "plan-1", **settings: Any) -> Reply[Any]:
        """Ask a server that plays `script` for one of the loops' own answers."""
        self.server.requests.clear()
        self.server.plays(*script)
        questioner = self.questioner(**settings)

        async def go() -> Reply[Any]:
            try:
                return await questioner.ask(key, SYSTEM, QUESTION, answer, check=check)
            finally:
                await questioner.close()

        return asyncio.run(go())

    def fails(self, *script: Any, **options: Any) -> QuestionFailed:
        with pytest.raises(QuestionFailed) as caught:
            self.ask(*script, **options)
        return caught.value
