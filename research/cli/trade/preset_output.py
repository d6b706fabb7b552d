"""`quantd backtest --preset NAME`: trains a bundled plan with each of its seeds, and compares it with equal weight."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantd.bundled import find
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import answer, progress, records, say, table
from quantd.research.cli.trade.shown_drives import drive_of
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.training.cli.learn.plan_options import plan_of

if TYPE_CHECKING:
    from quantd.research.studies.preset import PresetResult, Spread
    from quantd.research.studies.standings import Standing, Standings

NAMES: Final = ("reference", "reference-tuned", "reference-ppo", "reference-ppo-tuned")
"""The presets. `PRESETS` of quantd.research.studies.preset has their files, and is imported only to run one."""

BARS: Final = "data/seed4_daily.parquet"
"""The bars of every preset."""


def preset(
    name: str, options: dict[str, bool], state: Path | None, sets: list[str] | None, family: str, *, as_json: bool
) -> int:
    """Run a preset and print it; return exit code 1 where a policy failed to decide.

    `options` maps each option of a backtest that a preset refuses to True where the user wrote it, else False. Raises
    Failure for an unknown preset, such an option, missing bars and missing packages.
    """
    if name not in NAMES:
        raise Failure(f"--preset {name!r}: there are {', '.join(NAMES)}; name one of them", USAGE)
    if refused := [option for option, is_written in options.items() if is_written]:
        text = f"{' and '.join(refused)}: a preset has its own configuration, dates and comparison"
        raise Failure(f"{text}; it accepts only --state, --set KEY=VALUE of the plan, --family and --json", USAGE)
    if not find(BARS).is_file():
        text = f"{BARS} is in the source repository only, because its source states no licence"
        raise Failure(f"{text}: run the preset in a clone of the repository", USAGE)
    needs("a preset", "torch", "onnx")
    from quantd.daemon.cli.configuration import read
    from quantd.research.studies.preset import PRESETS, run_preset, window_of
    from quantd.research.studies.standings import failure_lines

    files = PRESETS[name]
    # None and "": the plan keeps its learner, profile, bars, actions and symbols
    plan = plan_of(find(files.plan), None, "", sets, None, None, None)
    # the configuration has the bars; the dates are those of the plan's test part
    configuration = read(find(files.config), [f"{key}={value}" for key, value in window_of(plan).items()])
    folder = configuration.state_folder(state)

    with progress("training") as advance:
        result = run_preset(name, plan, configuration, folder, drive_of, advance, family)
    answer(as_json, result, lambda: _say(result))
    return CHECK_FAILED if failure_lines(result.standings) else DONE


def print_ranking(comparison: "Standings") -> None:
    """Print a row for each policy of a comparison."""
    from quantd.research.verdict import ratio, span

    def difference(row: "Standing") -> str:
        less = row.difference
        return "" if less is None else f"{less.sharpe:+.2f}{span(less.low, less.high)}"

    records(
        comparison.rows,
        {"policy": lambda row: row.policy + (" *" if row.trained else "") + (" (failed)" if row.failures else ""),
         "Sharpe": lambda row: ratio(row.figures.sharpe) + span(row.figures.sharpe_low, row.figures.sharpe_high),
         "less equal weight": difference, "a year": "figures.annual_return:+.1%",
         "volatility": "figures.volatility_annual:.1%", "drawdown": "figures.max_drawdown:.1%",
         "turnover": "figures.turnover_annual:.2f", "costs": "figures.costs:,.0f", "deflated": "deflated:.2f"},
        right=("Sharpe", "less equal weight"),
    )  # fmt: skip


def _say(result: "PresetResult") -> None:
    """Print the statistical power, the policies, the spread over the seeds, and the commands that do the same."""
    from quantd.research.studies import standings

    say(f"power: {result.power}", *standings.first_lines(result.standings))
    print_ranking(result.standings)
    say("")
    heads = ("over the seeds", "mean", "least", "largest", "equal weight")
    table(heads, [_cells(key, spread) for key, spread in result.spread.items()], heads[1:])
    count = len(result.seeds)
    lines = [
        f"{result.ahead} of {count} seeds above equal weight by Sharpe ratio; each seed is a recorded trial",
        f"{result.agent}, {result.steps:,} steps a seed: trained on {' to '.join(result.train)}, the checkpoint chosen "
        f"on {' to '.join(result.validation)}; nothing was chosen on the dates of the table",
        "every account begins in cash, and every policy decides at the first sample",
        *standings.footnotes(result.standings),
        f"the same by hand: {result.commands[0]}",
        f"                  {result.commands[1]}",
    ]
    say(*(f"  {line}" for line in lines))


def _cells(key: str, spread: "Spread") -> tuple[str, ...]:
    """Return the row of one figure: its name, then its mean, least and largest over the seeds, and equal weight's."""
    is_fraction = key in ("total_return", "max_drawdown")
    values = (spread.mean, spread.least, spread.largest, spread.equal_weight)
    value_cells = ("" if value is None else f"{value:.1%}" if is_fraction else f"{value:.2f}" for value in values)
    return (key.replace("_", " "), *value_cells)
