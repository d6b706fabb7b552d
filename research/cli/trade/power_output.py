"""The command `quantd study power`: how much a learner earns of planted signals, beside a rule that knows them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from msgspec.structs import asdict

from quantd.bundled import find, placed
from quantd.daemon.cli.command import Json
from quantd.daemon.cli.failures import Failure, needs, note
from quantd.daemon.cli.output import answer, check_output, progress, say, table
from quantd.research.cli.trade import shared_options
from quantd.trading.exit_codes import DONE, USAGE
from quantd.training.cli.learn import plan_options

if TYPE_CHECKING:
    from quantd.research.power.power_study import Attainable, Field
    from quantd.training.plans.plan import Plan
    from quantd.training.power.cells import Learner
    from quantd.training.power.findings import Finding
    from quantd.training.power.plants import Plant

HEADS: Final = (
    "signal", "IC", "cost bp", "equal weight", "reference", "above equal weight, 95 %", "learner", "verdict", "CPU s",
)  # fmt: skip

LEARNERS: Final[tuple["Learner", ...]] = ("plan", "scorer")

RIGHT_ALIGNED: Final = ("IC", "cost bp", "equal weight", "reference", "CPU s")
"""Columns of numbers."""


def study_power(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan of `quantd train`, or a trained policy.")],
    signal: Annotated[
        Path | None, typer.Option("--signal", metavar="FILE", help="Plants of a TOML file in place of the usual ones.")
    ] = None,
    learner: Annotated[
        Literal["plan", "scorer"] | None,
        typer.Option(help="Fit the learner of the plan, or the scorer.", show_default="fit nothing"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Number of seeds, from 1.")] = 10,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--shape", help="feature, ratio, lag, symbol or turn; repeatable; all without it."),
    ] = None,
    strengths: Annotated[
        list[float] | None,
        typer.Option("--ic", min=0.0, max=1.0, help="Information coefficient; repeatable.",
                     show_default="0, 0.05, 0.1, 0.3, 1"),
    ] = None,
    costs: Annotated[
        list[float] | None,
        typer.Option("--cost", min=0.0, max=1_000.0, help="Cost of one side in bp; repeatable.",
                     show_default="1, 5, 15"),
    ] = None,
    sets: plan_options.Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File that findings are appended to, JSON lines.",
                                  show_default="power/findings.jsonl in the results folder"),
    ] = None,
    resume: shared_options.Resume = False,
    line: Annotated[bool, typer.Option("--line", help="Print the line of the plan's model card alone.")] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Plant signals of known strength in a plan's market: the attainable growth, and the learner's share of it."""
    folder = placed("RESULTS_DIR", "state") / "power"
    if out is not None:
        check_output(out)
    needs("a study of power", "torch", "onnx")
    training_plan = _plan(plan, sets)
    if line:
        return _print_line(training_plan, out, as_json=as_json)
    from quantd.research.power.power_study import COSTS_BP, Field
    from quantd.training.power.findings import read_findings

    plants = _plants(signal, shapes, strengths)
    field, path = Field(training_plan, plants), out or folder / "findings.jsonl"
    cells = [(name, cost) for name in plants for cost in costs or COSTS_BP]
    recorded = read_findings(path)
    if learner is not None and recorded and not resume:
        raise Failure(f"{path} has findings already: add to them with --resume, or name another file with --out", USAGE)
    attainable_rows = _attainable(field, cells)
    if learner is not None:
        recorded += _fit_missing(field, learner, cells, range(1, seeds + 1), recorded, path, folder / "plants")
    # the file may have findings of other plans, plants and costs: only the cells of this call are printed
    requested_cells = {field.cell(name, plant, cost) for name in LEARNERS for plant, cost in cells}
    findings = [finding for finding in recorded if finding.cell in requested_cells]
    rows = [{"passes": row.passes, **asdict(row)} for row in attainable_rows]
    answer(as_json, {"attainable": rows, "findings": findings}, lambda: _print(attainable_rows, findings))
    return DONE


def _plan(path: Path, sets: list[str] | None) -> "Plan":
    """Return the plan in a file, with `sets` applied, or the plan in the record of a trained policy.

    Raises Failure for `sets` with a trained policy, and for an artifact whose record has no plan.
    """
    folder = find(path)
    if not folder.is_dir():
        # None and "": the plan keeps its learner, profile, bars, actions and symbols
        return plan_options.plan_of(path, None, "", sets, None, None, None)
    from quantd.models.artifacts.loader import checked
    from quantd.models.artifacts.manifest import AgentManifest
    from quantd.models.artifacts.versions import resolved
    from quantd.training.plans.plan import restored

    if sets:
        raise Failure(f"{path} is a trained policy, whose plan --set cannot change: omit --set, or name a plan", USAGE)
    manifest = checked(resolved(folder)).manifest
    if not isinstance(manifest, AgentManifest):
        raise Failure(f"{path}: its record has no plan; name the plan of a learner, such as PLAN.toml", USAGE)
    return restored(manifest.plan)


