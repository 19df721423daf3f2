"""What the slow agent, the fast agent and the critic share: a language model to ask, and an account of every question."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from rlgpt.agents.agent import Agent, Context
from rlgpt.agents.llm.questioner import Questioner, QuestionFailed
from rlgpt.agents.llm.transcript import Transcript
from rlgpt.agents.prompts import render

A = TypeVar("A", bound=BaseModel)

OFFLINE = "recorded.jsonl"
"""File of the run's transcript folder that holds the scenario's recorded answers."""


class Thinker(Agent):
    """An agent that asks a language model, the one the task names for its role."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._questioner: Questioner | None = None

    async def ask(self, key: str, question: str, answer: type[A], check: Callable[[A], None] | None = None) -> A:
        """Ask under the logical key `<mode>/plan-<n>/...`. Raises QuestionFailed; either way the question is accounted for on the bus."""
        full_key = f"{self.state.task.mode}/{key}"
        try:
            reply = await self._model().ask(full_key, system=render(f"{self.role}_system"), question=question, answer=answer, check=check)
        except QuestionFailed as failure:
            await self.publish(failure.asked, key=f"asked/{key}")
            raise
        await self.publish(reply.asked, key=f"asked/{key}")
        return reply.answer

    def _model(self) -> Questioner:
        if self._questioner is None:
            folder = self.context.folder / "transcript"
            transcript = Transcript(folder, self.context.name)
            self._questioner = Questioner(self.role, self.state.task.llm.of(self.role), transcript, offline=folder / OFFLINE)
        return self._questioner

    async def leaving(self) -> None:
        if self._questioner is not None:
            await self._questioner.close()
