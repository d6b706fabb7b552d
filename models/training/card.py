"""The model card of a learned policy: what it was trained on and how each seed did, poor results too, each number from the manifest."""

from datetime import UTC, datetime
from statistics import fmean, stdev

from quantd.models.artifacts.agent_manifest import Manifest
from quantd.models.artifacts.card import PARTS, looks_text, lots_text, rows_of
from quantd.models.artifacts.manifest import Result
from quantd.models.training.plans.plan import MarketPlan
from quantd.trading.cash_rate import CashRate
from quantd.trading.statistics import sharpe_definition


def card(manifest: Manifest, market: MarketPlan, cash_rate: CashRate | None = None) -> str:
    """Markdown."""
    training, network = manifest.training, manifest.network
    until = datetime.fromtimestamp(training.until_ns / 1e9, tz=UTC)
    widths = "-".join(str(width) for width in network.hidden)
    made = "".join(f", {name} {value}" for name, value in network.settings.items())
    sight, costs = manifest.sight, market.costs
    lines = [
        f"# {manifest.name}",
        "",
        f"A policy trained by {manifest.algorithm.upper()}{f', profile {manifest.profile}' if manifest.profile else ''}: network "
        f"`{network.kind}` {widths}{made}, {network.parameters:,} learned numbers that act. It decides {_does(manifest)}. "
        "It trades only the symbols below.",
        "",
        f"- Made by: `{training.command}`",
        f"- Symbols: {', '.join(manifest.universe)}",
        *(f"- Data: `{name}`, BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
        f"- Trained until {until:%Y-%m-%d %H:%M} UTC: bars up to then are inside its training window.",
        f"- Seeds: {', '.join(map(str, training.seeds))}; seed {training.chosen_seed} at step {training.chosen_iteration:,} was chosen by validation.",
        f"- Shown: {', '.join(sight.features) or 'no features'}; {f'the last {sight.window} returns; ' if sight.window else ''}"
        f"of its book {' and '.join(sight.book) or 'nothing'}; {sight.lookback} samples are read.",
        f"- Account: {market.capital:,.0f}, {lots_text(dict(zip(manifest.universe, market.lots(manifest.universe), strict=True)))}, a decision every session, filled at the next open; "
        f"commission {costs.commission_bp:g} bp, slippage {costs.slippage_bp:g} bp, spread {costs.spread_bp:g} bp of traded value.",
        f"- {sharpe_definition('' if cash_rate is None else cash_rate.words)}.",
        "",
        "| part | policy | total | a year | volatility | Sharpe | drawdown | turnover a year |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in manifest.results.items():
        window = training.windows[name]
        lines += rows_of(f"{name} {window.first} to {window.last}", result)
    lines += ["", "Sharpe of every seed, after costs, each at its best on the validation part:", ""]
    lines += seed_table(manifest)
    lines += ["", *(f"- {name}: {PARTS[name]}" for name in manifest.results), "", _verdict(manifest)]
    lines += [
        looks_text(training.test_looks),
        "One window of about two years proves nothing in either direction. The stocks among the symbols were picked by somebody "
        "who knew that they would still exist: absolute figures are biased upward, for both rows alike.",
        "",
    ]
    return "\n".join(lines)


def seed_table(manifest: Manifest) -> list[str]:
    """A row for each seed, then mean and spread (standard deviation, n - 1), then equal weight."""
    results, seeds = manifest.results, manifest.training.seeds
    head = ["| seed | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    rows = []
    for place, seed in enumerate(seeds):
        cells = [_figure(result.sharpe_by_seed[place]) for result in results.values()]
        chosen = ", chosen" if seed == manifest.training.chosen_seed else ""
        rows.append(f"| {seed}{chosen} | " + " | ".join(cells) + " |")
    spreads = " | ".join(spread(result.sharpe_by_seed) for result in results.values())
    equal = " | ".join(_figure(result.equal_weight.sharpe) for result in results.values())
    return [*head, *rows, f"| mean ± spread | {spreads} |", f"| equal weight, same days | {equal} |"]


def spread(sharpes: tuple[float | None, ...]) -> str:
    known = [value for value in sharpes if value is not None]
    if not known:
        return "none"
    return f"{fmean(known):.2f}" + (f" ± {stdev(known):.2f}" if len(known) > 1 else "")


def _does(manifest: Manifest) -> str:
    action = manifest.action
    match action.kind:
        case "simplex":
            return "weights of all of them and cash, none short"
        case "box":
            return f"weights that may be short, {action.gross:g} of equity together at most"
        case "discrete":
            return f"one of {len(action.allocations)} allocations in {action.parts} equal parts"


def _verdict(manifest: Manifest) -> str:
    test = manifest.results["test"]
    ahead, richer = (
        test.policy.sharpe > test.equal_weight.sharpe,
        test.policy.total_return > test.equal_weight.total_return,
    )
    return (
        f"**Verdict.** Out of sample, after costs, its Sharpe ratio is {'above' if ahead else 'not above'} that of equal weight on the "
        f"same days ({test.policy.sharpe:.2f} against {test.equal_weight.sharpe:.2f}), and it earned {'more' if richer else 'no more'} "
        f"({test.policy.total_return:.1%} against {test.equal_weight.total_return:.1%}). {_how_many(test)}"
    )


def _how_many(test: Result) -> str:
    above = sum(value is not None and value > test.equal_weight.sharpe for value in test.sharpe_by_seed)
    return f"Of {len(test.sharpe_by_seed)} seeds {above} came out above equal weight there."


def _figure(value: float | None) -> str:
    return "none" if value is None or value != value else f"{value:.2f}"
