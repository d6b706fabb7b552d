"""bfloat16 is chosen by the processor's instructions and by the size of the products, and the reason is given."""

import pytest

from quantd.training.plans.plan import default, replaced
from quantd.training.plans.precision import INSTRUCTIONS, precision

LARGE = {"ppo": {"learner.minibatch": 2048}, "sac": {}, "a2c": {"learner.horizon": 64}}


@pytest.mark.requirement("R-095")
@pytest.mark.parametrize("agent", LARGE)
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_large_products_are_in_bfloat16_where_an_instruction_multiplies_it(agent: str, name: str) -> None:
    chosen = precision(replaced(default(agent), LARGE[agent]), {"avx2", name})
    assert chosen == (True, f"bfloat16: the processor has {name}")


@pytest.mark.parametrize("agent", LARGE)
def test_without_the_instructions_products_are_in_float32(agent: str) -> None:
    chosen = precision(replaced(default(agent), LARGE[agent]), {"avx2", "avx512_f"})
    assert chosen == (False, "float32: this processor has neither amx_bf16 nor avx512_bf16")


@pytest.mark.parametrize(
    ("agent", "changes", "reason"),
    [
        ("ppo", {}, "here 64, 256 and 256"),
        ("ppo", {"learner.minibatch": 2048, "learner.hidden": [256, 64]}, "here 2048, 256 and 64"),
        ("sac", {"learner.batch": 128}, "here 128, 256 and 256"),
        ("a2c", {"market.batch": 8}, "here 40, 256 and 256"),
        ("ppo", {"learner.network": "lstm", "learner.hidden": [256]}, "a network of kind lstm"),
    ],
)
def test_products_that_would_not_be_faster_stay_in_float32(agent: str, changes: dict[str, object], reason: str) -> None:
    chosen = precision(replaced(default(agent), changes), INSTRUCTIONS)
    assert not chosen.bfloat16
    assert reason in chosen.reason


def test_other_devices_multiply_bfloat16_whatever_the_processor_has() -> None:
    assert precision(replaced(default("sac"), {"device": "cuda"}), ()).bfloat16
