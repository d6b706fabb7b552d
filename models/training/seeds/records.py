"""What a run leaves to be read: its settings, a row of figures for each report, and whoever else wants them."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from quantd.models.learners.record import Report

NAMES: Final = {
    "policy": "loss_policy",
    "value": "loss_value",
    "critic": "loss_critic",
    "actor": "loss_actor",
    "error": "td_error",
}
"""Of losses, where a learner's own word says too little."""


class Tracker(Protocol):
    """Where the figures of one run of one seed go. Files are always written; MLflow and others are more of these."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Every setting by its dotted key, once, before anything else."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Figures after `step` env-steps; one that is not a number was not measured."""
        ...

    def log_artifact(self, path: Path) -> None:
        """A file or a folder that the run made."""
        ...

    def close(self) -> None: ...


class Files:
    """params.json, metrics.csv and metrics.jsonl in `folder`. With `resume_at`, rows of later steps are taken out
    first: they are about to be made again."""

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        self.folder: Final = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._csv, self._jsonl = folder / "metrics.csv", folder / "metrics.jsonl"
        self._columns: list[str] = []
        if resume_at is None:
            self._csv.unlink(missing_ok=True)
            self._jsonl.unlink(missing_ok=True)
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
        known = {name: value for name, value in row.items() if not math.isnan(value)}
        self._append(self._csv, _line([_text(known.get(name)) for name in self._columns]))
        self._append(self._jsonl, msgspec.json.encode(known).decode() + "\n")

    def log_artifact(self, path: Path) -> None:
        """It is a file already."""

    def close(self) -> None:
        """Every row is written as it comes."""

    def _append(self, path: Path, text: str) -> None:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)

    def _cut(self, step: int) -> None:
        if self._csv.exists():
            header, *rows = self._csv.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [row for row in rows if row.endswith("\n") and int(row.split(",", 1)[0]) <= step]
            self._csv.write_text(header + "".join(whole), encoding="utf-8", newline="")
            self._columns = header.strip().split(",")
        if self._jsonl.exists():
            lines = self._jsonl.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and msgspec.json.decode(line)["step"] <= step]
            self._jsonl.write_text("".join(kept), encoding="utf-8", newline="")


def figures(report: Report, more: Mapping[str, float]) -> dict[str, float]:
    """A row of metrics: throughput, returns, losses by name, and what else was measured."""
    row = {"steps_per_s": report.steps_per_s, "mean_return": report.mean_return, "episodes": float(report.episodes)}
    row |= {NAMES.get(name, name): value for name, value in report.losses.items()}
    return row | dict(more)


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
