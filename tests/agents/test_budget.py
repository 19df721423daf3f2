"""Budgets of tokens, money and minutes, the run's and each role's: looked at before a question is asked."""

from __future__ import annotations

from itertools import count

import pytest
from asking import GOOD
from model_server import answers, says

from rlgpt.agents.budget import Over, by_role, over, words
from rlgpt.agents.llm.prices import price_of
from rlgpt.agents.llm.transcript import read_folder
from rlgpt.agents.progress import Spent
from rlgpt.bus.messages import BudgetSpent, ModelAsked
from rlgpt.bus.models import Budgets, Model, Price

NUMBERS = count()


def asked(role: str, tokens: int = 100, usd: float | None = 0.1, seconds: float = 30.0, **fields) -> ModelAsked:
    values = {"model": "m", "origin": "live", "outcome": "answered", "prompt_tokens": tokens, "completion_tokens": 10, **fields}
    return ModelAsked(role=role, key=f"{role}/{next(NUMBERS)}", usd=usd, seconds=seconds, **values)


@pytest.fixture
def spent() -> Spent:
    account = Spent()
    for role in ("slow", "fast", "fast", "critic"):
        account.count(asked(role))
    return account


def budgets(**fields) -> Budgets:
    return Budgets.model_validate(fields)


@pytest.mark.parametrize(
    ("limits", "role", "expected"),
    [
        ({}, "fast", None),
        ({"roles": {"fast": {"tokens": 1000}}}, "fast", None),
        ({"roles": {"fast": {"tokens": 220}}}, "fast", ("tokens", 220, 270, "fast")),
        ({"roles": {"fast": {"tokens": 269}}}, "fast", ("tokens", 269, 270, "fast")),
        ({"roles": {"fast": {"tokens": 270}}}, "fast", None),
        ({"roles": {"fast": {"tokens": 220}}}, "slow", None),
        ({"roles": {"fast": {"usd": 0.21}}}, "fast", ("usd", 0.21, pytest.approx(0.25), "fast")),
        ({"roles": {"fast": {"minutes": 1}}}, "fast", ("minutes", 1, 1, "fast")),
        ({"roles": {"fast": {"minutes": 1.1}}}, "fast", None),
        ({"tokens": 480}, "critic", ("tokens", 480, 490, "")),
        ({"usd": 0.42}, "slow", ("usd", 0.42, pytest.approx(0.45), "")),
        ({"minutes": 0.1}, "slow", None),
        ({"tokens": 480, "roles": {"critic": {"tokens": 100}}}, "critic", ("tokens", 100, 160, "critic")),
    ],
)
def test_what_a_prompt_of_fifty_tokens_and_five_cents_would_go_beyond(spent: Spent, limits, role, expected):
    found = over(budgets(**limits), spent, role, 50, 0.05)
    assert found == (None if expected is None else Over(*expected))


def test_accounts_are_kept_by_role_and_questions_that_were_not_asked_do_not_count(spent: Spent):
    spent.count(asked("critic", 0, outcome="over_budget"))
    spent.count(asked("slow", 7, usd=None, origin="recorded"))
    accounts = by_role(spent)
    assert list(accounts) == ["slow", "fast", "critic"]
    assert (accounts["fast"].questions, accounts["fast"].tokens, accounts["fast"].seconds) == (2, 220, 60)
    assert (accounts["critic"].questions, accounts["slow"].tokens) == (1, 110)


def test_the_end_of_a_run_says_whose_budget_it_was_and_what_was_not_asked():
    spent = BudgetSpent(budget="tokens", limit=50, used=1800, role="fast", question="plan-1/fast/x")
    assert words(spent) == "fast's tokens: plan-1/fast/x was not asked, it would have brought them to 1800 of 50"
    assert words(BudgetSpent(budget="minutes", limit=30, used=30.1)) == "minutes: 30.1 of 30 used"


# ---------------------------------------------------------------- at the questioner


def test_a_question_beyond_the_budget_is_not_asked_and_leaves_no_line(asker):
    told = []

    def afford(tokens: int, usd: float | None) -> str:
        told.append((tokens, usd))
        return "too dear"

    failure = asker.fails(answers(GOOD), afford=afford, price={"prompt": 1000, "completion": 1000})
    assert (failure.outcome, failure.reason) == ("over_budget", "not asked: too dear")
    assert asker.server.requests == []
    assert read_folder(asker.folder) == []
    [(tokens, usd)] = told
    assert 20 < tokens < 200
    assert usd == pytest.approx(tokens / 1000)
    assert asker.ask(answers(GOOD)).asked.outcome == "answered", "with more money it is asked"


def test_a_repair_beyond_the_budget_is_not_asked_for_and_what_was_paid_counts(asker):
    failure = asker.fails(says("no"), repairs=5, afford=lambda tokens, _usd: "spent" if tokens > 250 else "")
    assert failure.outcome == "malformed"
    assert failure.reason.endswith("not asked again: spent")
    assert (len(asker.server.requests), failure.asked.prompt_tokens) == (1, 100)


def test_a_limit_of_the_reply_is_told_to_the_endpoint(asker):
    asker.ask(answers(GOOD), output_tokens=123)
    assert asker.server.requests[0]["max_tokens"] == 123
    asker.ask(answers(GOOD), key="other")
    assert not {"max_tokens", "max_completion_tokens"} & asker.server.requests[1].keys()


# ---------------------------------------------------------------- prices


def test_a_roles_own_price_comes_before_the_table_and_the_table_before_autogens():
    table = {"gpt-4o": Price(prompt=1, completion=2), "served-name": Price(prompt=3, completion=4)}
    assert price_of(Model(model="gpt-4o", prices=table, price=Price(prompt=9, completion=9))) == (
        Price(prompt=9, completion=9),
        "llm.price",
    )
    assert price_of(Model(model="gpt-4o", prices=table)) == (table["gpt-4o"], "llm.prices")
    assert price_of(Model(model="alias", prices=table), "served-name") == (table["served-name"], "llm.prices")
    assert price_of(Model(model="gpt-4o"))[1] == "AutoGen's table"
    assert price_of(Model(model="gpt-4o", base_url="http://127.0.0.1:1/v1")) == (None, "")
    assert price_of(Model(model="local", base_url="http://127.0.0.1:1/v1", prices={"local": Price()})) == (Price(), "llm.prices")


def test_questions_are_priced_by_the_table_under_the_name_the_endpoint_gives(asker):
    reply = asker.ask(answers(GOOD), prices={"test-model": {"prompt": 10, "completion": 100}})
    assert reply.asked.usd == pytest.approx((100 * 10 + 10 * 100) / 1e6)
