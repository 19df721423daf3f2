"""A plain AutoGen agent of a user as a critic: `rlgpt attach my_agent.py:agent --as critic`.

It is asked what the built-in critic is asked, and its answers become reviews. The user's file knows nothing of rlgpt: it holds an
`autogen.beta.Agent` (or a classic `ConversableAgent`), or a function that makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rlgpt.agents.critic import Critic
from rlgpt.agents.llm.questioner import Questioner
from rlgpt.agents.llm.transcript import Transcript

if TYPE_CHECKING:
    from rlgpt.agents.llm.conversation import Guest


class GuestCritic(Critic):
    """Reviews with somebody else's agent. Its questions have keys of their own: the built-in critic may be asked the same beside it."""

    guest: ClassVar[Guest]

    @property
    def key_prefix(self) -> str:
        return f"{super().key_prefix}/{self.context.consumer}"

    def _model(self) -> Questioner:
        if self._questioner is None:
            # How long and how often it is asked is the scenario's; model, address, key and price are the agent's own.
            own = {"model": self.guest.model, "base_url": self.guest.base_url, "provider": "openai", "price": None}
            settings = self.state.task.llm.of(self.role).model_copy(update=own)
            transcript = Transcript(self.context.folder / "transcript", self.context.name)
            self._questioner = Questioner(self.role, settings, transcript, guest=self.guest)
        return self._questioner


def critic_of(found: Any) -> type[GuestCritic] | None:
    """The class of a critic that asks the AutoGen agent in `found`; None if there is none."""
    from rlgpt.agents.llm.conversation import guest

    asked = guest(found)
    return type("GuestCritic", (GuestCritic,), {"guest": asked}) if asked else None
