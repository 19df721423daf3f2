"""The user's own price table: what it says of models counts in every run, and what does not belong there is refused without being shown."""

from pathlib import Path

import pytest

from rlgpt.bus.models import Price
from rlgpt.runtime.preflight import NotReady, check_models
from rlgpt.runtime.prices import PricesInvalid, user_prices
from rlgpt.runtime.scenario import Scenario, load

PLANTED = "sk-planted-0123456789abcdef"
LIVE = ("llm.model=my-model", "llm.base_url=http://127.0.0.1:9/v1")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "rlgpt" / "prices.yaml"
    path.parent.mkdir()
    return path


def test_the_users_prices_become_part_of_the_scenario_as_resolved(table: Path, tmp_path: Path):
    table.write_text("my-model: {prompt: 2.5, completion: 10}\n'llama3:8b': {}\n")
    loaded = load("mountain_car", LIVE)
    assert loaded.task.llm.of("fast").prices == {"my-model": Price(prompt=2.5, completion=10), "llama3:8b": Price()}
    (tmp_path / "scenario.yaml").write_text(loaded.resolved())
    table.unlink()
    assert load(str(tmp_path)).task.llm.prices == loaded.task.llm.prices


def test_the_scenarios_own_prices_come_before_the_users(table: Path):
    table.write_text("my-model: {prompt: 2.5, completion: 10}\nother: {prompt: 1}\n")
    loaded = load("mountain_car", (*LIVE, "llm.prices={my-model: {prompt: 7}}"))
    assert loaded.task.llm.prices == {"my-model": Price(prompt=7), "other": Price(prompt=1)}


def test_no_table_is_no_prices(table: Path):
    assert user_prices() == {}
    table.write_text("# nothing yet\n")
    assert user_prices() == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"my-model: {{prompt: 1, api_key: {PLANTED}}}", "my-model.api_key: Extra inputs"),
        (f"my-model: {PLANTED}", "my-model: "),
        (f"my-model: {{prompt: {PLANTED}}}", "my-model.prompt: "),
        (f"- {PLANTED}", "expected model names"),
        (f"my-model: {{prompt: '{PLANTED}", "line 1: not YAML"),
        ("my-model: {prompt: -1}", "greater than or equal to 0"),
    ],
)
def test_a_table_with_something_else_in_it_is_refused_and_a_key_in_it_not_shown(table: Path, text: str, words: str):
    table.write_text(text)
    with pytest.raises(PricesInvalid) as caught:
        load("mountain_car", LIVE)
    assert words in str(caught.value)
    assert str(table) in str(caught.value)
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("budget", ["budgets.usd=1", "budgets.roles={critic: {usd: 1}}"])
def test_a_budget_in_money_needs_models_whose_price_is_known(table: Path, budget: str):
    def ready(*more: str) -> None:
        loaded = load("mountain_car", (*LIVE, budget, *more))
        check_models(Scenario(loaded.task, loaded.source, transcript=b""))

    with pytest.raises(NotReady, match=r"the price of model 'my-model' is not known.*prices\.yaml"):
        ready()
    ready("llm.price={prompt: 0, completion: 0}")
    ready("llm.prices={my-model: {prompt: 1, completion: 1}}")
    table.write_text("my-model: {prompt: 1, completion: 1}")
    ready()
