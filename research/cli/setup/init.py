"""Write config.toml, with --weights for a portfolio; or a --policy, tested at each save; or open a --notebook."""

import keyword
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.command import USUAL, USUAL_CASH, USUAL_EVERY, Command, Json, Url, day
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, say
from quantd.regular_file import write_whole
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE


def year_or_day(text: str) -> date:
    """Parse the first day of an option: 2015 or 2015-03-02."""
    return date(int(text), 1, 1) if re.fullmatch(r"[12][0-9]{3}", text) else day(text)


POLICY: Final = '''"""{title}: weights by the inverse of each symbol's recent volatility, as a start.

Run it: quantd backtest {name}.py:act
"""

import numpy as np

LOOKBACK = 63  # samples of returns that act reads


def act(view):
    """Return one weight per symbol, as fractions of the agent's book; the rest stays cash.

    view has universe.symbols, prices, weights, cash and time. view.returns(k) has the last k returns of each symbol;
    view.synchronous(k) has them with one row per session date, for correlations between symbols.
    """
    returns = view.returns(LOOKBACK)
    deviation = returns.std(axis=0)
    usable = np.isfinite(deviation) & (deviation > 0)
    weights = np.where(usable, 1.0 / np.where(usable, deviation, 1.0), 0.0)
    return weights / max(weights.sum(), 1e-12)
'''
"""The file NAME.py of a new policy."""

TEST: Final = '''"""What {name}.py promises. Run it: python -m pytest test_{name}.py"""

from types import SimpleNamespace

import numpy as np
from {name} import act


def view_of(returns):
    return SimpleNamespace(returns=lambda k: returns[-k:])


def test_the_calmer_symbol_weighs_more():
    draw = np.random.default_rng(1)
    weights = act(view_of(draw.normal(size=(100, 2)) * [0.01, 0.02]))
    assert weights[0] > weights[1] > 0
    assert abs(weights.sum() - 1.0) < 1e-9


def test_a_symbol_without_a_history_gets_nothing():
    returns = np.full((100, 2), 0.01) * np.array([[1], [-1]] * 50)
    returns[:, 1] = np.nan
    assert act(view_of(returns)).tolist() == [1.0, 0.0]
'''
"""The file test_NAME.py of a new policy."""

AGENT: Final = """[[agents]]
name = "{name}"
policy = "{name}.py:act"
capital = 0.2                  # the shares of all agents add up to at most 1
profile = "balanced"
limits = {{ min_diversification = 0.03 }}          # the profile has 0.3, for symbols that move less together
"""
"""The lines of config.toml for a new policy."""


# Long because the signature is the options of the command.
def init(
    folder: Annotated[Path, typer.Argument(help="Target folder.")] = Path(),
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="NAME.py", help="Write a policy with its test instead.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="With --policy: backtest it and check it for look-ahead at each save.")
    ] = False,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbols", metavar="A,B,C", help="Hold these in equal parts: fetch their bars and backtest them."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights", metavar="A=40,B=60", help="Hold these, in per cent of the capital; the rest is cash."
        ),
    ] = None,
    every: Annotated[
        str, typer.Option("--every", metavar="INTERVAL", help="Rebalance each day, week, month, quarter or year.")
    ] = USUAL_EVERY,
    cash: Annotated[str, typer.Option("--cash", metavar="AMOUNT", help="The capital.")] = USUAL_CASH,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limits", metavar="A=20", help="max_position_weight, max_drawdown or max_daily_loss, in per cent."
        ),
    ] = None,
    topic: Annotated[str, typer.Option("--ntfy", metavar="TOPIC", help="Send alerts to this topic of ntfy.")] = "",
    venue: Annotated[
        str, typer.Option("--venue", metavar="NAME", help="alpaca: trade its paper account; asks for its keys.")
    ] = "",
    since: Annotated[
        date | None,
        typer.Option("--from", parser=year_or_day, metavar="DATE", help="First year or day of these bars."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="Take the bars from a file or folder of any table; repeatable."),
    ] = None,
    source: Annotated[str, typer.Option("--source", metavar="KIND", help="The vendor of the bars.")] = USUAL,
    exchange: Annotated[
        str, typer.Option("--exchange", metavar="NAME", help="With --source ccxt: kraken, binance, ...")
    ] = "",
    url: Url = "",
    notebook: Annotated[
        str, typer.Option("--notebook", metavar="NAME", help="Copy this notebook, or all, and open it in Jupyter.")
    ] = "",
    as_json: Json = False,
) -> int | None:
    of_a_download = (source, exchange, url) != (USUAL, "", "")
    of_a_portfolio = (every, cash, topic, venue) != (USUAL_EVERY, USUAL_CASH, "", "") or bool(since or limits)
    if notebook:
        from quantd.research.cli.setup.notebook import open_notebooks

        if any((policy is not None, watch, symbols, weights, data, as_json, of_a_download, of_a_portfolio)):
            raise Failure("--notebook takes only FOLDER: remove the other options", USAGE)
        return open_notebooks(folder / "notebooks", notebook)
    if symbols and weights:
        raise Failure("--weights names the symbols already: remove --symbols", USAGE)
    if policy is not None and (symbols or weights or data):
        raise Failure(
            "--policy cannot be combined with --symbols, --weights or --data: run `quantd init --symbols A,B` "
            "first, then `quantd init --policy NAME.py`",
            USAGE,
        )
    if watch and policy is None:
        raise Failure("--watch needs --policy NAME.py: the policy that is tested at each save", USAGE)
    if (watch or symbols or weights or data) and as_json:
        raise Failure(
            "--json excludes --watch, --symbols, --weights and --data; `quantd backtest --json` prints a "
            "backtest as JSON",
            USAGE,
        )
    if data and of_a_download:
        raise Failure("--source, --exchange and --url are of a download, and --data has the bars: remove them", USAGE)
    if symbols or weights or data:
        from quantd.research.cli.setup.own_symbols import begin, portfolio

        own = portfolio(weights or [], every, cash, limits or [], topic, venue)
        return begin(folder, symbols or [], since, data or [], source, {"url": url, "venue": exchange}, own)
    if of_a_download or of_a_portfolio:
        text = "--from, --source, --exchange, --url, --every, --cash, --limits, --ntfy and --venue are of a portfolio"
        raise Failure(f"{text}: name the symbols with --symbols A,B or --weights A=40,B=60", USAGE)
    if policy is None:
        write_config(folder, as_json=as_json)
    elif watch:
        from quantd.research.cli.setup.policy_watch import watched

        return watched(folder, ready(folder, policy))
    else:
        write_policy(folder, policy, as_json=as_json)
    return DONE


