"""The benchmarks of `[study]`: symbols, registered policies and mixes, each in a run of its own over the same market.

What can go wrong: a benchmark is not what its name says. Under a cap of 35 % on each position, the benchmark SPY would
be mostly cash. So a symbol or a mix runs without portfolio limits. A policy runs under the limits of the run itself.
All other settings must equal those of the run, or the comparison is refused.
"""

from dataclasses import dataclass, replace

import msgspec

from quantd.daemon.assembly.first_session import longest_history
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.config import Config
from quantd.daemon.config.risk_tables import Limits, Risk
from quantd.daemon.config.values import BOND, EQUITY, mix_of
from quantd.daemon.policies.loading import fit, load
from quantd.research.runs.comparison import Drive, Settings, alone, recorded, require_same, settings_of
from quantd.research.runs.run_record import Record
from quantd.strategies.policies import POLICIES

HOUSE, NONE, UNTRADED = "house limits", "no portfolio limits", "not traded"
"""The limits of a benchmark's run, in words."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark before its run. `weights` has the weight by symbol of a single symbol or a mix; None for a policy."""

    name: str
    assembly: Assembly
    weights: dict[str, float] | None

    @property
    def limits(self) -> str:
        """The limits of the benchmark's run as text: the account's limits for a policy, none for symbols and mixes."""
        return HOUSE if self.weights is None else NONE

    @property
    def policy(self) -> str:
        """The policy's name, or the weights: SPY 60%, TLT 40%."""
        if self.weights is None:
            return self.name
        return ", ".join(f"{symbol} {weight:g}" for symbol, weight in self.weights.items())


def benchmark_of(assembly: Assembly, name: str) -> Benchmark:
    """Return the benchmark `name`. Raises PolicyError for a policy that needs parameters, or a mix without its bond.

    A policy runs alone under the limits of the run, and has no weights (None). A symbol or a mix runs without limits.
    """
    weights = weights_of(assembly.config, name)
    if weights is None:
        policy = load(name, {}, assembly.config.source.folder)  # {}: the default parameters
        fit(policy, assembly.universe)
        return Benchmark(name, alone(assembly, name, policy), None)
    policy = POLICIES["fixed_mix"]({"weights": weights})
    fit(policy, assembly.universe)
    unlimited = alone(_unlimited(assembly), "fixed_mix", policy)
    rules = assembly.rules
    # the profile `research` would change these settings, which must equal the settings of the run
    run_settings = {
        "follow_ups": rules.follow_ups,
        "rearm_samples": rules.rearm_samples,
        "flatten_on": rules.flatten_on,
    }
    return Benchmark(name, replace(unlimited, rules=msgspec.structs.replace(unlimited.rules, **run_settings)), weights)


def benchmark_history(config: Config) -> int:
    """Return the longest history, in samples, that a benchmark of `[study]` needs.

    Raises PolicyError for a benchmark that cannot be loaded.
    """
    names = [name for name in config.study.benchmarks if weights_of(config, name) is None]
    return longest_history((load(name, {}, config.source.folder) for name in names), config.instruments())


def weights_of(config: Config, name: str) -> dict[str, float] | None:
    """Return the weights of a symbol or a mix by symbol; None for a policy.

    In "60/40" the 60 is `[universe] benchmark` or, where that is not among the symbols, the first symbol. The 40 is the
    first instrument whose `asset` or `sector` is "bond".
    """
    table = config.universe
    if name in table.symbols:
        return {name: 1.0}
    mix = mix_of(name)
    if mix is None:
        return None
    bonds = [instrument.symbol for instrument in table.instruments if BOND in (instrument.asset, instrument.sector)]
    symbol_of_part = {
        EQUITY: table.benchmark if table.benchmark in table.symbols else table.symbols[0],
        BOND: bonds[0] if bonds else BOND,
    }
    return {symbol_of_part.get(symbol, symbol): weight for symbol, weight in mix.items()}


def benchmark_record(benchmark: Benchmark, settings: Settings, drive: Drive) -> Record:
    """Run a benchmark.

    Raises Incomparable where its settings differ from `settings`. Portfolio limits may differ for a symbol or a mix.
    """
    record = recorded(benchmark.assembly, drive)
    benchmark_settings = settings_of(benchmark.assembly, record)
    if benchmark.weights is not None:
        benchmark_settings = msgspec.structs.replace(benchmark_settings, house=settings.house)
    require_same(settings, benchmark_settings)
    return record


def _unlimited(assembly: Assembly) -> Assembly:
    """Return the run with the profile `research` and no limits; all other settings stay."""
    risk = assembly.config.risk
    other_settings = {
        name: getattr(risk, name) for name in Risk.model_fields.keys() - Limits.model_fields.keys() - {"profile"}
    }
    unlimited_risk = type(risk)(profile="research").model_copy(update=other_settings)
    document = assembly.config.document.model_copy(update={"risk": unlimited_risk})
    return replace(assembly, config=replace(assembly.config, document=document))
