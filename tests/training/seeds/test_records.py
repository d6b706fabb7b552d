"""Rows of metrics are whole, have one header, and those about to be made again are taken out."""

import csv
import math
from pathlib import Path

from quantd.training.seeds.records import Files


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_was_not_measured_is_an_empty_cell(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.log_metrics({"loss": 0.5, "score": math.nan}, 10)
    files.log_metrics({"loss": 0.25, "score": 1.5}, 20)
    assert rows(tmp_path) == [
        {"step": "10", "loss": "0.5", "score": ""},
        {"step": "20", "loss": "0.25", "score": "1.5"},
    ]
    assert (tmp_path / "metrics.jsonl").read_text() == ('{"step":10,"loss":0.5}\n{"step":20,"loss":0.25,"score":1.5}\n')


def test_going_on_takes_out_later_rows_and_one_that_was_cut_short(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for step in (10, 20, 30):
        files.log_metrics({"loss": step / 2}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("15,0.")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step":1')
    again = Files(tmp_path, resume_at=20)
    again.log_metrics({"loss": 7.0}, 30)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("10", "5.0"), ("20", "10.0"), ("30", "7.0")]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_beginning_anew_leaves_nothing_of_before(tmp_path: Path) -> None:
    Files(tmp_path).log_metrics({"loss": 1.0}, 10)
    Files(tmp_path).log_metrics({"other": 2.0}, 5)
    assert rows(tmp_path) == [{"step": "5", "other": "2.0"}]
