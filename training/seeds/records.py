"""The records of a training run: settings, metrics at each report, and experiment trackers."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from quantd.regular_file import remove
from quantd.training.learners.record import Report

NAMES: Final = {
    "policy": "loss_policy",
    "value": "loss_value",
    "critic": "loss_critic",
    "actor": "loss_actor",
    "error": "td_error",
}
"""Name of a loss of a learner -> its name in the metrics, where the two differ."""


class Tracker(Protocol):
    """Receives the metrics of one seed's run. `Files` is always active; MLflow and others are optional."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log every setting by its dotted key; called once, before any metrics."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics after `step` env-steps; NaN means that a metric was not measured."""
        ...

    def log_artifact(self, path: Path) -> None:
        """Log a file or a folder of the run."""
        ...

    def close(self) -> None: ...


class Files:
    """The tracker that writes params.json, metrics.csv and metrics.jsonl in `folder`.

    With `resume_at`, the rows after this step are removed first, because the resumed run writes them again. Without it,
    the files begin empty.
    """

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        """Remove the records of an earlier run, or with `resume_at` only the rows after this step."""
        self.folder: Final = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._csv, self._jsonl = folder / "metrics.csv", folder / "metrics.jsonl"
        self._columns: list[str] = []
        if resume_at is None:
            remove(self._csv, missing_ok=True)
            remove(self._jsonl, missing_ok=True)
        else:
            self._cut(resume_at)

    def log_params(self, params: Mapping[str, object]) -> None:
        text = msgspec.json.format(msgspec.json.encode(dict(params)), indent=1)
        (self.folder / "params.json").write_bytes(text + b"\n")

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        row = {"step": step, **metrics}
        if not self._columns:
            self._columns = list(row)
            self._append(self._csv, _line(self._columns))
        entries = {name: value for name, value in row.items() if not math.isnan(value)}
        self._append(self._csv, _line([_text(entries.get(name)) for name in self._columns]))
        self._append(self._jsonl, msgspec.json.encode(entries).decode() + "\n")

    def log_artifact(self, path: Path) -> None:
        """No-op: the artifact is a file already."""

    def close(self) -> None:
        """No-op: every row is written immediately."""

    def _append(self, path: Path, text: str) -> None:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)

    def _cut(self, step: int) -> None:
        """Remove the rows after a step, and a last row that was not written completely."""
        if self._csv.exists():
            header, *rows = self._csv.read_text(encoding="utf-8").splitlines(keepends=True)
            kept_lines = [row for row in rows if row.endswith("\n") and int(row.split(",", 1)[0]) <= step]
            self._csv.write_text(header + "".join(kept_lines), encoding="utf-8", newline="")
            self._columns = header.strip().split(",")
        if self._jsonl.exists():
            lines = self._jsonl.read_text(encoding="utf-8").splitlines(keepends=True)
            kept_lines = [line for line in lines if line.endswith("\n") and msgspec.json.decode(line)["step"] <= step]
            self._jsonl.write_text("".join(kept_lines), encoding="utf-8", newline="")


def figures(report: Report, more: Mapping[str, float]) -> dict[str, float]:
    """Return a row of metrics: throughput, returns, losses by name, and the further measurements `more`."""
    row = {"steps_per_s": report.steps_per_s, "mean_return": report.mean_return, "episodes": float(report.episodes)}
    row |= {NAMES.get(name, name): value for name, value in report.losses.items()}
    return row | dict(more)


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
