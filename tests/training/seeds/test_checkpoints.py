"""A checkpoint is whole or it is refused, with the reason and with what is there before it."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quantd.training.plans.plan import default, replaced
from quantd.training.seeds import checkpoints
from quantd.training.seeds.checkpoints import CheckpointError, Place, path_of, place_of, read, there, write

PLAN = default("ppo")
STATE = {
    "weights": torch.arange(5.0),
    "random": torch.tensor([1, 2], dtype=torch.uint8),
    "steps": 7,
    "pace": 0.5,
    "raw": b"ab",
}


def made(folder: Path) -> Path:
    """Two of them; the newer one."""
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


def test_a_truncated_one_is_refused_and_the_one_before_is_named(tmp_path: Path) -> None:
    path = made(tmp_path)
    tensors = path.with_suffix(".safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-3])
    with pytest.raises(
        CheckpointError, match=r"bytes; \d+ were written. The previous checkpoint is step-000000000100: remove"
    ):
        read(path, PLAN)


def test_one_with_another_bit_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    tensors = path.with_suffix(".safetensors")
    data = bytearray(tensors.read_bytes())
    data[-1] ^= 1
    tensors.write_bytes(bytes(data))
    with pytest.raises(
        CheckpointError, match=r"changed after it was written .* The previous checkpoint is step-000000000100"
    ):
        read(path, PLAN)


@pytest.mark.parametrize("key", ["place", "numbers", "plan"])
def test_an_edited_page_is_refused(tmp_path: Path, key: str) -> None:
    path = made(tmp_path)
    page = json.loads(path.with_suffix(".json").read_text())
    inner = {"place": "step", "numbers": "steps", "plan": "learner.gamma"}[key]
    page[key][inner] = page[key][inner] + 1
    path.with_suffix(".json").write_text(json.dumps(page))
    with pytest.raises(CheckpointError, match="changed after it was written"):
        read(path, PLAN)


def test_half_a_page_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    page = path.with_suffix(".json")
    page.write_bytes(page.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="The previous checkpoint is step-000000000100"):
        place_of(path)


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
