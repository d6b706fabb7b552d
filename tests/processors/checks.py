"""The checks of one row, in a process that began with its setting: golden runs, artifacts, copies and trainings.

python -m tests.processors.checks FORM FOLDER OUT writes the results as JSON to OUT. FOLDER is shared by all rows: the
plain one, which is first, writes its copies and answers there.
"""

import json
import os
import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Final

import msgspec
import numpy as np
import torch

from quantd.models.artifacts.agent_policy import load_agent
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.processor import processor
from quantd.training.export.agreement import answers, probes_of
from quantd.training.export.quantization import quantize
from quantd.training.plans.plan import Plan, read
from quantd.training.runs.training_run import train
from tests.golden.runs import difference, kept, row_of, runs
from tests.processors.settings import glibc_avx2
from tests.support.artifacts import written
from tests.support.checkout import ROOT
from tests.support.training import bars, plan

SHIPPED: Final = ROOT / "models" / "shipped"
QUICK_RUN: Final = "engine daily, tight limits: 20 x 400"
QUICK_COPIES: Final = ("ppo lstm", "dqn")
COPIES: Final = (*QUICK_COPIES, "a2c", "full", "lite", "ppo", "sac")
STEPS: Final = 6_000
"""Env-steps of a short training of one seed of the examples."""

QUICK_STEPS: Final = 400
QUICK_SPLITS: Final[dict[str, object]] = {
    "splits__train": {"first": date(2016, 2, 1), "last": date(2016, 6, 30)},
    "splits__validation": {"first": date(2016, 7, 1), "last": date(2016, 8, 31)},
    "splits__test": {"first": date(2016, 9, 1), "last": date(2016, 10, 31)},
}
"""A tiny training, of some tenths of a second."""

SAME: Final = 1e-3
"""Largest difference of a weight of one copy between two processors: an input may be rounded to its neighbour."""


def onednn() -> str:
    """The instruction set that oneDNN reports, from the head of its verbose output; empty without oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return ""
    sys.stdout.flush()
    before = os.dup(1)
    with TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                torch.nn.functional.conv2d(torch.ones(1, 64, 32, 32), torch.ones(64, 64, 3, 3))
        finally:
            os.dup2(before, 1)
            os.close(before)
        file.seek(0)
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.partition("isa:")[2] for line in lines if ",cpu,isa:" in line), "")


def golden(form: str, folder: Path) -> dict[str, str]:
    """Name of a run -> its difference to the kept row; empty for none."""
    rows = kept()
    chosen = {
        name: run
        for name, run in runs().items()
        if (name == QUICK_RUN if form == "quick" else form == "long" or not run.long)
    }
    return {
        f"golden {name}": difference(name, rows.get(name), row_of(run.make(folder))) for name, run in chosen.items()
    }


def artifacts() -> dict[str, str]:
    """Name of a shipped artifact -> why a start refuses it; empty where its probes are answered as recorded."""
    results = {}
    for place in sorted(SHIPPED.iterdir()):
        try:
            load_artifact(place, {})
            results[f"artifact {place.name}"] = ""
        except ValueError as error:
            results[f"artifact {place.name}"] = str(error)
    return results


def copies(names: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Name of a copy in eight bits, made under the plain setting -> its difference there; empty for none."""
    results = {}
    for name in names:
        place, file = folder / name, folder / f"{name}.npy"
        try:
            if not file.exists():
                parent = SHIPPED / name if (SHIPPED / name).is_dir() else folder / f"parent of {name}"
                if not parent.exists():
                    written(parent, name)
                quantize(parent, place, "int8", "tests.processors")
            agent = load_agent(place, {})
            manifest = agent.artifact.manifest
            given = answers(agent, probes_of(manifest.sight, len(manifest.universe)))
            if not file.exists():
                np.save(file, given)
            distances = np.abs(given - np.load(file)).max(axis=1)
            other = int((distances > SAME).sum())
            results[f"copy {name}"] = (
                f"{other} of {len(distances)} answers differ, by up to {distances.max():.2g}" if other else ""
            )
        except ValueError as error:
            results[f"copy {name}"] = str(error)
    return results


def trainings(form: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Name of a learner -> the test Sharpe ratio of a short training of one seed, and the digest of its graph."""
    results = {}
    for name in ("dqn",) if form == "quick" else ("ppo", "dqn"):
        manifest = train(plan_of(form, name, folder), folder / name, "tests.processors", lambda progress: False)
        graph, sharpe = manifest.files["policy.onnx"].blake2b, manifest.results["test"].policy.sharpe
        results[f"training {name}"] = {"graph": graph[:16], "test": sharpe}
    return results


def plan_of(form: str, name: str, folder: Path) -> Plan:
    """A tiny training for the quick form, else STEPS of an example."""
    if form == "quick":
        return plan(bars(folder), name, steps=QUICK_STEPS, evaluate_every=QUICK_STEPS, **QUICK_SPLITS)
    return read(ROOT / "examples" / "train" / f"{name}.toml", {"steps": STEPS, "seeds": [1]})


def main(form: str, shared: Path, out: Path) -> None:
    """Run the checks of this row."""
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "processor": msgspec.to_builtins(processor()), "onednn": onednn(), "glibc_avx2": glibc_avx2(),
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        names = QUICK_COPIES if form == "quick" else COPIES
        document["checks"] = golden(form, scratch) | artifacts() | copies(names, shared) | trainings(form, scratch)
    out.write_text(json.dumps(document))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
