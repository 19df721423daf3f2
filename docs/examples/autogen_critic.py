"""A plain AutoGen agent that can review a run of rlgpt; nothing in this file knows of rlgpt.

rlgpt launch mountain_car --set 'critic.reviewers=[reviewer]'
rlgpt attach autogen_critic.py:reviewer --as critic --run latest
"""

import os

from autogen.beta import Agent
from autogen.beta.config import OpenAIConfig

config = OpenAIConfig(
    os.environ.get("MY_MODEL", "gpt-4o-mini"),
    base_url=os.environ.get("MY_BASE_URL"),  # of any OpenAI-compatible endpoint; unset: OpenAI's own
    api_key=os.environ.get("MY_API_KEY"),
    timeout=120,
)

reviewer = Agent("reviewer", "You are an experienced control engineer. You are brief, and you name numbers.", config=config)
