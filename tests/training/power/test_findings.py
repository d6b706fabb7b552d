"""Findings are appended and read again, and few seeds have no verdict."""

from pathlib import Path

import msgspec

from quantd.training.power.findings import Finding, append, read_findings, verdict

ONE = Finding(
    "cell", "ppo", "ppo", "feature 1", "feature", 1.0, 15.0, 1, 1.1, 0.1, 2.1, True, 0.8, 1.2, 300.0, 9.0, "commit"
)


def seeds(count: int, **changes: object) -> list[Finding]:
    return [msgspec.structs.replace(ONE, seed=seed, **changes) for seed in range(1, count + 1)]  # type: ignore[arg-type]


def test_fewer_than_ten_seeds_have_no_verdict() -> None:
    assert verdict(seeds(9)) == "no verdict (9 of 10 seeds)"
    assert verdict(seeds(10)) == "above in 10 of 10, share 50% (50% to 50%)"
    assert verdict(seeds(10, attainable=False)) == "no rule that was tried"


def test_without_a_signal_the_verdict_counts_the_seeds_that_do_not_differ() -> None:
    same = seeds(10, ic=0.0, low=-0.1, high=0.1)
    assert verdict(same) == "not distinguishable in 10 of 10, below in 0"
    below = [msgspec.structs.replace(same[0], low=-0.2, high=-0.1), *same[1:]]
    assert verdict(below) == "not distinguishable in 9 of 10, below in 1"
    assert verdict([msgspec.structs.replace(same[0], low=0.1, high=0.2), *same[1:]]).startswith(
        "not distinguishable in 9"
    )


def test_findings_are_appended_and_a_repeated_seed_replaces_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "found" / "findings.jsonl"
    assert read_findings(path) == []
    for finding in (*seeds(2), msgspec.structs.replace(ONE, growth=2.0)):
        append(path, finding)
    assert [(finding.seed, finding.growth) for finding in read_findings(path)] == [(1, 2.0), (2, 1.1)]
    assert len(path.read_text().splitlines()) == 3
