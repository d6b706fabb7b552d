"""A checkpoint is whole or it is refused, with the reason and with what is there before it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quantd.training.plans.plan import default, replaced
from quantd.training.seeds import checkpoints
from quantd.training.seeds.checkpoints import CheckpointError, Place, path_of, read, there, write

PLAN = default("ppo")
STATE = {
    "weights": torch.arange(5.0),
    "random": torch.tensor([1, 2], dtype=torch.uint8),
    "steps": 7,
    "pace": 0.5,
    "raw": b"ab",
}


def made(folder: Path) -> Path:
    for step in (100, 200):
        write(path_of(folder, step), PLAN, Place(1, step, best_score=0.25), STATE)
    return path_of(folder, 200)


@pytest.mark.requirement("R-103")
def test_what_is_written_comes_back(tmp_path: Path) -> None:
    place, state = read(made(tmp_path), PLAN)
    assert place == Place(1, 200, best_score=0.25)
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        other = state[name]
        assert torch.equal(value, other) if isinstance(value, Tensor) and isinstance(other, Tensor) else value == other
    assert there(tmp_path) == [path_of(tmp_path, 100), path_of(tmp_path, 200)]


def harmed(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("suffix", "change", "reason"),
    [
        (".safetensors", lambda data: data[:-3], r"bytes; \d+ were written"),
        (".safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "changed after it was written"),
        (".json", lambda data: data[:50], ""),
        (".json", lambda data: data.replace(b'"step":200', b'"step":201'), "changed after it was written"),
        (".json", lambda data: data.replace(b'"steps":7', b'"steps":8'), "changed after it was written"),
        (".json", lambda data: data.replace(b'"learner.gamma":0.99', b'"learner.gamma":0.98'), "changed after it was"),
    ],
)
def test_one_that_was_harmed_is_refused_and_the_one_before_is_named(
    tmp_path: Path, suffix: str, change: Callable[[bytes], bytes], reason: str
) -> None:
    path = made(tmp_path)
    harmed(path.with_suffix(suffix), change)
    with pytest.raises(CheckpointError, match=f"{reason}.*The previous checkpoint is step-000000000100"):
        read(path, PLAN)


def test_the_first_one_has_none_before_it(tmp_path: Path) -> None:
    made(tmp_path)
    path_of(tmp_path, 100).with_suffix(".safetensors").unlink()
    with pytest.raises(CheckpointError, match="no earlier checkpoint: begin again without --resume"):
        read(path_of(tmp_path, 100), PLAN)


def test_another_plan_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(CheckpointError, match=r"made with learner.gamma = 0.99; this plan has 0.95"):
        read(path, replaced(PLAN, {"learner.gamma": 0.95}))
    for key, value in {"steps": 5, "keep": 9, "seeds": [4], "name": "other"}.items():
        assert read(path, replaced(PLAN, {key: value}))[0].step == 200


@pytest.mark.requirement("R-103")
def test_only_the_newest_are_kept_and_halves_are_swept_away(tmp_path: Path) -> None:
    for step in range(1, 6):
        write(path_of(tmp_path, step), PLAN, Place(1, step), STATE)
    (tmp_path / "step-000000000009.json.partial").write_bytes(b"{")
    checkpoints.prune(tmp_path, 2)
    assert there(tmp_path) == [path_of(tmp_path, 4), path_of(tmp_path, 5)]
    assert len(list(tmp_path.iterdir())) == 4
