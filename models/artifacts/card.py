"""Model cards: documents that say how an artifact was made and its results, poor ones included. Every number is from
the manifest."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean, stdev
from typing import Final

from quantd.models.artifacts.manifest import (
    MEANING,
    PLAIN,
    SAME,
    AgentManifest,
    Comparison,
    EnsembleManifest,
    ForestManifest,
    Likeness,
    Result,
    ScorerManifest,
    Training,
)
from quantd.trading.cash_rate import CashRate
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, synthetic_note, usual_lot_nano
from quantd.trading.statistics import SHARPE_DEFINITION, sharpe_definition

PARTS: Final = {
    "train": "in sample: the weights were fitted here",
    "validation": "in sample: the seed and the iteration were chosen here",
    "test": "out of sample: nothing was fitted on it",
}


COLUMNS: Final = ("part", "policy", "total", "a year", "volatility", "Sharpe", "drawdown", "turnover a year")

RATIOS: Final = ("Sortino", "Calmar")
"""Columns after the Sharpe ratio, for trainings whose record has these ratios."""

RATIOS_DEFINITION: Final = (
    "Sortino: mean excess return a sample over the root mean square (n) of the shortfalls below the risk-free rate, "
    "annualised as Sharpe; Calmar: return a year over the largest drawdown"
)
"""Printed beside Sortino and Calmar ratios."""

CAUTION: Final = (
    "One window of about two years proves nothing in either direction. The stocks among the symbols were picked by "
    "somebody who knew that they would still exist: absolute figures are biased upward, for both rows alike."
)


def lots_text(lots: Mapping[str, float]) -> str:
    """Return lot sizes in words, the most frequent first: "lots of 1 (BTC-USD 1e-08)"."""
    sizes = list(lots.values())
    usual = max(sizes, key=sizes.count)
    exceptions = ", ".join(f"{symbol} {size:g}" for symbol, size in lots.items() if size != usual)
    return f"lots of {usual:g}" + (f" ({exceptions})" if exceptions else "")


def disguised(likeness: Likeness | None) -> list[str]:
    """Return a card's first lines, which warn of a policy that nearly equals equal weight or one asset; else empty."""
    if likeness is None or not likeness.disguise:
        return []
    distance = likeness.equal_weight if likeness.disguise == "equal weight" else likeness.single
    return [
        f"**This is {likeness.disguise} in disguise.** Its weights lie {distance:.4f} from it, the mean of absolute "
        f"differences over {likeness.decisions} decisions, {likeness.window.first} to {likeness.window.last}; "
        f"{likeness.cash:.1%} is cash.",
        "",
    ]


def power_lines(power: str) -> list[str]:
    """Return the card's line about statistical power, which precedes the results; an empty list for a record without
    it."""
    return [f"**Power.** {power}", ""] if power else []


def made(command: str, symbols: Sequence[str], data: Mapping[str, str], also: str = "") -> list[str]:
    """Return the card's lines with the command, the symbols and the data files.

    `data` maps a file's name to its digest. `also` is a text after the symbols.
    """
    return [
        f"- Made by: `{command}`",
        f"- Symbols: {', '.join(symbols)}{also}",
        *(f"- **{note}**" for note in [synthetic_note(symbols)] if note),
        *(f"- Data: `{name}`, BLAKE2b {digest[:16]}…" for name, digest in sorted(data.items())),
    ]


def trained_on(processor: str) -> list[str]:
    """Return the card's line with the processor of the training; an empty list for a record without it."""
    if not processor:
        return []
    return [f"- Trained on: {processor}. The same command on another processor may give other weights."]


def chosen(training: Training, step: str) -> list[str]:
    """Return the card's lines with the processor, the end of the training window and the choice among seeds.

    `step` names the point of the training that was chosen, such as "iteration 40".
    """
    until = datetime.fromtimestamp(training.until_ns / 1e9, tz=UTC)
    return [
        f"- Trained until {until:%Y-%m-%d %H:%M} UTC: bars up to then are inside its training window.",
        f"- Seeds: {', '.join(map(str, training.seeds))}; seed {training.chosen_seed} "
        f"at {step} was chosen by validation.",
        *trained_on(training.processor),
    ]


