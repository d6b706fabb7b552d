"""Checkpoints of a training seed: tensors in safetensors, the rest in JSON with a hash of the tensors.

To read a checkpoint executes no code. Files are written under a temporary name and renamed, the JSON last. A checkpoint
exists when its JSON file exists.

What can go wrong. A process that is killed while it writes would leave half a checkpoint: so the JSON is written last,
and without it there is no checkpoint. A file may be cut short or changed: so the JSON has size and hash of the tensors,
and a digest of itself. A run would go on under another plan: so every key on which the completed steps depend must be
equal. These are all keys except those in FREE, such as the number of steps or of checkpoints.

What the order guarantees. The JSON of a checkpoint is removed first, so that no JSON names tensors that are removed.
Older checkpoints are removed after the new one is complete.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save
from torch import Tensor

from quantd import regular_file
from quantd.models.artifacts.folder import digest_of
from quantd.trading.exit_codes import ExplainedError
from quantd.training.learners.record import State
from quantd.training.plans.plan import Plan, described

SCHEMA: Final = 1
LARGEST: Final = 1 << 33
"""Maximum size of the tensors in bytes: 8 GiB, more than a replay memory of a million steps needs."""

FREE: Final = (
    "name", "steps", "seeds", "keep", "checkpoint_every", "splits.test.first", "splits.test.last", "tuning_trials",
)  # fmt: skip
"""Keys of a plan that may change at a resumption, because completed steps do not depend on them."""


class CheckpointError(ExplainedError, ValueError):
    """A damaged checkpoint, or one of another plan; the message names file, fault and previous checkpoint."""


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """The progress of a training seed, as a checkpoint stores it."""

    seed: int
    step: int
    evaluated: int = 0
    """Step of the last evaluation."""
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    """Number of evaluations since the best one."""
    ended: str = ""
    """Why the seed ended; empty while it continues."""


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the JSON file of a checkpoint."""

    schema: int
    place: Place
    plan: dict[str, object]
    numbers: dict[str, int | float]
    blobs: dict[str, bytes]
    size: int
    blake2b: str
    digest: str = ""
    """Hash of this page with an empty `digest`."""


def write(path: Path, plan: Plan, place: Place, state: State) -> None:
    """Write a checkpoint: the files `path`.safetensors and `path`.json.

    `state` has tensors, numbers and bytes by name. The JSON has the plan, the progress `place`, and the digests of the
    tensors and of itself. The JSON is written last, so that a checkpoint without it is not complete.
    """
    tensors = {name: value.contiguous() for name, value in state.items() if isinstance(value, Tensor)}
    data = save(tensors)
    page = Page(
        SCHEMA,
        place,
        described(plan),
        {name: value for name, value in state.items() if isinstance(value, int | float)},
        {name: value for name, value in state.items() if isinstance(value, bytes)},
        len(data),
        digest_of(data),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    regular_file.write_whole(path.with_suffix(".safetensors"), data)
    regular_file.write_whole(path.with_suffix(".json"), msgspec.json.encode(_sealed(page)) + b"\n")


def read(path: Path, plan: Plan) -> tuple[Place, State]:
    """Read and check a checkpoint. Returns (progress of the training, learner's state).

    `plan` must have the settings of the checkpoint, except those that a resumed training may change.

    Raises CheckpointError for a missing or changed file, and for a checkpoint of another plan.
    """
    page = _checked_page(path)
    present, stored = _fixed(described(plan)), _fixed(page.plan)
    differs = [key for key in {**present, **stored} if present.get(key) != stored.get(key)]
    if differs:
        key = differs[0]
        raise CheckpointError(
            f"{path}.json: made with {key} = {stored.get(key)!r}; this plan has {present.get(key)!r}. "
            "Go on with the plan of the checkpoint, or begin another run under another name"
        )
    tensor_file = path.with_suffix(".safetensors")
    try:
        size = tensor_file.stat().st_size
        if size != page.size or size > LARGEST:
            raise CheckpointError(f"{tensor_file}: {size} bytes; {page.size} were written{_remedy(path)}")
        data = tensor_file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{tensor_file}: {error.strerror}{_remedy(path)}") from None
    if digest_of(data) != page.blake2b:
        raise CheckpointError(
            f"{tensor_file}: its content was changed after it was written (BLAKE2b differs){_remedy(path)}"
        )
    try:
        tensors = tensors_of(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{tensor_file}: {error}{_remedy(path)}") from None
    return page.place, {**tensors, **page.numbers, **page.blobs}


def path_of(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint after `step` env-steps, without suffix."""
    return folder / f"step-{step:012d}"


def there(folder: Path) -> list[Path]:
    """Return the paths of the checkpoints of `folder` without suffix, oldest first.

    The checkpoint of the best evaluation has another name, and is left out.
    """
    return sorted(path.with_suffix("") for path in folder.glob("step-*.json"))


def remove(*paths: Path) -> None:
    """Remove the checkpoints at paths without suffix."""
    for path in paths:
        # the JSON first: a checkpoint exists while its JSON does
        regular_file.remove(path.with_suffix(".json"), missing_ok=True)
        regular_file.remove(path.with_suffix(".safetensors"), missing_ok=True)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints from a folder; also remove incomplete files."""
    remove(*there(folder)[:-keep])
    for leftover in folder.glob("*.partial"):
        regular_file.remove(leftover, missing_ok=True)


def _checked_page(path: Path) -> Page:
    """Read and check the JSON of a checkpoint. Raises CheckpointError."""
    json_file = path.with_suffix(".json")
    try:
        page = msgspec.json.decode(json_file.read_bytes(), type=Page)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{json_file}: {error}{_remedy(path)}") from None
    except OSError as error:
        raise CheckpointError(f"{json_file}: {error.strerror}{_remedy(path)}") from None
    if page.schema != SCHEMA:
        raise CheckpointError(f"{json_file}: schema {page.schema}; this quantd reads {SCHEMA}{_remedy(path)}")
    if page != _sealed(page):
        raise CheckpointError(f"{json_file}: it was changed after it was written (its digest differs){_remedy(path)}")
    return page


def _remedy(path: Path) -> str:
    """Return the remedy for a damaged checkpoint: continue from the previous checkpoint, or begin again."""
    earlier = [checkpoint for checkpoint in there(path.parent) if checkpoint.name < path.name]
    if not earlier:
        return ". There is no earlier checkpoint: begin again without --resume"
    return f". The previous checkpoint is {earlier[-1].name}: remove {path.name}.json and resume again to use it"


def _fixed(plan: dict[str, object]) -> dict[str, object]:
    """Return the settings of a plan that must be equal when a training is resumed, in JSON types."""
    return msgspec.json.decode(msgspec.json.encode({k: v for k, v in plan.items() if k not in FREE}))


def _sealed(page: Page) -> Page:
    """Return the JSON content of a checkpoint with its digest filled in."""
    bare = msgspec.structs.replace(page, digest="")
    return msgspec.structs.replace(bare, digest=digest_of(msgspec.json.encode(bare)))


def place_of(path: Path) -> Place:
    """Return the progress in a checkpoint, without its tensors. Raises CheckpointError for an unreadable checkpoint."""
    return _checked_page(path).place
