"""List the features that policies may read, and what each needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, Json
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, say, table
from quantd.trading.exit_codes import DONE, USAGE

if TYPE_CHECKING:
    from quantd.strategies.features import Feature

REQUIREMENT_WORD = {
    "benchmark": "benchmark", "weight": "book", "cash": "book", "equity": "book",
    "vix": "vix", "yield_10y": "yield_10y",
}  # fmt: skip
"""Input of a feature besides bars -> its word in the table."""

AVAILABILITY = {
    "benchmark": "[universe] benchmark is one of the symbols",
    "book": "weights, cash and equity over time: in training, and where your own policy provides them",
    "vix": "[feed] macro names the series vix; data/vix_daily.parquet has it",
    "yield_10y": "[feed] macro names the series yield_10y; quantd has no file of it",
}
"""Word in the table -> when this input is available."""

SERIES_ENDINGS: Final = ("", "_ago_1", "_change_5", "_z_60", "_is_1")
"""Endings of the names of the features that are listed for a series per symbol."""

SWITCHED_OFF: Final = "switched off: [feed] series has use = false"
SERIES_LINE: Final = (
    "series_NAME, series_NAME_ago_1, series_NAME_change_5, series_NAME_z_60, series_NAME_is_1: a value for each "
    "symbol, from a file that [feed] series names"
)


def features_list(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One feature, with any window: rsi_21.week.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="SET", help="default, four_asset, full or observation.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="QUANTD_CONFIG", help="The configuration whose series count; config.toml if any."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the features: samples, availability, source and meaning."""
    from quantd.strategies.features import SETS, UNAVAILABLE, feature
    from quantd.strategies.indicators import INDICATORS

    series, inputs = _inputs(config)
    unused_series = {f"series_{series_name}": SWITCHED_OFF for series_name, in_use in series.items() if not in_use}
    if name is not None:
        rows = [_row(feature(name), series, inputs)]
    else:
        series_features = [
            f"series_{series_name}{kind}" for series_name, in_use in series.items() if in_use for kind in SERIES_ENDINGS
        ]
        rows = [
            _row(feature(feature_name), series, inputs)
            for feature_name in (*_names(of), *(() if of else series_features))
        ]
    lacking = {} if of or name else {**UNAVAILABLE, **unused_series}
    document = {"features": rows, "unavailable": dict(lacking), "sets": {n: len(s) for n, s in SETS.items()}}
    counts = f"{len(rows)} features from {len(INDICATORS)} indicators. Any window works: rsi_21, momentum_90.week.rank"
    is_of_series = not of and (name is None or name.startswith("series_"))
    answer(
        as_json, document, lambda: _print_rows(rows, lacking, unused_series),
        *([SERIES_LINE] if is_of_series else []), *([counts] if name is None else []),
    )  # fmt: skip
    return DONE


def _print_rows(rows: list[dict[str, Any]], lacking: Mapping[str, str], off: Mapping[str, str]) -> None:
    """Print a table of the available and unavailable features, and what makes unavailable ones available.

    `lacking` maps an unavailable feature to the reason; `off` has the features of series that are switched off. The
    words under `with` in a row name the inputs that its feature still needs.
    """
    cells = [
        (
            r["name"], r["group"], str(r["samples"]),
            "off" if not r["available"] else f"with {r['with'][0]}" if r["with"] else "yes",
            f"TA-Lib {r['talib']}" if r["talib"] else r["source"].removeprefix("strategies."), _cut(r["words"]),
        )
        for r in rows
    ]  # fmt: skip
    cells += [
        (missing, "series" if missing in off else missing, "", "off" if missing in off else "no", "", _cut(why))
        for missing, why in lacking.items()
    ]
    table(("name", "group", "samples", "available", "source", "what"), cells, right=("samples",))
    say("")
    for word in dict.fromkeys(word for r in rows for word in r["with"]):
        say(f"with {word}: {AVAILABILITY.get(word, '[feed] series names its file')}")
    for missing, why in lacking.items():
        say(f"{missing}: {why}")
    for feature_name in (row["name"] for row in rows if not row["available"]):
        say(f"{feature_name}: {SWITCHED_OFF}")


def _inputs(config: Path | None) -> tuple[dict[str, bool], frozenset[str]]:
    """Return (whether each series per symbol is in use, other inputs); the other inputs are macro series and
    "benchmark".

    Both results are empty if no configuration is named, and config.toml is missing or has mistakes.
    """
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.config import ConfigError

    if config is None and not CONFIG_FILE.is_file():
        return {}, frozenset()
    try:
        settings = read(config or CONFIG_FILE)
    except ConfigError:
        if config is None:
            return {}, frozenset()
        raise
    input_names = {series.name for series in settings.feed.macro}
    if settings.universe.benchmark in settings.universe.symbols:
        input_names.add("benchmark")
    return {series.name: series.use for series in settings.feed.series}, frozenset(input_names)


def _names(of: str | None) -> list[str]:
    """Return the names of the features of a set or, with None, of all sets and families."""
    from quantd.strategies.features import FAMILIES, SETS, feature
    from quantd.strategies.policies import nearest

    if of is not None:
        if of not in SETS:
            raise Failure(f"there is no set {of!r}; {nearest(of, SETS)}", USAGE)
        return list(SETS[of])
    # every feature of the sets; a family without one is represented by its own name, its usual member
    set_names = dict.fromkeys(name for names in SETS.values() for name in names)
    families = {feature(name).family for name in set_names}
    return [*set_names, *(family for family in FAMILIES if family not in families)]


def _row(feature: "Feature", series: Mapping[str, bool], inputs: frozenset[str]) -> dict[str, Any]:
    """Return the row of a feature in the list. `series` maps a series to whether it is in use; `inputs` are the
    available inputs.

    In the row, `needs` are all inputs besides bars, and `with` those of them that the configuration lacks.
    """
    from quantd.strategies.features.families import SOURCE_OF
    from quantd.strategies.indicators import INDICATORS

    about, node = feature.about, feature.node()
    # a configured series meets the needs of its features
    requirement_words = [REQUIREMENT_WORD.get(need, need) for need in about.needs if feature.series not in series]
    indicator = SOURCE_OF.get(feature.family) or SOURCE_OF.get(feature.family.removesuffix("_distance"))
    definition = INDICATORS[indicator] if indicator else None
    made_by = definition.make if definition else about.make
    source = f"{made_by.__module__}.{made_by.__qualname__}".partition(".<")[0]
    return {
        "name": feature.name, "group": about.group, "samples": feature.lookback, "bars": node.first + 1,
        "every": feature.every, "across": feature.across, "words": about.words,
        "source": source if definition else "quantd.strategies.features.families",
        "talib": definition.talib if definition else "", "formula": node.key, "needs": list(about.needs),
        "available": series.get(feature.series, True),
        "with": list(dict.fromkeys(word for word in requirement_words if word not in inputs)),
    }  # fmt: skip


def _cut(words: str) -> str:
    return words if len(words) <= 50 else words[:49] + "…"


COMMAND: Final = Command("Look", 110, {"list": features_list})
