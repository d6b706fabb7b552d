"""Sends training curves to MLflow and TensorBoard, in addition to the files. Both libraries are imported on use.

MLflow writes to the file `mlflow.db` in RESULTS_DIR, or in the working directory, which `mlflow ui` reads; no server is
needed. MLFLOW_TRACKING_URI names another store. Nothing else is sent: the telemetry of MLflow is off.

What can go wrong. A tracker's server that fails would end a training of hours: so a tracker that fails is dropped, and
the failure is reported once. A resumed run would become a second run in MLflow: so the run's id is stored beside its
checkpoints.
"""

import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from quantd.bundled import placed
from quantd.extras import remedy
from quantd.models.artifacts.folder import first_line
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.training.seeds.records import Tracker

STORE: Final = "mlflow.db"
"""MLflow's database in the results folder."""

ARTIFACTS: Final = "mlruns"
"""Folder of MLflow's artifacts in the results folder."""

RUN_ID_FILE: Final = "mlflow-run.txt"
"""File in a run's folder with the MLflow run id, for resumption."""

A_BATCH: Final = 100
"""Maximum number of parameters in one MLflow call."""

LONGEST: Final = 6_000
"""Maximum length of an MLflow parameter, in characters."""


class TrackerError(ExplainedError, RuntimeError):
    """A tracker that cannot start; the message has reason and remedy."""

    exit_code = CONFIG


def chosen(name: str | None) -> str:
    """Return the name of the tracker beside the files, "" for none. Without a `name` it is MLflow, where installed.

    Raises TrackerError for a tracker that is not installed.
    """
    if name in ("none", "files") or (name is None and find_spec("mlflow") is None):
        return ""
    name = name or "mlflow"
    if find_spec(name) is None:
        raise TrackerError(f"tracker {name}: {name} is not installed; give --tracker files, or {remedy('train')}")
    return name


def tracker(name: str, experiment: str, run: str, folder: Path, *, resume_at: int | None = None) -> Tracker:
    """Create the tracker `name` for one seed with its files in `folder`.

    Raises TrackerError for a server that does not answer.
    """
    if name == "mlflow":
        return Mlflow(experiment, run, folder, resume=resume_at is not None)
    return TensorBoard(folder / "tensorboard", resume_at)


def _results(name: str) -> Path:
    return (placed("RESULTS_DIR") / name).resolve()


class Mlflow:
    """A tracker that writes one run of an MLflow experiment. `store` is an MLflow address; empty: MLflow's default.

    Raises TrackerError where MLflow does not answer, or where the experiment was deleted in MLflow.
    """

    def __init__(self, experiment: str, run: str, folder: Path, *, resume: bool = False, store: str = "") -> None:
        """Begin a run in the experiment, or with `resume` continue the run whose id is stored in `folder`."""
        client = _client()
        address = store or os.environ.get("MLFLOW_TRACKING_URI", "") or f"sqlite:///{_results(STORE)}"
        try:
            placed("RESULTS_DIR").mkdir(parents=True, exist_ok=True)
            self._client: Final = client(tracking_uri=address)
            stored_experiment = self._client.get_experiment_by_name(experiment)
            if stored_experiment is not None and stored_experiment.lifecycle_stage == "deleted":
                raise TrackerError(
                    f"experiment {experiment} was deleted in {address}; restore it there or give another"
                )
            self.experiment: Final[str] = (
                stored_experiment.experiment_id if stored_experiment else self._begin(experiment, address)
            )
            run_file = folder / RUN_ID_FILE
            run_id = run_file.read_text().strip() if resume and run_file.is_file() else ""
            self.run: Final[str] = run_id or self._client.create_run(self.experiment, run_name=run).info.run_id
            if run_id:
                self._client.update_run(run_id, status="RUNNING")
            folder.mkdir(parents=True, exist_ok=True)
            run_file.write_text(f"{self.run}\n")
        except _mlflow_errors() as error:
            raise TrackerError(f"MLflow at {address}: {first_line(error)}") from error

    def log_params(self, params: Mapping[str, object]) -> None:
        """Send every setting by its dotted key, in batches of A_BATCH settings; values are cut to LONGEST characters.

        Nothing is sent for a resumed run: it has its parameters already, and MLflow does not change them.
        """
        from mlflow.entities import Param

        if self._client.get_run(self.run).data.params:
            return
        settings = [Param(_name(key), str(value)[:LONGEST]) for key, value in params.items()]
        for first in range(0, len(settings), A_BATCH):
            self._client.log_batch(self.run, params=settings[first : first + A_BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Send metrics after `step` env-steps; numbers that are not finite are left out."""
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        finite_metrics = [
            Metric(_name(key), value, now_ms, step) for key, value in metrics.items() if math.isfinite(value)
        ]
        if finite_metrics:
            self._client.log_batch(self.run, metrics=finite_metrics)

    def log_artifact(self, path: Path) -> None:
        if path.is_dir():
            self._client.log_artifacts(self.run, str(path), path.name)
        else:
            self._client.log_artifact(self.run, str(path))

    def close(self) -> None:
        self._client.set_terminated(self.run)

    def _begin(self, experiment: str, address: str) -> str:
        """Create an experiment and return its id.

        The artifacts of the experiment are stored beside a local database, else at the server.
        """
        local = address.startswith("sqlite:")
        artifact_location = (_results(ARTIFACTS) / _name(experiment).replace("/", "-")).as_uri() if local else None
        return str(self._client.create_experiment(experiment, artifact_location=artifact_location))


class TensorBoard:
    """A tracker that writes scalars, and the settings as text, to TensorBoard event files in `folder`."""

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # steps after the resumption are written again: TensorBoard hides the earlier ones from this step on
        purge = None if resume_at is None else resume_at + 1
        self._writer: Any = SummaryWriter(str(folder), purge_step=purge, flush_secs=10)

    def log_params(self, params: Mapping[str, object]) -> None:
        rows = "\n".join(f"| {key} | {value} |" for key, value in params.items())
        self._writer.add_text("plan", f"| key | value |\n|---|---|\n{rows}")

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Send metrics after `step` env-steps; numbers that are not finite are left out."""
        for key, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(key, value, step)

    def log_artifact(self, path: Path) -> None:
        """Write the path as text: TensorBoard stores no files."""
        self._writer.add_text("artifact", str(path))

    def close(self) -> None:
        self._writer.close()


class Dropping:
    """A tracker that is dropped when it fails after its start; `say` reports the failure once."""

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self._tracker: Tracker | None = tracker
        self._say: Final = say

    def log_params(self, params: Mapping[str, object]) -> None:
        if self._tracker is not None:
            self._tracker.log_params(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self._try(lambda tracker: tracker.log_metrics(metrics, step))

    def log_artifact(self, path: Path) -> None:
        self._try(lambda tracker: tracker.log_artifact(path))

    def close(self) -> None:
        self._try(lambda tracker: tracker.close())

    def _try(self, do: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            do(self._tracker)
        except Exception as error:  # a tracker may raise anything, and must not end the training
            self._say(f"{type(self._tracker).__name__} takes no more figures of this run: {first_line(error)}")
            self._tracker = None


def _client() -> Any:
    """Return the class MlflowClient, with telemetry and messages about migrations off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    # after the import, which sets them to log every migration
    for name in ("mlflow", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient


def _mlflow_errors() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def _name(key: str) -> str:
    """Return a name with characters that MLflow accepts."""
    return re.sub(r"[^\w\-./ ]", "_", key)
