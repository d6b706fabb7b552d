"""Makes docs/results.md and docs/results.parquet (policies x universes x periods), and docs/develop/claims.md.

`make results` runs each market of `results.toml` beside it as one `quantd study compare`. A finished market is a file
in `build/results`, which the next start reads instead of running it again. `make results DATA=DIR` also runs markets
whose files are not in the repository; without it their rows stay as they are.
"""

import json
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct, convert

from quantd.daemon.runtime.version import code_digest, code_version
from quantd.regular_file import remove_folder, replacing, write_whole

ROOT: Final = Path(__file__).resolve().parents[2]
PLAN: Final = ROOT / "scripts" / "results" / "results.toml"
CLAIMS: Final = ROOT / "scripts" / "results" / "claims.toml"
CLAIMED: Final = ("models/shipped/ppo",)
"""The policy whose plan has its power before the claims: all on the bundled stocks have its data, parts and costs."""

PAGE: Final = "results.md"
CLAIMS_PAGE: Final = "develop/claims.md"
TABLE: Final = "results.parquet"


class Universe(Struct, frozen=True, forbid_unknown_fields=True):
    """One universe: a configuration with settings, its file of bars, and periods of (name, first, last).

    The file of an `external` universe is in the folder DATA and not in the repository. Without `policies`, each
    registered policy that computes weights has a row. `power` is the plan, with its settings, whose power line stands
    before the rows of learned policies.
    """

    symbols: str
    config: str
    file: str
    bias: str
    periods: tuple[tuple[str, str, str], ...]
    external: bool = False
    sets: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    power: tuple[str, ...] = ()


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """One claim of a document: `rerun` names the figures of the table as (market, policy, figure)."""

    claim: str
    reason: str
    rerun: tuple[tuple[str, str, str], ...] = ()
    state: str = "not measured"
    """What another command measured; shown without a `rerun`."""


class Market(Struct, frozen=True):
    """A universe in one period: its name, the arguments of its command, and the file of its bars."""

    name: str
    universe: Universe
    arguments: tuple[str, ...]
    file: Path

    @property
    def command(self) -> str:
        """The command that makes the rows again, in the root of the checkout."""
        return shlex.join(("quantd", *self.arguments, "--state", f"state/results/{self.name}"))

    @property
    def content(self) -> str:
        """The SHA-256 of the file of bars."""
        return sha256(self.file.read_bytes()).hexdigest()

    @property
    def identity(self) -> str:
        """A digest of everything that the rows depend on: code, command, configuration and bars."""
        code = code_digest(ROOT, ("adapters", "daemon", "research", "training"))
        parts = (
            code_version(),
            code,
            self.command,
            (ROOT / self.universe.config).read_text(encoding="utf-8"),
            self.content,
        )
        return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def markets(plan: Path, data: Path | None, kept: Collection[str] = ()) -> list[Market]:
    """Return the markets of a plan; those of external files only with their folder, or by the names that are `kept`.

    Raises SystemExit for a folder without such a file.
    """
    listed = []
    for universe in convert(tomllib.loads(plan.read_text(encoding="utf-8"))["universes"], dict[str, Universe]).values():
        absent = universe.external and data is None
        file = (data if universe.external and data is not None else ROOT) / universe.file
        if not (absent or file.is_file()):
            raise SystemExit(f"results: {file}: there is no such file; DATA names the folder that has {file.name}")
        for name, first, last in universe.periods:
            if absent and name not in kept:
                continue
            sets = [*universe.sets, f"feed.start={first}", f"feed.end={last}"]
            if universe.external:
                sets.append(f"feed.path={file.resolve()}")
            arguments = ("study", "compare", *universe.policies, "-c", universe.config)
            listed.append(
                Market(name, universe, (*arguments, *(x for setting in sets for x in ("--set", setting))), file)
            )
    return listed


def measured(market: Market, folder: Path) -> dict[str, Any]:
    """Return the rows of a market, from `folder` if they are there; else run its command in a new ledger."""
    kept = folder / f"{market.name}-{market.identity}.json"
    if not kept.exists():
        state = folder / f"{market.name}.state"
        remove_folder(state, ignore_errors=True)  # of a run that was killed: its ledger has a part of the trials
        program = Path(sys.executable).parent / "quantd"
        done = subprocess.run(
            (program, *market.arguments, "--state", state, "--json"), cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"results: {market.command}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
        replace_whole(kept, done.stdout.encode())
        remove_folder(state, ignore_errors=True)
    standings: dict[str, Any] = json.loads(kept.read_bytes())
    return standings


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is never there in part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, durable=False)


