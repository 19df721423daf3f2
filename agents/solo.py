"""The ablation `agents: one`: a single agent does the slow and the fast agent's work, and gives a plan and its code in one answer."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rlgpt.agents import fields
from rlgpt.agents.agent import handles
from rlgpt.agents.answers import SoloAnswer, check_solo
from rlgpt.agents.fast import Fast
from rlgpt.agents.prompts import render
from rlgpt.agents.requests import Request
from rlgpt.agents.slow import Slow
from rlgpt.bus.messages import Message, PlanProposed
from rlgpt.bus.parts import Skill


class Solo(Slow, Fast):
    """Plans, writes, repairs and sets up. The loops are the same: what it writes is tried, reviewed, and learned with."""

    role: ClassVar[str] = "solo"

    @handles(*Slow.handlers, *Fast.handlers)
    async def both(self, _event: Message) -> list[Message]:
        return [answer for request in self.requests for answer in await self.act(request)]

    @property
    def requests(self) -> list[Request]:
        """Those of both roles."""
        return [request for request in self._requests.get(self.event.seq, ()) if request.role in (Slow.role, Fast.role)]

    async def act(self, request: Request) -> list[Message]:
        """Slow's requests and Fast's are of different kinds."""
        return await Slow.act(self, request) or await Fast.act(self, request)

    async def propose(self, number: int) -> PlanProposed:
        """The plan with the first drafts of its `code` sub-actions. Raises QuestionFailed."""
        question = render("solo", **fields.solo_fields(self.state, number))
        answer = await self.ask(f"plan-{number}/{self.role}", question, SoloAnswer, check=partial(self._check_both, number=number))
        steps = self.state.task.loops.skill_steps
        drafts = tuple(
            Skill(name=sub_action.name, source=sub_action.source, max_steps=steps)
            for sub_action in answer.sub_actions
            if sub_action.mode == "code"
        )
        return self.proposal(number, answer.plan(), drafts)

    def _check_both(self, answer: SoloAnswer, number: int) -> None:
        check_solo(answer, self.state.task.mode, self.state.task.environment.imports)
        self.check_plan(answer.plan(), number)
