"""The trials of a result's market, from the looks of a ledger, and the hurdle that they set for its Sharpe ratio.

A look is one evaluation of a configuration, and a trial is a configuration with one look or more. The hurdle is the
Sharpe ratio that luck alone is expected to give the best of the trials.

What can go wrong: a second look makes a result appear better. Three rules prevent it. A trial stays counted: where a
configuration runs again, its ratio is replaced, and the number of trials is not reduced. The hurdle is the highest
after any line of the ledger (`highest_hurdle`). The hurdle after a line is computed from the lines up to it only, so a
later line cannot change it.

A withdrawal is the exception. A look at leaked or misaligned data has a ratio that no strategy has. A ratio of 12 makes
every honest result of its market worthless. A withdrawn look stays counted as a trial, and its ratio no longer counts
in the spread of ratios. Every figure states the number of withdrawn trials behind it. A look whose agent knows the
future is marked by a further line, and still counts.

Rejected: to delete the line of a faulty look, which would also remove the trial (docs/decisions/020). Rejected, too:
all trials of a folder as one sample. One trial on six bars of a toy symbol turned a deflated ratio of 0.99 into 0.00
(docs/decisions/016).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, sqrt
from typing import Final, Literal

from msgspec import Struct, structs

from quantd.models.history.fingerprints import Fingerprint, share_series
from quantd.research.significance.deflated_sharpe import Prefix, Spread, deflated_sharpe, highest_hurdle
from quantd.trading.display_text import some
from quantd.trading.market import Floats

SAMPLING: Final = {"1d": "daily", "1h": "hourly", "1m": "by the minute"}
"""Interval of bars -> its adverb in texts."""

Kind = Literal["backtest", "sweep", "study", "evaluate", "walk"]

Reason = Literal["leak", "misaligned", "wrong-data"]
"""Why a look is withdrawn: its policy saw the future, its series were joined at wrong dates, its data were wrong."""


class MarketIdentity(Struct, frozen=True):
    """Identity of a market: its symbols, the interval of its bars ("1d"), and in `series` the symbols' fingerprints.

    A fingerprint has a byte for each weekly return; a symbol without returns has none.
    """

    symbols: tuple[str, ...]
    interval: str
    series: dict[str, Fingerprint]


class Look(Struct, frozen=True, omit_defaults=True):
    """One look: the evaluation of a configuration on one market between two dates.

    `digest` identifies configuration, bars and policies, `market` the bars between these dates. `sharpe` is annual,
    based on `periods` samples a year. `models` are the trained policies by their digests, each with the trials behind
    it: seeds, checkpoints, test looks. `family` is a group that the user named. `values` are the swept or studied
    values by name. Where `values` is empty, `keys` has the keys that affect trading and are not at their default. The
    `identity` of a market is stored once in the ledger, with the first look at the market.
    """

    kind: Kind
    name: str
    digest: str
    market: str
    first: str
    last: str
    sharpe: float
    periods: float
    models: dict[str, int] = {}
    family: str = ""
    values: dict[str, str] = {}
    identity: MarketIdentity | None = None
    keys: dict[str, str] = {}

    @property
    def years(self) -> range:
        """The calendar years from the first to the last sample."""
        return range(int(self.first[:4]), int(self.last[:4]) + 1)

    @property
    def market_text(self) -> str:
        """The market of the look (evaluation) as text: symbols, years and sampling, such as "SPY, QQQ 2004 to 2021,
        daily".
        """
        if self.identity is None:
            return ""
        years, interval = self.years, self.identity.interval
        span = f"{years[0]} to {years[-1]}" if len(years) > 1 else f"{years[0]}"
        return f"{some(self.identity.symbols)} {span}, {SAMPLING.get(interval, f'bars of {interval}')}"


def alike(look: Look, other: Look) -> bool:
    """Return True where `other` is a trial of the market of `look`.

    Both looks (evaluations) must have bars of the same interval, at least one calendar year in common, and a symbol in
    common: by name, or by equal returns (`share_series`).
    """
    identity, counterpart = look.identity, other.identity
    if identity is None or counterpart is None:
        return True
    if identity.interval != counterpart.interval or max(look.years[0], other.years[0]) > min(
        look.years[-1], other.years[-1]
    ):
        return False
    if not set(identity.symbols).isdisjoint(counterpart.symbols):
        return True
    return share_series(identity.series.values(), counterpart.series.values())


class Withdrawal(Struct, frozen=True):
    """The withdrawal of a faulty look (evaluation): `digest` is the digest of the look, `words` describe the fault."""

    digest: str
    reason: Reason
    words: str

    @property
    def text(self) -> str:
        """The reason of the withdrawal with its words: "leak: the feature is tomorrow's return"."""
        return f"{self.reason}: {self.words}"


class Foreknowledge(Struct, frozen=True):
    """The verdict `words` of `quantd backtest --rename` on a look (evaluation) whose agent knows the future.

    The verdict applies to the configuration `digest` as long as its Sharpe ratio is `sharpe`.
    """

    digest: str
    sharpe: float
    words: str


Entry = Look | Withdrawal | Foreknowledge
"""The type of a line of the ledger."""


@dataclass(frozen=True)
class Known:
    """The known looks (evaluations), withdrawals and verdicts on knowledge of the future, in the order of the ledger.

    `fault` is why the number of trials is unknown, and `remedy` what a user can do about it. `of` is the result that
    was passed to `like`: only trials of its market count. Without it (None), all trials count.
    """

    chain: tuple[Entry, ...] = ()
    fault: str = ""
    remedy: str = ""
    of: Look | None = None

    def like(self, look: Look) -> "Known":
        """Return the trials that count for the result `look`: looks at its market (`alike`) and looks of its family."""
        return replace(self, of=look)

    @property
    def market(self) -> str:
        """The market to which the trials are limited, as text; empty where all trials are counted."""
        if self.of is None:
            return ""
        return self.of.market_text + (f", and of family {self.of.family}" if self.of.family else "")

    @cached_property
    def looks(self) -> tuple[Look, ...]:
        """The looks (evaluations) of the market, each configuration once with its newest ratio."""
        return tuple(self._tally.looks.values())

    @cached_property
    def withdrawals(self) -> dict[str, Withdrawal]:
        """The withdrawals of looks (evaluations) of the market by digest.

        A configuration with a new ratio after its withdrawal is not withdrawn.
        """
        newest = {look.digest: self._faults.get((look.digest, look.sharpe)) for look in self.looks}
        return {digest: withdrawal for digest, withdrawal in newest.items() if withdrawal is not None}

    @cached_property
    def foreknowledge(self) -> dict[tuple[str, float], str]:
        """The newest verdict on looks (evaluations) whose agent knows the future, by digest and ratio."""
        return {(entry.digest, entry.sharpe): entry.words for entry in self.chain if isinstance(entry, Foreknowledge)}

    @property
    def knows(self) -> str:
        """The verdict that an agent of the result passed to `like` knows the future; empty without this verdict."""
        return "" if self.of is None else self.foreknowledge.get((self.of.digest, self.of.sharpe), "")

    @property
    def withdrawn(self) -> int:
        return len(self.withdrawals)

    @property
    def trials(self) -> int | None:
        """The number of trials: the looks (evaluations), and the trials behind each trained policy; None where it is
        unknown.
        """
        return None if self.fault else len(self.looks) + self.behind_models

    @property
    def document(self) -> dict[str, object]:
        """A dict for JSON: the numbers of trials and of withdrawn trials, their market, and why a number is unknown."""
        return {"trials": self.trials, "withdrawn": self.withdrawn, "trials_of": self.market, "fault": self.fault}

    @property
    def behind_models(self) -> int:
        """The number of trials behind the trained policies, without the looks (evaluations) themselves."""
        return self._tally.behind_models

    @property
    def counted(self) -> str:
        """The number of trials and their market: "3 trials known of SPY, QQQ 2004 to 2021, daily"."""
        if self.trials is None:
            return "trials unknown"
        return counted(self.trials, self.market, self.withdrawn)

    @property
    def text(self) -> str:
        """Sentences with the number of trials, or with the reason why it is unknown and the remedy."""
        if not self.fault:
            return f"{self.counted}."
        return f"The number of trials is unknown: {self.fault}. {self.remedy}".rstrip()

    @property
    def withdrawal_text(self) -> str:
        """A sentence where the result passed to `like` is itself a withdrawn look; else empty."""
        withdrawal = self.withdrawals.get(self.of.digest) if self.of is not None else None
        return "" if withdrawal is None else f"This look is withdrawn ({withdrawal.text}): it is no result."

    def deflated(self, excess: Floats, sharpe: float, periods: float) -> float | None:
        """Return the deflated Sharpe ratio of a result, which is one of the trials; None where the ratio is undefined.

        `excess` float64[T] are the result's returns above the risk-free rate, `sharpe` its annual ratio, `periods` its
        samples a year.
        """
        if self.fault:
            return None
        value = deflated_sharpe(excess, sharpe / sqrt(periods), self.hurdle(periods, len(excess)))
        return value if isfinite(value) else None

    def hurdle(self, periods: float, samples: int) -> float:
        """Return the Sharpe ratio per sample that luck alone is expected to give the best trial (`highest_hurdle`).

        `periods` is the samples a year of the result, `samples` its number of returns.
        """
        return highest_hurdle((Prefix(p.trials, p.variance / periods) for p in self._tally.prefixes), samples)

    @cached_property
    def _faults(self) -> dict[tuple[str, float], Withdrawal]:
        """The withdrawals of looks (evaluations), by digest and ratio.

        A look that is repeated with the same ratio after its withdrawal is withdrawn too.
        """
        ratios: dict[str, list[float]] = {}
        faults: dict[tuple[str, float], Withdrawal] = {}
        for entry in self.chain:
            if isinstance(entry, Look):
                ratios.setdefault(entry.digest, []).append(entry.sharpe)
            elif isinstance(entry, Withdrawal):
                for ratio in ratios.pop(entry.digest, ()):
                    faults.setdefault((entry.digest, ratio), entry)
        return faults

    @cached_property
    def _tally(self) -> "_Tally":
        return _Tally(self)


class _Tally:
    """The trials of a market, counted line by line of the ledger.

    `looks` are the newest looks (evaluations) by digest. `behind_models` is the number of trials behind the trained
    policies. `prefixes` has the number of trials and the variance of their annual Sharpe ratios after each look.
    """

    def __init__(self, ledger: Known) -> None:
        self.looks: dict[str, Look] = {}
        self.behind_models = 0
        self.prefixes: list[Prefix] = []
        chain = [entry for entry in ledger.chain if isinstance(entry, Look)]
        identities = {look.market: look.identity for look in chain if look.identity is not None}
        spread, ratios, models = Spread(), dict[str, float](), dict[str, int]()
        of_market: dict[tuple[str, str, str], bool] = {}  # looks with an equal key are compared once
        for line in chain:
            look = structs.replace(line, identity=identities.get(line.market))
            if ledger.of is not None and look.digest not in self.looks:
                key = look.market, look.first[:4], look.last[:4]
                if key not in of_market:
                    of_market[key] = alike(ledger.of, look)
                # a look of the family counts whatever its own market is
                if not of_market[key] and (not look.family or look.family != ledger.of.family):
                    continue
            self.looks[look.digest] = look
            # the ratio of an earlier run of the same configuration is replaced
            if (earlier := ratios.pop(look.digest, None)) is not None:
                spread.remove(earlier)
            # a withdrawn look counts, and its ratio does not
            if (look.digest, look.sharpe) not in ledger._faults:
                spread.add(look.sharpe)
                ratios[look.digest] = look.sharpe
            for name, count in look.models.items():
                models[name] = max(count, models.get(name, 1))
            self.behind_models = sum(count - 1 for count in models.values())
            self.prefixes.append(Prefix(len(self.looks) + self.behind_models, spread.variance))


def counted(trials: int, market: str, withdrawn: int = 0) -> str:
    """Return "3 trials known of SPY, QQQ 2004 to 2021, daily", or "3 trials, 1 withdrawn, known of ..."."""
    withdrawn_text = f", {withdrawn:,} withdrawn," if withdrawn else ""
    return f"{trials:,} trial{'' if trials == 1 else 's'}{withdrawn_text} known" + (f" of {market}" if market else "")