def tuned(manifest: AgentManifest) -> list[str]:
    """Return the card's line about the search for the settings; an empty list if there was none."""
    if not manifest.tuning_trials:
        return []
    return [
        f"- Settings: chosen by validation in {manifest.tuning_trials:,} trials of `quantd tune` (each seed at each "
        "evaluation). They count as trials in every deflated Sharpe ratio of this policy."
    ]


def account(capital: float, lots: str, costs: Costs) -> str:
    """Return the card's line about the simulated account: capital, lots, and the costs in basis points of traded
    value."""
    return (
        f"- Account: {capital:,.0f}, {lots}, a decision every session, filled at the next open; commission "
        f"{costs.commission_bp:g} bp, slippage {costs.slippage_bp:g} bp, spread {costs.spread_bp:g} bp of traded value."
    )


def figures(results: Mapping[str, Result], training: Training) -> list[str]:
    """Return the card's table of results: each part of the history, the policy beside equal weight."""
    ratios = has_ratios(results)
    after = COLUMNS.index("Sharpe") + 1
    names = (*COLUMNS[:after], *RATIOS, *COLUMNS[after:]) if ratios else COLUMNS
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, result in results.items():
        window = training.windows[name]
        lines += rows_of(f"{name} {window.first} to {window.last}", result, ratios)
    return lines


def has_ratios(results: Mapping[str, Result]) -> bool:
    """True when the record has Sortino and Calmar ratios: records of older trainings have no Calmar ratio."""
    return any(
        result.policy.calmar is not None or result.equal_weight.calmar is not None for result in results.values()
    )


def definitions(results: Mapping[str, Result], sharpe: str) -> list[str]:
    """Return the card's lines that define the ratios in the table; `sharpe` is the definition of the Sharpe ratio."""
    return [f"- {sharpe}.", *([f"- {RATIOS_DEFINITION}."] if has_ratios(results) else [])]


def verdict(test: Result, also: str = "") -> str:
    """Return the card's sentence that compares the policy with equal weight on the test part, followed by `also`."""
    ahead = test.policy.sharpe > test.equal_weight.sharpe
    richer = test.policy.total_return > test.equal_weight.total_return
    return (
        f"**Verdict.** Out of sample, after costs, its Sharpe ratio is {'above' if ahead else 'not above'} that of "
        f"equal weight on the same days ({test.policy.sharpe:.2f} against {test.equal_weight.sharpe:.2f}), and it "
        f"earned {'more' if richer else 'no more'} ({test.policy.total_return:.1%} against "
        f"{test.equal_weight.total_return:.1%}).{also}"
    )


def scorer_card(manifest: ScorerManifest, costs: Costs, cash: float) -> str:
    """Return the card of a scorer (a network that scores each asset) in Markdown.

    `costs` and `cash` are the costs and the capital of the training.
    """
    training = manifest.training
    lots = {symbol: usual_lot_nano(symbol) / NANO for symbol in manifest.universe}
    traded = "whole shares" if set(lots.values()) == {1.0} else lots_text(lots)
    lines = [
        *disguised(manifest.likeness),
        f"# {manifest.name}",
        "",
        f"A long-only policy: {manifest.algorithm}; network `{manifest.network.kind}`, "
        f"{manifest.network.hidden} units wide.",
        "It scores every asset by its own past returns and the mean of all, and leaves the rest in cash. "
        + ("It trades any universe." if manifest.network.equivariant else "It trades only the symbols below."),
        "",
        *made(training.command, manifest.universe, training.data),
        *chosen(training, f"iteration {training.chosen_iteration}"),
        f"- Features: {', '.join(manifest.features.names)} over {manifest.features.lookback} samples.",
        account(cash, traded, costs),
        *definitions(manifest.results, SHARPE_DEFINITION),
        "",
        *power_lines(manifest.power),
        *figures(manifest.results, training),
        "",
        "Sharpe of every seed, in order:",
        "",
    ]
    for name, result in manifest.results.items():
        seeds = ", ".join("none" if s is None else f"{s:.2f}" for s in result.sharpe_by_seed)
        lines.append(f"- {name} ({PARTS[name]}): {seeds}")
    lines += ["", verdict(manifest.results["test"]), looks_text(training.test_looks), CAUTION, ""]
    return "\n".join(lines)