def power_command(power: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of the command that prints the power line of a plan."""
    return "study", "power", *power, "--line"


@cache
def power_of(power: tuple[str, ...]) -> str:
    """Return the line that `quantd study power` prints for a plan and settings. Raises SystemExit when it fails."""
    words, program = power_command(power), Path(sys.executable).parent / "quantd"
    done = subprocess.run((program, *words), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"results: {shlex.join(words)}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip().removeprefix("power: ")


def rows_of(market: Market, standings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one market as they stand in the table."""
    external = market.universe.external
    for row in standings["rows"]:
        difference = row["difference"] or {}
        yield {
            "market": market.name, "symbols": market.universe.symbols, "first": standings["first"],
            "last": standings["last"], "policy": row["policy"], **{key: row["figures"][key] for key in FIGURES},
            "less_equal_weight": difference.get("sharpe"), "less_low": difference.get("low"),
            "less_high": difference.get("high"), "deflated": row["deflated"], "trials": standings["trials"], "seeds": 0,
            "warnings": row["notes"], "failed": bool(row["failures"]), "sha256": market.content,
            "reproducible": not external, "command": market.command if not external else "",
        }  # fmt: skip


FIGURES: Final = (
    "total_return", "annual_return", "volatility_annual", "sharpe", "sharpe_low", "sharpe_high", "sortino",
    "max_drawdown", "samples", "turnover_annual", "costs",
)  # fmt: skip

COLUMNS: Final = ("policy", "Sharpe", "less equal weight")

SAME: Final = 1e-9
"""A difference that is none, but of rounding."""

_PERCENT: Final = ("total_return", "annual_return", "volatility_annual", "max_drawdown")


def _number(value: float | None, pattern: str) -> str:
    return "" if value is None else format(value, pattern)


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["policy"] + (" (failed)" if row["failed"] else ""),
        _number(row["sharpe"], ".2f") + _span(row["sharpe_low"], row["sharpe_high"]),
        _number(row["less_equal_weight"], "+.2f") + _span(row["less_low"], row["less_high"]),
    )