def write_config(folder: Path, *, as_json: bool) -> None:
    """Write the commented default config.toml into `folder`. Raises Failure if there is one."""
    target = folder / "config.toml"
    _write_new({target: bundled.CONFIG.read_text(encoding="utf-8")})
    text = f"wrote {target}: paper trading on bundled data. Start it: quantd run --config {target}"
    answer(as_json, {"wrote": [str(target)]}, text)


def write_policy(folder: Path, file_name: str, *, as_json: bool) -> None:
    """Write NAME.py and test_NAME.py, and print the lines for config.toml."""
    name = name_of(file_name)
    policy, test = _write_policy(folder, name)
    config_lines = AGENT.format(name=name)
    text = f"wrote {policy} ({POLICY.count(chr(10))} lines, runs as it is) and {test}. It trades alone with "
    text += f"`quantd backtest {name}.py:act`. Lines for config.toml, for an agent beside others:\n"
    next_step = f"Next: quantd init --policy {name}.py --watch backtests it at each save"
    answer(as_json, {"wrote": [str(policy), str(test)], "config": config_lines}, text, config_lines, next_step)


def name_of(file_name: str) -> str:
    """Return the name of a policy from NAME or NAME.py. Raises Failure for a name that is no lower-case identifier."""
    name = file_name.removesuffix(".py")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name) or keyword.iskeyword(name):
        text = f"--policy {file_name!r}: write a name of lower-case letters, digits and _, such as value or my_policy"
        raise Failure(text, USAGE)
    return name


def ready(folder: Path, file_name: str) -> Path:
    """Return the file of a policy, ready to be tested.

    A missing config.toml is written, and a missing policy with its test; existing files stay as they are.
    """
    name = name_of(file_name)
    policy = folder / f"{name}.py"
    if not (folder / "config.toml").exists():
        write_config(folder, as_json=False)
    if not policy.exists():
        say(f"wrote {' and '.join(map(str, _write_policy(folder, name)))}")
    return policy


def _write_policy(folder: Path, name: str) -> tuple[Path, Path]:
    policy, test = folder / f"{name}.py", folder / f"test_{name}.py"
    text = POLICY.format(name=name, title=name.replace("_", " ").capitalize())
    _write_new({policy: text, test: TEST.format(name=name)})
    return policy, test


def _write_new(files: dict[Path, str]) -> None:
    """Write the text of each path. Raises Failure, and writes none of them, if one exists."""
    for path in files:
        if path.exists():
            raise Failure(f"{path} exists, so nothing was written; name another folder, or move it away", CHECK_FAILED)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), durable=False)


COMMAND: Final = Command("Set up", 10, init)