def looks_text(times: int) -> str:
    """Return the sentence about how often test results were seen."""
    if times == 1:
        return "The test part was looked at once, for this card."
    return (
        f"The test part was looked at {times} times while this policy was made: earlier forms of it had their test "
        "figures shown before this one was settled on, so the test is not untouched."
    )


def rows_of(part: str, result: Result, ratios: bool) -> list[str]:
    """Return the rows of a part of the history, the policy and equal weight, with two more columns for `ratios`.

    `part` is the name of the part; the two columns are the Sortino and the Calmar ratio.
    """
    rows = []
    for label, figures, turnover in (
        ("learned", result.policy, f"{result.turnover_annual:.1f}"),
        ("equal weight", result.equal_weight, ""),
    ):
        ratio_cells = f"{ratio_text(figures.sortino)} | {ratio_text(figures.calmar)} | " if ratios else ""
        rows.append(
            f"| {part} | {label} | {figures.total_return:.1%} | {figures.annual_return:.1%} | "
            f"{figures.volatility_annual:.1%} | {figures.sharpe:.2f} | {ratio_cells}{figures.max_drawdown:.1%} | "
            f"{turnover} |"
        )
    return rows


def agent_card(
    manifest: AgentManifest, costs: Costs, capital: float, lots: Sequence[float], cash_rate: CashRate | None = None
) -> str:
    """Return the card of a learned policy in Markdown. `lots` are lot sizes by symbol of the universe, in units.

    `costs`, `capital` and `cash_rate` (None: cash earns nothing) are the settings of the training.
    """
    training, network, sight = manifest.training, manifest.network, manifest.sight
    widths = "-".join(str(width) for width in network.hidden)
    settings = "".join(f", {name} {value}" for name, value in network.settings.items())
    test = manifest.results["test"]
    above = sum(value is not None and value > test.equal_weight.sharpe for value in test.sharpe_by_seed)
    lines = [
        *disguised(manifest.likeness),
        f"# {manifest.name}",
        "",
        "A policy trained by "
        f"{manifest.algorithm.upper()}{f', profile {manifest.profile}' if manifest.profile else ''}: network "
        f"`{network.kind}` {widths}{settings}, {network.parameters:,} learned numbers that act. It decides "
        f"{_decision_text(manifest)}. It trades only the symbols below.",
        "",
        *made(training.command, manifest.universe, training.data),
        *chosen(training, f"step {training.chosen_iteration:,}"),
        *tuned(manifest),
        f"- Shown: {', '.join((*sight.features, *sight.columns)) or 'no features'}"
        f"{f' (benchmark {sight.benchmark})' if sight.benchmark else ''}; "
        f"{f'the last {sight.window} returns; ' if sight.window else ''}"
        f"of its book {' and '.join(sight.book) or 'nothing'}; {sight.lookback} samples are read.",
        account(capital, lots_text(dict(zip(manifest.universe, lots, strict=True))), costs),
        *definitions(manifest.results, sharpe_definition("" if cash_rate is None else cash_rate.words)),
        "",
        *power_lines(manifest.power),
        *figures(manifest.results, training),
        "",
        "Sharpe of every seed, after costs, each at its best on the validation part:",
        "",
        *seed_table(manifest),
        "",
        *(f"- {name}: {PARTS[name]}" for name in manifest.results),
        "",
        verdict(test, f" Of {len(test.sharpe_by_seed)} seeds {above} came out above equal weight there."),
        looks_text(training.test_looks),
        CAUTION,
        "",
    ]
    return "\n".join(lines)


