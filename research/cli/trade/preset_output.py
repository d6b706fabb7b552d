"""`quantd backtest --preset NAME`: a given plan, trained with each of its seeds, beside equal weight."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantd.bundled import find
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import print_json, progress, say, table
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.training.cli.learn.plan_options import plan_of

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Assembly
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.research.runs.comparison import Drive
    from quantd.research.studies.preset import PresetResult, Spread

NAMES: Final = ("reference", "reference-tuned", "reference-ppo", "reference-ppo-tuned")
BARS: Final = "data/seed4_daily.parquet"


def preset(
    name: str, options: dict[str, bool], state: Path | None, sets: list[str] | None, family: str, *, as_json: bool
) -> int:
    """Run a preset and print it; returns the exit code. `options` are those that it does not have, with their use."""
    if name not in NAMES:
        raise Failure(f"--preset {name!r}: there are {', '.join(NAMES)}", USAGE)
    if used := [option for option, given in options.items() if given]:
        text = f"{' and '.join(used)}: a preset has its own configuration, dates and comparison"
        raise Failure(f"{text}; use --state, --set KEY=VALUE of the plan, --family and --json with it", USAGE)
    if not find(BARS).is_file():
        text = f"{BARS} is in the source repository only, because its source states no licence"
        raise Failure(f"{text}: run the preset in a clone", USAGE)
    needs("a preset", "torch", "onnx", "safetensors")
    from quantd.daemon.cli.configuration import read
    from quantd.research.studies.preset import PRESETS, run_preset, window_of
    from quantd.research.studies.standings import failure_lines

    files = PRESETS[name]
    plan = plan_of(find(files.plan), None, "", sets, None, None, None)
    configuration = read(find(files.config), [f"{key}={value}" for key, value in window_of(plan).items()])
    folder = configuration.state_folder(state)

    def alone(label: str) -> "Drive":
        def run(other: "Assembly", log: "Log") -> "Shell":
            from quantd.research.runs.backtest import drive
            from quantd.trading.orders import base36

            with progress(label, shown=not as_json) as bar:
                return drive(other, other.config, base36(secrets.randbits(64), 8), log, None, bar)[0]

        return run

    with progress("training", shown=not as_json) as bar:
        result = run_preset(name, plan, configuration, folder, alone, bar, family)
    failed = failure_lines(result.standings)
    if as_json:
        print_json(result)
    else:
        _say(result)
    return CHECK_FAILED if failed else DONE


def _say(result: "PresetResult") -> None:
    from quantd.research.studies import standings

    say(f"power: {result.power}")
    for line in standings.first_lines(result.standings):
        say(line)
    table(standings.HEAD, standings.table(result.standings), standings.HEAD[1:])
    say("")
    heads = ("over the seeds", "mean", "least", "largest", "equal weight")
    table(heads, [_cells(key, spread) for key, spread in result.spread.items()], heads[1:])
    count = len(result.seeds)
    lines = [
        f"{result.ahead} of {count} seeds above equal weight by Sharpe ratio; each seed is a recorded trial",
        f"{result.agent}, {result.steps:,} steps a seed: trained {_dates(result.train)}, the checkpoint chosen on "
        f"{_dates(result.validation)}; nothing was chosen on the dates of the table",
        "every account begins in cash, and every policy decides at the first sample",
        *standings.footnotes(result.standings),
        f"by hand: {result.commands[0]}",
        f"         {result.commands[1]}",
    ]
    say("\n".join(f"  {line}" for line in lines))


def _dates(part: tuple[str, str]) -> str:
    return " to ".join(part)


def _cells(key: str, spread: "Spread") -> tuple[str, ...]:
    share = key in ("total_return", "max_drawdown")
    values = (spread.mean, spread.least, spread.largest, spread.equal_weight)
    shown = ("" if value is None else f"{value:.1%}" if share else f"{value:.2f}" for value in values)
    return (key.replace("_", " "), *shown)
