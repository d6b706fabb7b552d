"""The model card: what a policy was trained on and how it did, poor results too, each number from the manifest."""

from collections.abc import Mapping
from datetime import UTC, datetime

from quantd.models.artifacts.manifest import Manifest, Result
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, usual_lot_nano
from quantd.trading.statistics import SHARPE_DEFINITION

PARTS = {
    "train": "in sample: the weights were fitted here",
    "validation": "in sample: the seed and the iteration were chosen here",
    "test": "out of sample: nothing was fitted on it",
}


def lots_text(lots: Mapping[str, float]) -> str:
    """Sizes by symbol in words, the usual one first: "lots of 1 (BTC-USD 1e-08)"."""
    sizes = list(lots.values())
    usual = max(sizes, key=sizes.count)
    apart = ", ".join(f"{symbol} {size:g}" for symbol, size in lots.items() if size != usual)
    return f"lots of {usual:g}" + (f" ({apart})" if apart else "")


def card(manifest: Manifest, costs: Costs, cash: float) -> str:
    """Markdown."""
    training = manifest.training
    until = datetime.fromtimestamp(training.until_ns / 1e9, tz=UTC)
    lots = {symbol: usual_lot_nano(symbol) / NANO for symbol in manifest.universe}
    traded = "whole shares" if set(lots.values()) == {1.0} else lots_text(lots)
    lines = [
        f"# {manifest.name}",
        "",
        f"A long-only policy: {manifest.algorithm}; network `{manifest.network.kind}`, {manifest.network.hidden} units wide.",
        "It scores every asset by its own past returns and the mean of all, and leaves the rest in cash. "
        + ("It trades any universe." if manifest.network.equivariant else "It trades only the symbols below."),
        "",
        f"- Made by: `{training.command}`",
        f"- Symbols: {', '.join(manifest.universe)}",
        *(f"- Data: `{name}`, BLAKE2b {digest[:16]}…" for name, digest in sorted(training.data.items())),
        f"- Trained until {until:%Y-%m-%d %H:%M} UTC: bars up to then are inside its training window.",
        f"- Seeds: {', '.join(map(str, training.seeds))}; seed {training.chosen_seed} at iteration {training.chosen_iteration} was chosen by validation.",
        f"- Features: {', '.join(manifest.features.names)} over {manifest.features.lookback} samples.",
        f"- Account: {cash:,.0f}, {traded}, a decision every session, filled at the next open; "
        f"commission {costs.commission_bp:g} bp, slippage {costs.slippage_bp:g} bp, spread {costs.spread_bp:g} bp of traded value.",
        f"- {SHARPE_DEFINITION}.",
        "",
        "| part | policy | total | a year | volatility | Sharpe | drawdown | turnover a year |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in manifest.results.items():
        window = training.windows[name]
        lines += rows_of(f"{name} {window.first} to {window.last}", result)
    lines += ["", "Sharpe of every seed, in order:", ""]
    for name, result in manifest.results.items():
        seeds = ", ".join("none" if s is None else f"{s:.2f}" for s in result.sharpe_by_seed)
        lines.append(f"- {name} ({PARTS[name]}): {seeds}")
    test = manifest.results["test"]
    ahead = test.policy.sharpe > test.equal_weight.sharpe
    richer = test.policy.total_return > test.equal_weight.total_return
    lines += [
        "",
        f"**Verdict.** Out of sample, after costs, its Sharpe ratio is {'above' if ahead else 'not above'} that of equal weight on the "
        f"same days ({test.policy.sharpe:.2f} against {test.equal_weight.sharpe:.2f}), and it earned {'more' if richer else 'no more'} "
        f"({test.policy.total_return:.1%} against {test.equal_weight.total_return:.1%}).",
        looks_text(training.test_looks),
        "One window of about two years proves nothing in either direction. The stocks among the symbols were picked by somebody "
        "who knew that they would still exist: absolute figures are biased upward, for both rows alike.",
        "",
    ]
    return "\n".join(lines)


def looks_text(times: int) -> str:
    """How pristine the test part is."""
    if times == 1:
        return "The test part was looked at once, for this card."
    return (
        f"The test part was looked at {times} times while this policy was made: earlier forms of it had their test figures "
        "shown before this one was settled on, so the test is not untouched."
    )


def rows_of(part: str, result: Result) -> list[str]:
    rows = []
    for label, figures, turnover in (
        ("learned", result.policy, f"{result.turnover_annual:.1f}"),
        ("equal weight", result.equal_weight, ""),
    ):
        rows.append(
            f"| {part} | {label} | {figures.total_return:.1%} | {figures.annual_return:.1%} | {figures.volatility_annual:.1%} "
            f"| {figures.sharpe:.2f} | {figures.max_drawdown:.1%} | {turnover} |"
        )
    return rows