def seed_table(manifest: AgentManifest) -> list[str]:
    """Return the table rows for the seeds: one per seed, then mean and standard deviation (n - 1), then equal
    weight."""
    results, seeds = manifest.results, manifest.training.seeds
    header = ["| seed | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    rows = []
    for index, seed in enumerate(seeds):
        cells = [ratio_text(result.sharpe_by_seed[index]) for result in results.values()]
        chosen = ", chosen" if seed == manifest.training.chosen_seed else ""
        rows.append(f"| {seed}{chosen} | " + " | ".join(cells) + " |")
    spreads = " | ".join(spread(result.sharpe_by_seed) for result in results.values())
    equal = " | ".join(ratio_text(result.equal_weight.sharpe) for result in results.values())
    return [*header, *rows, f"| mean ± spread | {spreads} |", f"| equal weight, same days | {equal} |"]


def spread(sharpes: tuple[float | None, ...]) -> str:
    """Return mean and sample deviation of the seeds' Sharpe ratios, as "0.52 ± 0.11"; "none" without a ratio."""
    ratios = [value for value in sharpes if value is not None]
    if not ratios:
        return "none"
    return f"{fmean(ratios):.2f}" + (f" ± {stdev(ratios):.2f}" if len(ratios) > 1 else "")


def _decision_text(manifest: AgentManifest) -> str:
    """Return what the policy decides, in words."""
    action = manifest.action
    match action.kind:
        case "simplex":
            return "weights of all of them and cash, none short"
        case "box":
            return f"weights that may be short, {action.gross:g} of equity together at most"
        case "discrete":
            return f"one of {len(action.allocations)} allocations in {action.parts} equal parts"


def ratio_text(value: float | None) -> str:
    """Return a ratio with two decimals; "none" where it is unknown."""
    return "none" if value is None or value != value else f"{value:.2f}"


def card_of_copy(manifest: AgentManifest, parent_card: str) -> str:
    """Return the card of a smaller copy: its agreement with the copied artifact, then the card of that artifact."""
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            f"A copy in {manifest.precision} of the artifact {manifest.parent[:16]}…, made by `{manifest.made}`.",
            "",
            *agreement(manifest),
            "",
            "The results below are the parent's: this copy was not judged on its own.",
            "",
            "---",
            "",
            parent_card,
        ]
    )


def card_of_import(manifest: AgentManifest) -> str:
    """Return the card of a policy that was trained elsewhere."""
    sight, until = manifest.sight, datetime.fromtimestamp(manifest.training.until_ns / 1e9, tz=UTC)
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            f"A policy of {manifest.algorithm.upper()}, trained elsewhere. It decides {_decision_text(manifest)}.",
            "",
            *made(manifest.training.command, manifest.universe, manifest.training.data),
            f"- Trained until {until:%Y-%m-%d %H:%M} UTC, as the one who imported it declared; nothing here checks it.",
            f"- Shown: {', '.join((*sight.features, *sight.columns)) or 'no features'}; window {sight.window}; of its "
            f"book {' and '.join(sight.book) or 'nothing'}. That its training showed the same is declared, too.",
            "",
            "How it earns was not judged: `quantd backtest` and `quantd evaluate` say that.",
            "",
        ]
    )


def card_of_pupil(manifest: AgentManifest, teacher: str) -> str:
    """Return the card of a smaller network trained on another artifact's answers."""
    shape = manifest.network
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            f"A network of {' and '.join(map(str, shape.hidden))} units ({shape.parameters} numbers) that was taught "
            f"to answer as {teacher} (artifact {manifest.parent[:16]}…) does, by `{manifest.made}`.",
            "",
            *agreement(manifest),
            *trained_on(manifest.training.processor),
            "",
            "It was taught on observations of the teacher's training window, and compared on others of it. How it "
            "earns was not judged: `quantd backtest` and `quantd evaluate` say that.",
            "",
        ]
    )


def agreement(manifest: AgentManifest) -> list[str]:
    """Return the card's lines about how far the copy agrees with its parent artifact."""
    measured = manifest.agreement
    assert measured is not None
    action = "the same allocation" if manifest.action.kind == "discrete" else f"no weight further apart than {SAME:g}"
    return [
        f"- Graph: {measured.size_ratio:.2f} of the parent's bytes.",
        f"- From an observation to weights, batch 1: p50 {measured.p50_us:.1f} µs, p99 {measured.p99_us:.1f} µs; the "
        f"parent, in the same run, {measured.parent_p50_us:.1f} µs and {measured.parent_p99_us:.1f} µs.",
        f"- Over {measured.probes} observations: {measured.equal_actions:.1%} with {action}; largest difference "
        f"of a weight {measured.largest_difference:.2g}, of all weights together "
        f"{measured.mean_difference:.2g} in the mean.",
        *([f"- Left in float32, as rounding them did most harm: {', '.join(measured.left)}."] if measured.left else []),
    ]


