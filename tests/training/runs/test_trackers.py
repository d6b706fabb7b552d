"""What MLflow and TensorBoard were told is read back by themselves."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from quantd.training.runs import trackers
from quantd.training.runs.trackers import Dropping, Mlflow, TensorBoard, TrackerError

PARAMS: Mapping[str, object] = {
    "learner.gamma": 0.99,
    "data.symbols": ["SPY", "BAC"],
    "profile": "",
    "long": "x" * 9_000,
}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.mark.requirement("R-092", "R-093")
@pytest.mark.long
def test_mlflow_keeps_a_run_that_is_taken_up_again_as_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = here / "run" / "seed-1"
    (here / "card.md").write_text("a card")
    first = Mlflow("an experiment", "seed-1", folder)
    first.log_params(PARAMS)
    first.log_metrics({"validation_score": 0.5, "q value": float("nan"), "loss": 2.0}, 100)
    first.close()
    again = Mlflow("an experiment", "seed-1", folder, resume=True)
    again.log_params({**PARAMS, "steps": 9})
    again.log_metrics({"validation_score": 0.75}, 200)
    again.log_artifact(here / "card.md")
    again.close()
    other = Mlflow("an experiment", "seed-2", here / "run" / "seed-2")
    other.close()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{here / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("an experiment")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"seed-1", "seed-2"}
    run = runs["seed-1"]
    assert run.info.status == "FINISHED"
    assert run.data.params["learner.gamma"] == "0.99"
    assert run.data.params["data.symbols"] == "['SPY', 'BAC']"
    assert len(run.data.params["long"]) == 6_000
    history = client.get_metric_history(run.info.run_id, "validation_score")
    assert [(point.step, point.value) for point in history] == [(100, 0.5), (200, 0.75)]
    assert "q value" not in run.data.metrics
    assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["card.md"]
    assert (here / "mlruns" / "an experiment" / run.info.run_id / "artifacts" / "card.md").read_text() == "a card"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackerError, match="was deleted"):
        Mlflow("an experiment", "seed-3", here / "run" / "seed-3")
    with pytest.raises(TrackerError, match="MLflow at nonsense://here"):
        Mlflow("x", "y", here / "z", store="nonsense://here")


@pytest.mark.requirement("R-092")
def test_tensorboard_reads_the_scalars_and_the_settings(tmp_path: Path) -> None:
    writer = TensorBoard(tmp_path)
    writer.log_params(PARAMS)
    for step in (100, 200, 300):
        writer.log_metrics({"validation_score": step / 400, "loss_value": float("nan")}, step)
    writer.log_artifact(tmp_path / "artifact")
    writer.close()
    again = TensorBoard(tmp_path, resume_at=200)
    again.log_metrics({"validation_score": 9.0}, 300)
    again.close()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["validation_score"]
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("validation_score")] == [
        (100, 0.25),
        (200, 0.5),
        (300, 9.0),
    ]
    (plan,) = events.Tensors("plan/text_summary")
    assert b"| learner.gamma | 0.99 |" in plan.tensor_proto.string_val[0]


class Record:
    """A tracker that keeps what it is told, and breaks when asked to."""

    def __init__(self) -> None:
        self.broken = False
        self.steps: list[int] = []
        self.closed = False

    def log_params(self, params: Mapping[str, object]) -> None:
        pass

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        if self.broken:
            raise ConnectionError("the server is gone\nand more")
        self.steps.append(step)

    def log_artifact(self, path: Path) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_a_tracker_that_breaks_is_left_out_and_training_goes_on() -> None:
    messages: list[str] = []
    record = Record()
    tracker = Dropping(record, messages.append)
    tracker.log_metrics({}, 1)
    record.broken = True
    tracker.log_metrics({}, 2)
    record.broken = False
    tracker.log_metrics({}, 3)
    tracker.close()
    assert (record.steps, record.closed) == ([1], False)
    assert messages == ["Record takes no more figures of this run: the server is gone"]


@pytest.mark.requirement("R-092")
def test_what_is_not_installed_is_refused_by_the_name_of_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [trackers.chosen(name) for name in (None, "tensorboard", "files", "none")]
    assert names == ["mlflow", "tensorboard", "", ""]
    monkeypatch.setattr(trackers, "find_spec", lambda name: find_spec("a_package_that_is_not_there"))
    assert trackers.chosen(None) == ""
    with pytest.raises(TrackerError, match="install quantd with its extra `train`"):
        trackers.chosen("mlflow")
