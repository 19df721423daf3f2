"""A role that has spent its own budget: who works ends the run with its best policy, a critic leaves it to the success test."""

from model_endpoint import endpoint
from running import Rlgpt, published, story

from rlgpt.bus.messages import BudgetSpent, ModelAsked, SkillReviewed

SMALL = ("trainer.env_steps=512", "trainer.rollout=32", "loops.trial_episodes=3", "evaluation.episodes=4", "loops.plans=1")


def live(url: str) -> tuple[str, ...]:
    return (*SMALL, "llm.model=by-hand", f"llm.base_url={url}", "llm.prices={by-hand: {prompt: 1000, completion: 1000}}")


def test_a_fast_agent_out_of_tokens_ends_the_run_before_it_asks(rlgpt: Rlgpt):
    with endpoint() as model:
        launcher, run = rlgpt.launch(*live(model.url), "budgets.roles={fast: {tokens: 50}}")
        said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode == 3, said
    assert model.asked == ["plan"]
    (spent,) = published(run, BudgetSpent.TOPIC)
    message = spent.message()
    assert (spent.source, message.role, message.budget, message.limit) == ("fast", "fast", "tokens", 50)
    assert message.used > 50
    assert "budget spent: fast's tokens: rl-gpt/plan-1/fast/swing_back/attempt-1 was not asked" in said
    assert "110 tokens, $0.11" in said
    assert story(run).state.finished.outcome == "budget_spent"


def test_each_role_asks_its_own_model_and_a_critic_out_of_money_leaves_it_to_the_success_test(rlgpt: Rlgpt):
    with endpoint() as model:
        of_its_own = "llm.roles={fast: {model: quick}, critic: {price: {prompt: 1000, completion: 1000}}}"
        launcher, run = rlgpt.launch(*live(model.url), of_its_own, "budgets.roles={critic: {usd: 0.05}}")
        said, _ = launcher.communicate(timeout=200)
    assert launcher.returncode in (0, 1), said
    assert list(zip(model.asked, (request["model"] for request in model.requests), strict=True)) == [
        ("plan", "by-hand"),
        ("skill", "quick"),
        ("skill", "quick"),
        ("set_up", "quick"),
    ]
    assert "trial_review" not in model.asked
    assert "plan_review" not in model.asked
    first, second = [envelope.message() for envelope in published(run, SkillReviewed.TOPIC)]
    assert (first.verdict, second.verdict) == ("revise", "accept")
    assert "by the success test alone" in first.why
    assert "the budget of the role 'critic' is 0.05 usd" in first.why
    outcomes = {envelope.message().outcome for envelope in published(run, ModelAsked.TOPIC) if envelope.source == "critic"}
    assert outcomes == {"over_budget"}
    assert published(run, BudgetSpent.TOPIC) == []
