"""The same work here, in processes and on a cluster: the same results, in whatever order; questions are answered,
losses are told."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quantd.training.runs.seed_pool import spread
from quantd.training.runs.workers import (
    Cluster,
    Executor,
    Failed,
    Here,
    Processes,
    Unavailable,
    WorkerLost,
    executor,
)
from quantd.training.seeds.markets import markets_of
from quantd.training.seeds.seed_run import Progress, fit
from tests.support.studies import plan
from tests.support.worker_functions import counts, fails


class Heard:
    """A Watch that answers "end" once it has heard of `enough`."""

    def __init__(self, enough: int = 1_000) -> None:
        self.enough = enough
        self.told_of: dict[int, list[object]] = {}
        self.results: dict[int, object] = {}

    def told(self, number: int, message: object) -> bool:
        self.told_of.setdefault(number, []).append(message)
        return len(self.told_of[number]) >= self.enough

    def ended(self, number: int, outcome: object) -> None:
        self.results[number] = outcome


def trained(seed: int, tell: Callable[[Progress], bool]) -> tuple[float, bytes]:
    settings = plan(steps=256, evaluate_every=128)
    fitted = fit(settings, markets_of(settings), seed, None, tell)
    weights = fitted.learner.network.vector  # type: ignore[union-attr]
    return fitted.score, weights.detach().numpy().tobytes()


@pytest.mark.long
@pytest.mark.parametrize("where", [Here(), Processes(2)], ids=["here", "processes"])
def test_every_argument_is_worked_on_and_told_of(where: Executor) -> None:
    heard = Heard()
    where.run(counts, iter([3, 1, 4]), heard)
    assert heard.results == {0: 3, 1: 1, 2: 4}
    assert heard.told_of == {0: [0, 1, 2], 1: [0], 2: [0, 1, 2, 3]}
    asked_to_end = Heard(enough=2)
    where.run(counts, iter([5, 1]), asked_to_end)
    assert asked_to_end.results == {0: -1, 1: 1}
    failing = Heard()
    where.run(fails, iter(["well", "raise"]), failing)
    assert failing.results[0] == "well"
    failed = failing.results[1]
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.kind) == ("ValueError: a reason", "ValueError")
    assert "in fails" in failed.trace


@pytest.mark.long
def test_arguments_are_taken_when_a_worker_is_free(tmp_path: Path) -> None:
    heard = Heard()
    result_counts: list[int] = []

    def arguments() -> object:
        for number in range(5):
            result_counts.append(len(heard.results))
            yield number

    Processes(2).run(counts, arguments(), heard)  # type: ignore[arg-type]
    assert result_counts[:2] == [0, 0]
    # two workers may have ended at once
    assert all(count >= number for number, count in enumerate(result_counts[2:], 1))
    assert result_counts[-1] < 5


@pytest.mark.long
def test_when_all_workers_end_at_once_nobody_is_waited_for() -> None:
    class Slow(Heard):
        def ended(self, number: int, outcome: object) -> None:
            super().ended(number, outcome)
            time.sleep(0.3 if len(self.results) == 2 else 0.0)  # the others end meanwhile

    slow = Slow()
    Processes(2).run(fails, iter("abcd"), slow)
    assert slow.results == dict(enumerate("abcd"))


@pytest.mark.long
def test_a_killed_worker_is_told_not_waited_for() -> None:
    with pytest.raises(WorkerLost, match="ended with code -9"):
        Processes(1).run(fails, iter(["die"]), Heard())


@pytest.mark.long
@pytest.mark.requirement("R-094")
def test_seeds_fitted_in_processes_are_those_fitted_here_to_the_bit() -> None:
    here, there = Heard(), Heard()
    Here().run(trained, iter([1, 2]), here)
    Processes(2).run(trained, iter([1, 2]), there)
    assert here.results == there.results
    assert here.results[0] != here.results[1]
    assert not any(isinstance(result, Failed) for result in here.results.values())
    assert [progress.score for progress in there.told_of[0]] == [progress.score for progress in here.told_of[0]]
    assert torch.get_num_threads() == 1


class Away(Processes):
    """As a cluster: what it writes is on another machine."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.shares_disk = False


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("where", [Processes(2), Away(2)], ids=["this disk", "another disk"])
def test_seeds_that_were_spread_are_taken_up_as_if_fitted_here(where: Executor, tmp_path: Path) -> None:
    settings = plan(steps=256, evaluate_every=128)
    markets = markets_of(settings)
    reports: list[tuple[int, int]] = []

    def tell(progress: Progress) -> bool:
        reports.append((progress.seed, progress.steps))
        return False

    asked = spread(settings, lambda seed: tmp_path / str(seed), where, tell, resume=False)
    assert not asked
    assert sorted(reports) == [(1, 128), (1, 256), (2, 128), (2, 256)]
    for seed in (1, 2):
        reference = fit(settings, markets, seed, None, lambda progress: False)
        resumed = fit(settings, markets, seed, tmp_path / str(seed), tell, resume=True)
        assert len(reports) == 4, "it was fitted again"
        assert (resumed.score, resumed.step, resumed.ended) == (reference.score, reference.step, "end")
        vector, resumed_vector = (seed_run.learner.network.vector.detach() for seed_run in (reference, resumed))  # type: ignore[union-attr]
        assert torch.equal(vector, resumed_vector)


def test_no_workers_are_refused() -> None:
    for on in ("local", "ray"):
        with pytest.raises(Unavailable, match="workers must be 1 or more"):
            executor(on, 0)
    with pytest.raises(Unavailable, match="the address ray://a:1 is of a Ray cluster"):
        executor("local", 1, "ray://a:1")
    assert isinstance(executor("local", 1), Here)
    assert isinstance(executor("local", 2), Processes)


@pytest.mark.slow
def test_a_ray_cluster_comes_to_the_same_bits() -> None:
    """A minute: the cluster is begun and ended."""
    pytest.importorskip("ray")
    where = Cluster(2)
    here, there = Heard(), Heard()
    Here().run(trained, iter([1, 2]), here)
    where.run(trained, iter([1, 2]), there)
    assert here.results == there.results
    asked_to_end = Heard(enough=2)
    where.run(counts, iter([5, 1]), asked_to_end)
    assert asked_to_end.results == {0: -1, 1: 1}
    failing = Heard()
    where.run(fails, iter(["well", "raise"]), failing)
    assert failing.results[0] == "well"
    assert isinstance(failing.results[1], Failed)
    with pytest.raises(WorkerLost, match="a task of the cluster was lost"):
        where.run(fails, iter(["die"]), Heard())


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        Cluster(1, "127.0.0.1:1").run(counts, iter([1]), Heard())