def _print_line(plan: "Plan", recorded: Path | None, *, as_json: bool) -> int:
    """Print how weak a signal a plan can detect. Returns the exit code.

    The evidence is the findings (results of earlier trainings) in the file `recorded`; None: the stored ones.
    """
    from quantd.training.power.findings import read_findings
    from quantd.training.power.power_line import power_line

    text = power_line(plan, None if recorded is None else read_findings(recorded))
    answer(as_json, {"power": text}, f"power: {text}")
    return DONE


def _attainable(field: "Field", cells: "Sequence[tuple[str, float]]") -> "list[Attainable]":
    """Return the attainable growth for each of `cells` (name of a planted signal, cost in bp).

    `field` is the market of the plan with its planted signals. The attainable growth is the growth of a rule that
    knows the strength of the signal. Raises PlantError for an invalid signal.
    """
    rows: list[Attainable] = []
    with progress("attainable") as advance:
        for index, (name, cost) in enumerate(cells):
            advance(index / len(cells), f"{name}, {cost:g} bp")
            rows.append(field.attainable(name, cost))
    return rows


def _fit_missing(
    field: "Field", learner: "Learner", cells: "Sequence[tuple[str, float]]", seeds: Sequence[int],
    recorded: "Sequence[Finding]", path: Path, folder: Path,
) -> "list[Finding]":  # fmt: skip
    """Train the learner for the cells (a planted signal, a cost) and seeds without a finding in `recorded`.

    A finding is the result of one seed in one cell. Returns the new findings. Each one is appended to the file `path`
    at once, so that an interrupted study continues with --resume. `folder` receives the planted markets.
    """
    from quantd.research.power.power_study import run
    from quantd.training.power.findings import Finding, append

    fitted: list[Finding] = []

    def add(finding: Finding) -> None:
        append(path, finding)
        fitted.append(finding)
        note(
            f"{finding.plant}, {finding.cost_bp:g} bp, seed {finding.seed}: {_result_text(finding)}, "
            f"{finding.cpu_s:.0f} s"
        )

    run(field, learner, cells, seeds, folder, {(finding.cell, finding.seed) for finding in recorded}, add)
    return fitted


def _plants(signal: Path | None, shapes: list[str] | None, strengths: list[float] | None) -> "dict[str, Plant]":
    """Return planted signals by name: those in the file `signal`, or one for each shape and strength (None: all).

    A strength is an information coefficient (`ic`), from 0 to 1.
    """
    from quantd.training.power.plants import SHAPES, STRENGTHS, Plant, read_plants

    if signal is not None:
        if shapes or strengths:
            raise Failure("--signal names a file with the planted signals: omit --shape and --ic", USAGE)
        return read_plants(signal)
    if unknown := [name for name in shapes or () if name not in SHAPES]:
        raise Failure(f"--shape {unknown[0]!r}: write one of {', '.join(SHAPES)}", USAGE)
    chosen = [name for name in SHAPES if name in (shapes or SHAPES)]
    return {
        f"{shape} {ic:g}": Plant(shape=shape, ic=ic) for shape in chosen for ic in sorted(set(strengths or STRENGTHS))
    }


def _result_text(finding: "Finding") -> str:
    """Return the growths of a finding (result of one seed), with the learner's share of the attainable growth.

    Without a planted signal (`ic` 0) there is no share.
    """
    share = finding.share
    growth = f"log growth {finding.growth:+.3f}, equal weight {finding.equal_weight:+.3f}"
    return growth if share is None or finding.ic == 0.0 else f"{growth}, share {share:.0%}"


def _print(rows: "Sequence[Attainable]", findings: "Sequence[Finding]") -> None:
    """Print a line for each cell (planted signal and cost) and learner.

    A cell in which no learner was trained has one line that says why.
    """
    from quantd.training.power.findings import NOT_SHOWN, verdict

    lines = []
    for row in rows:
        bounds = "" if row.low is None or row.high is None else f"[{row.low:+.3f}, {row.high:+.3f}]"
        cell_columns = (row.plant, f"{row.ic:g}", f"{row.cost_bp:g}", f"{row.equal_weight:+.3f}",
                        f"{row.reference:+.3f}", bounds)  # fmt: skip
        cell_findings = [
            finding for finding in findings if (finding.plant, finding.cost_bp) == (row.plant, row.cost_bp)
        ]
        # an ic of 0 plants no signal: the learner must then be as good as equal weight
        if row.ic > 0.0 and not row.passes:
            lines.append((*cell_columns, "", NOT_SHOWN, ""))
            continue
        for learner in sorted({finding.learner for finding in cell_findings}):
            seed_findings = [finding for finding in cell_findings if finding.learner == learner]
            mean_cpu_s = sum(finding.cpu_s for finding in seed_findings) / len(seed_findings)
            lines.append((*cell_columns, learner, verdict(seed_findings), f"{mean_cpu_s:.0f}"))
        if not cell_findings:
            lines.append((*cell_columns, "", "not fitted" if row.ic > 0.0 else "nothing to find", ""))
    table(HEADS, lines, RIGHT_ALIGNED)
    say(
        "Log growth a year on the test part, after costs. The reference is a rule that knows the signal's strength;",
        "its tilt and band were chosen on the training part. A share is of (reference - equal weight). CPU s: mean of "
        "seeds",
    )
