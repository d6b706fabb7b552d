"""Trains a smaller network on the answers of a larger policy in its own training window. Needs torch.

What can go wrong. A pupil, the smaller network, would be measured on the sessions on which it was trained: so the last
sessions are held out. The pupil would be trained on other data than its teacher: so a file with other content is
refused. A quantized copy as teacher would pass on its rounding, and a network without memory cannot imitate a recurrent
teacher: both teachers are refused.

What the order guarantees. The pupil is written and loaded first and then compared, so that it is measured as it will
trade. It is then written once more with the measurement.
"""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantd.models.artifacts.agent_policy import LearnedAgent, load_agent
from quantd.models.artifacts.card import card_of_pupil
from quantd.models.artifacts.manifest import AgentManifest, ArtifactError, Shape, Training
from quantd.models.artifacts.processor import processor
from quantd.models.history.panel_files import file_digest, read_panel
from quantd.models.history.splits import Split
from quantd.models.observation.sight import observed_by
from quantd.training.export import writer
from quantd.training.export.agreement import agreement
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.cloning import CloningPlan, clone, demonstrations
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.episodes import Episodes
from quantd.training.market.normalisation import Running, Scale
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Market, market_of

HISTORY_DAYS: Final = 300
"""Calendar days of bars that are read before the training window begins, for the lookback of its first session."""


class DistilPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a distillation.

    Raises ValueError for a count or width below 1, and a share of held-out sessions outside (0, 1).
    """

    hidden: tuple[int, ...] = (64, 32)
    batch: int = 16
    """Accounts that the teacher trades in parallel, each along its own trajectory."""
    steps: int = 500
    """Sessions of each account."""
    epochs: int = 60
    held: float = 0.2
    """Fraction of these sessions, the last ones, that are held out for the comparison."""
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.batch, self.steps, self.epochs, *self.hidden) < 1 or not 0.0 < self.held < 1.0 or not self.hidden:
            raise ValueError(f"{self}: counts and widths must be 1 or more, and held between 0 and 1")


# Long because the manifest of the copy needs each step: the teacher and its market, its answers, the pupil that was
# taught them, and what was measured of the pupil as it will trade.
def distil(
    folder: Path,
    out: Path,
    bars: Path,
    actions: Path | None,
    plan: DistilPlan,
    command: str,
    progress: Callable[[str], None],
) -> AgentManifest:
    """Write the distilled copy of the artifact in `folder` to `out`. Raises ArtifactError for a recurrent or a rounded
    teacher, and ValueError for changed bars or too few sessions.

    The market is the training window of the artifact in `folder`, the teacher. `bars` and `actions` are the files that
    the teacher was trained on: a file that has the name of one of them but other content is refused.
    """
    teacher = load_agent(folder, {})
    manifest = teacher.artifact.manifest
    if manifest.network.carry:
        raise ArtifactError(f"{folder}: the policy has a memory, which a network without memory cannot imitate")
    if manifest.precision != "float32":
        raise ArtifactError(f"{folder}: it is {manifest.precision}; name the artifact that it was made from")
    torch.set_num_threads(1)
    for path in (bars, actions):
        recorded_digest = manifest.training.data.get(path.name) if path is not None else None
        if path is not None and recorded_digest is not None and recorded_digest != file_digest(path):
            raise ValueError(f"{path} is not the file that {folder} was trained on: its content differs")
    market = _market(manifest, bars, actions)
    action = manifest.action
    env = Simulator(
        market,
        batch=plan.batch,
        kind=action.kind,
        allocations=writer.grid_of(manifest) if action.kind == "discrete" else None,
        episodes=Episodes(length=min(250, market.last - market.first)),
        gross=action.gross,
        seed=plan.seed,
    )
    progress(f"asking the teacher {plan.batch * plan.steps} times")
    observed, teacher_actions = demonstrations(
        env, lambda rows: _environment_actions(teacher, rows), plan.steps, plan.seed
    )
    # rows are in the order of sessions, `batch` rows in each: the rows from `cut` on are the last sessions
    cut = int(plan.steps * (1.0 - plan.held)) * plan.batch
    if not 0 < cut < len(observed):
        raise ValueError(f"{plan.steps} sessions are too few to train on some and hold out others; raise --steps")
    running = Running(observed.shape[1], observed.device)
    running.add(observed[:cut])
    scaling = Scale(running.mean, running.deviation())
    learner = Ppo(PpoPlan(hidden=plan.hidden), env.observation_size, env.action_size, env.kind, plan.seed)
    progress(f"teaching {cut} answers, {plan.epochs} times each")
    losses = clone(learner, scaling.of(observed[:cut]), teacher_actions[:cut], CloningPlan(epochs=plan.epochs))
    progress(f"loss {losses[0]:.4f} at first, {losses[-1]:.4f} at last")
    pupil = msgspec.structs.replace(
        manifest,
        name=out.name,
        algorithm="cloning",
        profile="",
        network=Shape("mlp", plan.hidden, writer.parameters_of(learner)),
        plan=writer.plain(plan),
        results={},
        seats=(),
        parent=manifest.digest,
        made=command,
        training=_training(manifest.training, command, plan),
    )
    # written twice: the first copy is loaded and measured as it will trade, the second one has the measured agreement
    writer.write(out, pupil, learner, scaling, b"")
    held_out: NDArray[np.float32] = observed[cut:].numpy()
    pupil = msgspec.structs.replace(pupil, agreement=agreement(teacher, load_agent(out, {}), held_out), likeness=None)
    return writer.write(out, pupil, learner, scaling, card_of_pupil(pupil, manifest.name).encode())


def _training(teacher_record: Training, command: str, plan: DistilPlan) -> Training:
    """Return the record of a pupil's training: its teacher's data and windows, and its own command and processor."""
    return msgspec.structs.replace(
        teacher_record, command=command, seeds=(plan.seed,), chosen_seed=plan.seed, chosen_iteration=plan.epochs,
        processor=processor().text,
    )  # fmt: skip


def _environment_actions(teacher: LearnedAgent, rows: Tensor) -> Tensor:
    """Return the B actions for the environment: weights float[B, N + 1] with cash last, positions float[B, N], or
    indices of allocations int64[B].
    """
    decisions = [teacher.decide(row[None]) for row in rows.float().numpy()]
    match teacher.artifact.manifest.action.kind:
        case "discrete":
            return torch.tensor([int(decision.scores.argmax()) for decision in decisions])
        case "box":
            return torch.from_numpy(np.stack([decision.weights for decision in decisions])).float()
        case "simplex":
            weights = np.stack([decision.weights for decision in decisions])
            cash = np.maximum(1.0 - weights.sum(axis=1, keepdims=True), 0.0)
            return torch.from_numpy(np.concatenate([weights, cash], axis=1)).float()


def _market(manifest: AgentManifest, bars: Path, actions: Path | None) -> Market:
    """Read the market of the policy's training window."""
    window = manifest.training.windows.get("train")
    if window is None:
        raise ArtifactError(f"its manifest has no window train, only {', '.join(manifest.training.windows)}")
    split = Split("train", date.fromisoformat(window.first), date.fromisoformat(window.last))
    first_day_read = split.first - timedelta(days=max(HISTORY_DAYS, 2 * manifest.sight.lookback))
    panel = read_panel(bars, actions, manifest.universe, first_day_read, split.last, sources=manifest.sources)
    observed = observed_by(manifest.sight, panel)
    rows = split.rows(panel.day_ns)
    return market_of(panel, observed, range(max(rows.start, observed.warm), rows.stop))
