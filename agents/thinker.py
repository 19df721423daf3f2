"""What the slow agent, the fast agent and the critic share: a language model to ask, and an account of every question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel

from rlgpt.agents.agent import Agent, Context
from rlgpt.agents.budget import Over, over
from rlgpt.agents.llm.questioner import Questioner, QuestionFailed
from rlgpt.agents.llm.transcript import Transcript
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import question_prefix
from rlgpt.bus.messages import BudgetSpent

A = TypeVar("A", bound=BaseModel)

OFFLINE = "recorded.jsonl"
"""File of the run's transcript folder that holds the scenario's recorded answers."""


class Thinker(Agent):
    """An agent that asks a language model, the one the task names for its role."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._questioner: Questioner | None = None
        self._over: Over | None = None

    async def ask(
        self, key: str, question: str, answer: type[A], check: Callable[[A], None] | None = None, pictures: Sequence[bytes] = ()
    ) -> A:
        """Ask under the logical key `<mode>/plan-<n>/...`, unless the budget forbids it; `pictures` are PNG files.

        Raises QuestionFailed; either way the question is accounted for on the bus.
        """
        full_key = f"{self.key_prefix}/{key}"
        system = render(f"{self.role}_system")
        try:
            reply = await self._model().ask(full_key, system, question, answer, check=check, pictures=pictures, afford=self._afford)
        except QuestionFailed as failure:
            await self.publish(failure.asked, key=f"asked/{key}")
            raise
        await self.publish(reply.asked, key=f"asked/{key}")
        return reply.answer

    @property
    def key_prefix(self) -> str:
        """What the logical keys of this agent's questions begin with."""
        return question_prefix(self.state.task)

    def out_of_budget(self, failure: QuestionFailed) -> BudgetSpent | None:
        """What a role says that cannot go on because its question was beyond the budget; None where the question failed otherwise."""
        if failure.outcome != "over_budget" or self._over is None:
            return None
        found = self._over
        return BudgetSpent(budget=found.budget, limit=found.limit, used=found.used, role=found.role, question=failure.key)

    def _afford(self, prompt_tokens: int, prompt_usd: float | None) -> str:
        self._over = over(self.state.task.budgets, self.state.spent, self.role, prompt_tokens, prompt_usd)
        return str(self._over or "")

    def _model(self) -> Questioner:
        if self._questioner is None:
            folder = self.context.folder / "transcript"
            transcript = Transcript(folder, self.context.name)
            self._questioner = Questioner(self.role, self.state.task.llm.of(self.role), transcript, offline=folder / OFFLINE)
        return self._questioner

    async def leaving(self) -> None:
        if self._questioner is not None:
            await self._questioner.close()
