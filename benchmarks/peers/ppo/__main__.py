"""PPO of quantd beside Stable-Baselines3's and CleanRL's, on planted signals: log growth by steps and by CPU seconds.

    python -m benchmarks.peers.ppo [--cleanrl FILE] [--market five|us20] [--seeds N] [--side NAME ...] [--table] [...]

All sides learn in the same simulated market with the same normalisation and rewards, for the same steps on one thread.
All are evaluated by quantd's evaluation of their mean actions on the test part; nothing is chosen by the validation
part. Each fit is appended to benchmarks/peers/ppo/fits.jsonl (or --out), and fits that it has are not repeated.
`--table` only prints the table of the fits.

FILE is cleanrl/ppo_continuous_action.py of CleanRL's repository, which needs the packages tyro and tensorboard.
Without it the sides of CleanRL are left out.
"""

import argparse
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.peers.ppo.cases import SCENES, SIDES
from benchmarks.peers.ppo.peer_fits import AT_STEPS, PeerFit, head, newest, read_fits, rows
from quantd.training.power.findings import append

if TYPE_CHECKING:
    from benchmarks.peers.ppo.planted_market import Stage

PLAN: Final = Path("examples/train/ppo.toml")

OUT: Final = Path("benchmarks/peers/ppo/fits.jsonl")

STEPS: Final = AT_STEPS[-1]
EVERY: Final = 25_000
"""Env-steps between evaluations."""

NEEDED: Final = ("torch", "stable_baselines3", "gymnasium")
NEEDED_OF_SCRIPT: Final = ("tyro", "tensorboard")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status."""
    given = _arguments().parse_args(words)
    needed = () if given.table else (*NEEDED, *(NEEDED_OF_SCRIPT if given.cleanrl else ()))
    lacks = [name for name in needed if not find_spec(name)]
    if lacks:
        print(f"ppo: {', '.join(lacks)} is not installed; pip install {' '.join(lacks)}", file=sys.stderr)
        return 1
    if unknown := [name for name in given.side or () if name not in SIDES]:
        print(f"--side {unknown[0]}: the sides are: {'; '.join(SIDES)}", file=sys.stderr)
        return 2
    if given.cleanrl and not given.cleanrl.is_file():
        print(f"--cleanrl {given.cleanrl}: there is no such file", file=sys.stderr)
        return 2
    if not given.table:
        names = [name for name in given.side or SIDES if given.cleanrl or SIDES[name].library != "cleanrl"]
        for market in given.market:
            with TemporaryDirectory() as folder:
                _fit_all(market, names, given, Path(folder))
    _print([fit for fit in newest(read_fits(given.out)) if fit.market in given.market])
    if not given.cleanrl and not given.table:
        print("CleanRL was left out: --cleanrl FILE gives its script.")
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cleanrl", type=Path, metavar="FILE", help="ppo_continuous_action.py of CleanRL")
    parser.add_argument("--cleanrl-commit", default="", metavar="TEXT", help="commit of that file, for the record")
    parser.add_argument("--plan", type=Path, default=PLAN, metavar="FILE", help="a plan of PPO with weights as actions")
    parser.add_argument("--market", nargs="+", choices=tuple(SCENES), default=list(SCENES))
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 1")
    parser.add_argument("--side", nargs="+", metavar="NAME", help="some sides alone")
    parser.add_argument("--steps", type=int, default=STEPS, help="env-steps of a fit")
    parser.add_argument("--every", type=int, default=EVERY, help="env-steps between evaluations")
    parser.add_argument("--out", type=Path, default=OUT, help="file of the fits, JSON lines")
    parser.add_argument("--table", action="store_true", help="fit nothing, print the table of the fits")
    return parser


def _fit_all(market: str, names: Sequence[str], given: argparse.Namespace, folder: Path) -> None:
    """Make the fits of a market that the file lacks, seed by seed, so that other load affects all sides alike."""
    from benchmarks.peers.ppo.planted_market import staged

    stage = staged(market, given.plan, given.steps, given.every, folder)
    for seed in range(1, given.seeds + 1):
        for name in names:
            done = {(fit.cell, fit.seed) for fit in read_fits(given.out)}
            if (_cell(stage, name, given.cleanrl), seed) not in done:
                fit = _fit(stage, name, seed, given.cleanrl, given.cleanrl_commit)
                append(given.out, fit)
                share = fit.share(fit.points[-1].growth)
                print(f"{market}, {name}, seed {seed}: {share:.0%} in {fit.cpu_s:.0f} CPU s", file=sys.stderr)


def _fit(stage: "Stage", name: str, seed: int, script: Path | None, script_commit: str) -> PeerFit:
    from benchmarks.peers.ppo.sides import curve_of, versions
    from quantd.daemon.runtime.version import commit

    named = {"cleanrl commit": script_commit} if SIDES[name].library == "cleanrl" and script_commit else {}
    points, diverged = curve_of(SIDES[name], stage, seed, script)
    return PeerFit(
        cell=_cell(stage, name, script), market=stage.name, side=name, seed=seed, points=tuple(points),
        equal_weight=stage.equal_weight, reference=stage.reference, cpu_s=points[-1].cpu_s,
        versions=versions(SIDES[name], script) | named, commit=commit(),
        diverged=diverged,
    )  # fmt: skip


def _cell(stage: "Stage", name: str, script: Path | None) -> str:
    """Return the digest of everything that decides a fit but its seed."""
    from benchmarks.peers.ppo.sides import versions

    text = repr((stage.digest, SIDES[name], sorted(versions(SIDES[name], script).items())))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _print(fits: Sequence[PeerFit]) -> None:
    """Print the table."""
    print("log growth a year on the test part, after costs: median of the seeds after env-steps and after CPU seconds")
    table = [head(), *rows(fits)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())


if __name__ == "__main__":
    sys.exit(main())