def forest_card(manifest: ForestManifest) -> str:
    training, forest = manifest.training, manifest.forest
    lines = [
        f"# {manifest.name}",
        "",
        f"A random forest that predicts, for the next {manifest.horizon} samples: {MEANING[manifest.predicts]}.",
        f"The plain estimate it is held to: {PLAIN[manifest.predicts]}. The trees hold what is added to it.",
        "",
        *made(
            training.command,
            manifest.universe,
            training.data,
            "; it answers for any universe, one row an asset or a pair.",
        ),
        f"- Window: {training.window.first} to {training.window.last}, every {training.stride}th session, "
        f"{training.rows} rows.",
        f"- {forest.trees} trees, depth at most {forest.depth}, at most {forest.leaves} leaves a tree, at least "
        f"{forest.least_in_leaf} rows a leaf, {forest.feature_share:.0%} of the features at a split, seed "
        f"{forest.seed}.",
        *trained_on(training.processor),
        f"- Features, scaled: {', '.join(manifest.features.names)}; {manifest.features.lookback} samples.",
        f"- Out of sample: expanding walk forward; an outcome fitted on ended more than {training.embargo} sessions "
        "before the first decision judged.",
        "",
        "| judged | fitted until | rows | R² | plain R² | MSE | plain MSE |",
        "|---|---|---|---|---|---|---|",
        *(_comparison_row(fold) for fold in manifest.folds),
        _comparison_row(manifest.together, "**all** "),
        "",
        f"**Verdict.** {forest_verdict(manifest)}",
        "R² pools all assets and dates: differences between assets are part of what it explains, for both alike. "
        "Outcomes overlap, so the rows are far fewer than they look.",
        "",
    ]
    return "\n".join(lines)


def forest_verdict(manifest: ForestManifest) -> str:
    """Return one sentence that compares the forest with the plain estimate and with the required threshold."""
    model, plain = manifest.together.model, manifest.together.plain
    better = "better than" if manifest.beats_plain() else "not better than"
    wins = sum(fold.model.mse < fold.plain.mse for fold in manifest.folds)
    reached = "reaches" if model.r2 >= manifest.threshold else "misses"
    state = "on" if manifest.beats_plain() else "switched off"
    return (
        f"Out of sample it is {better} the plain estimate (MSE {model.mse:.4f} against {plain.mse:.4f}; better in "
        f"{wins} of {len(manifest.folds)} steps), so it starts {state}. Its R² of {model.r2:.2f} {reached} the "
        f"{manifest.threshold:g} asked for."
    )


def _comparison_row(comparison: Comparison, label: str = "") -> str:
    """Return the row of a comparison in the table of a forest."""
    model, plain = comparison.model, comparison.plain
    return (
        f"| {label}{comparison.first} to {comparison.last} | {comparison.fitted_until} | {comparison.rows} "
        f"| {model.r2:.3f} | {plain.r2:.3f} | {model.mse:.4f} | {plain.mse:.4f} |"
    )


def ensemble_card(manifest: EnsembleManifest, algorithms: Sequence[str]) -> str:
    lines = [
        f"# {manifest.name}",
        "",
        f"An ensemble of {len(algorithms)} policies by {manifest.combination}, made by `{manifest.made}`. It was not "
        f"judged as a whole.",
        "",
        "| member | share | algorithm | artifact |",
        "|---|---|---|---|",
    ]
    for member, algorithm in zip(manifest.members, algorithms, strict=True):
        lines.append(f"| {member.folder} | {member.share:.3f} | {algorithm} | {member.digest[:16]}… |")
    if manifest.measured:
        lines += ["", f"Shares are by {manifest.measured}."]
    return "\n".join([*lines, ""])
