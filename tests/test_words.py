"""Counts of locals that tell nothing of what they hold."""

from functools import cache
from pathlib import Path

import pytest

from scripts.words import KEPT, PLACES, ROOT, Binding, bindings, bindings_of

SOURCE = '''
def total(rest, *, order):
    """The word found in a docstring is no binding."""
    own = {"left": 1}
    for each, (known, price) in rest:
        whole = [made for made in each]
        own.left = known
    try:
        with open("x") as told:
            pass
    except OSError as found:
        print(found)
    match own:
        case {"apart": apart, **others}:
            return lambda seat: seat
    if (unpaid := order.left):
        return unpaid
'''


def test_each_binding_is_counted_once_and_no_attribute_keyword_or_text_is() -> None:
    words = [binding.word for binding in bindings(SOURCE, "total.py")]
    assert sorted(words) == [
        "apart",
        "each",
        "found",
        "known",
        "made",
        "others",
        "own",
        "rest",
        "seat",
        "told",
        "whole",
    ]


@cache
def here() -> list[Binding]:
    """The bindings of the product and the tests."""
    return list(bindings_of(PLACES))


@pytest.mark.long
def test_the_packages_of_the_product_and_the_tests_are_read() -> None:
    assert {Path(binding.module).parts[0] for binding in here()} <= {Path(p).parts[0] for p in PLACES}
    assert all((ROOT / place).is_dir() for place in PLACES)


@pytest.mark.long
def test_a_binding_has_a_reason_to_stay_and_each_reason_has_a_binding() -> None:
    stays = {(binding.module, binding.word) for binding in here()}
    assert stays == set(KEPT)
    assert all(reason.strip() for reason in KEPT.values())