def _matrix(tables: Sequence[tuple[Market, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """Return the table of allocators: a row for each policy with its difference from equal weight in each market."""
    cells: dict[str, dict[str, str]] = {}
    for market, rows in tables:
        for row in rows:
            sure = row["less_low"] is not None and (row["less_low"] > SAME or row["less_high"] < -SAME)
            value = row["less_equal_weight"]
            text = f"({row['sharpe']:.2f})" if value is None else f"{value:+.2f}{' *' if sure else ''}"
            cells.setdefault(row["policy"], {})[market.name] = text
    names = [market.name for market, _ in tables]
    body = [(policy, *(by_market.get(name, "") for name in names)) for policy, by_market in sorted(cells.items())]
    return _table(("policy", *names), body)


def _sources(tables: Sequence[tuple[Market, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """Return the table of markets, and what cannot be made again."""
    rows, notes = [], []
    for market, found in tables:
        first = found[0]
        rows.append((market.name, f"{first['first']} to {first['last']}"))
    for universe, names in _by_universe(tables).items():
        text = f"- {', '.join(names)}: {universe.symbols}. {' '.join(universe.bias.split())}"
        if universe.external:
            sha = next(found[0]["sha256"] for market, found in tables if market.universe == universe)
            text += f" **The repository cannot reproduce these rows**, because it lacks {universe.file} (SHA-256"
            text += f" `{sha}`). `make results DATA=DIR` made them."
        notes += textwrap.wrap(text, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [*_table(("market", "sessions"), rows), "", *notes]


def _by_universe(tables: Sequence[tuple[Market, Sequence[Mapping[str, Any]]]]) -> dict[Universe, list[str]]:
    names: dict[Universe, list[str]] = {}
    for market, _ in tables:
        names.setdefault(market.universe, []).append(market.name)
    return names


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _power(plan: tuple[str, ...], power: Mapping[tuple[str, ...], str]) -> list[str]:
    """Return the lines with the power of a plan, and the command that prints it; nothing where it was not computed."""
    if plan not in power:
        return []
    return ["", f"    {shlex.join(('quantd', *power_command(plan)))}", "", f"**Power.** {power[plan]}"]


def page(tables: Sequence[tuple[Market, Sequence[Mapping[str, Any]]]], power: Mapping[tuple[str, ...], str]) -> str:
    """Return docs/results.md. `power` are power lines by plan and settings."""
    every = [row for _, rows in tables for row in rows]
    compared = [row for row in every if row["less_low"] is not None]
    better, worse = (
        sum(flags) for flags in ([r["less_low"] > SAME for r in compared], [r["less_high"] < -SAME for r in compared])
    )
    allocators = [(market, rows) for market, rows in tables if not market.universe.policies]
    lines = [
        "# Results", "",
        f"**In {len(compared)} comparisons with equal weight, {better} policies are better and {worse} are worse.**",
        "A policy counts as better or worse if the 95 % interval of the difference of the Sharpe ratios excludes 0.",
        "The intervals are not corrected for the number of comparisons.", "",
        "In each market all policies have the same bars, dates, costs and capital. Each trades alone, and decides at",
        "the first session close, then monthly. `make results` writes this page and `docs/results.parquet`, which has",
        "more figures, and a command for each market, such as:", "",
        *_commands(allocators), "",
        "## Allocators, less equal weight", "",
        "Each figure is the Sharpe ratio of a policy less that of equal weight in one [market](#markets). The Sharpe",
        "ratios of equal weight are in brackets. A `*` marks a difference whose 95 % interval (circular block",
        "bootstrap) excludes 0.",
        "",
        *_matrix(allocators), "",
    ]  # fmt: skip
    for market, rows in tables:
        if market.universe.policies:
            lines += [
                "## Learned policies", "",
                "Each learned policy is one of several trainings (seeds), chosen on earlier dates. Brackets have 95 %",
                "intervals. The line with its power states how strong a daily signal must be to be seen on these",
                "dates. IC is the correlation of the signal with the next return ([power](learn/power.md)).",
            ]  # fmt: skip
            lines += [*_power(market.universe.power, power)[2:], ""]
            lines += [*_table(COLUMNS, [_cells(row) for row in rows]), ""]
    return "\n".join([*lines, "## Markets", "", *_sources(tables), ""])


def _commands(tables: Sequence[tuple[Market, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """Return the command of the first market that the repository reproduces, as a block of code."""
    return [f"    {next(market.command for market, _ in tables if not market.universe.external)}"]


def claims_page(
    rows: Sequence[Mapping[str, Any]], claims: Mapping[str, Claim], power: Mapping[tuple[str, ...], str]
) -> str:
    """Return docs/develop/claims.md. `rows` are those of the table, `power` is power lines by plan and settings."""
    figures = {(row["market"], row["policy"]): row for row in rows}
    lines = [
        "# Claims of the documents, beside what was measured", "",
        "The claims come from documents of other systems. None of them is a result of quantd. `make results` writes",
        "this page; do not edit it by hand. The learned policies of F-05, F-07, F-08 and of tuning on the bundled",
        "stocks (F-35) have the power of this plan:",
        *_power(CLAIMED, power), "",
        *_table(
            ("claim", "what it says", "measured here", "reason of the difference"),
            [(name, claim.claim, _rerun(claim, figures), claim.reason) for name, claim in claims.items()],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _rerun(claim: Claim, figures: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Return the figures of a claim; "not measured" if a row is not in the table."""
    if not claim.rerun or any((market, policy) not in figures for market, policy, _ in claim.rerun):
        return claim.state
    return "; ".join(
        f"{policy} {key.replace('_', ' ')} {figures[market, policy][key]:{'.1%' if key in _PERCENT else '.2f'}}"
        for market, policy, key in claim.rerun
    )


def claims_of(path: Path) -> dict[str, Claim]:
    """Read the claims."""
    return convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Claim])


def make(plan: Path, data: Path | None, build: Path, out: Path) -> None:
    """Compute the missing markets of a plan, and write page and table.

    Without `data`, the rows of external files are those of the table before.
    """
    tables = []
    before = out / TABLE
    rows = pl.read_parquet(before).filter(pl.col("reproducible").not_()).to_dicts() if before.exists() else []
    kept = {row["market"]: [earlier for earlier in rows if earlier["market"] == row["market"]] for row in rows}
    for market in markets(plan, data, kept):
        print(market.name, flush=True)
        if market.universe.external and data is None:
            tables.append((market, kept[market.name]))
        else:
            tables.append((market, list(rows_of(market, measured(market, build)))))
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / TABLE, durable=False) as file:
        pl.DataFrame([row for _, rows in tables for row in rows], infer_schema_length=None).write_parquet(file)
    plans = {CLAIMED, *(market.universe.power for market, _ in tables if market.universe.power)}
    power = {key: power_of(key) for key in plans}
    replace_whole(out / PAGE, page(tables, power).encode())
    every = [row for _, rows in tables for row in rows]
    (out / CLAIMS_PAGE).parent.mkdir(parents=True, exist_ok=True)
    replace_whole(out / CLAIMS_PAGE, claims_page(every, claims_of(CLAIMS), power).encode())
