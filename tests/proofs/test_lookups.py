"""Lookups of the future are not called clean, and honest rules are not accused (`tests.proofs.lookups`)."""

import pytest

from tests.proofs.lookups import CONTAINERS, KEYS, controls, factor_verdict, main, market, plant, verdict


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "container"), [("exact", "dict"), ("nearest", "class"), ("sample", "module"), ("volume", "number")]
)
def test_a_lookup_is_not_called_clean(kind, container, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean, text = verdict(plant(kind, container, market()), market())
    expected = (None, "not decided: answers by date only") if kind == "sample" else (False, "not clean, or in sample")
    assert (clean, text.startswith(expected[1])) == (expected[0], True), text


@pytest.mark.long
def test_a_factor_that_looks_up_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert factor_verdict("rounded", "string", market()) is False


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize(("name", "clean"), [("turn of the month", None), ("fixed mix", True), ("momentum 5", True)])
def test_an_honest_rule_is_not_accused(name, clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verdict(controls()[name], market())[0] is clean


@pytest.mark.slow
def test_every_plant_in_every_container_and_every_control(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    shown = capsys.readouterr().out.splitlines()
    rows = [line for line in shown if line.split()[0] in KEYS]
    assert [len(line.replace("not clean", "no").split()) for line in rows] == [len(CONTAINERS) + 1] * 2 * len(KEYS)
