"""The trials of a result's market, from the looks of a ledger, and the hurdle that they set for its Sharpe ratio.

A look is one evaluation of a configuration, and a trial is a configuration with one look or more. The hurdle is the
Sharpe ratio that luck alone is expected to give the best of the trials.

What can go wrong: a second look makes a result appear better. Three rules prevent it. A trial stays counted: where a
configuration runs again, its ratio is replaced, and the number of trials is not reduced. The hurdle is the highest
after any line of the ledger (`highest_hurdle`). The hurdle after a line is computed from the lines up to it only, so a
later line cannot change it. So a look without a recorded market counts for every market in the hurdles before the line
that records its market.

A withdrawal is the exception. A look at leaked or misaligned data has a ratio that no strategy has. A ratio of 12 makes
every honest result of its market worthless. A withdrawn look stays counted as a trial, and its ratio no longer counts
in the spread of ratios. The gain from a withdrawal is never hidden: where it raises a figure, the figure without
withdrawals stands beside it. A look whose agent knows the future is marked by a further line, and still counts.

Rejected: to delete the line of a faulty look, which would also remove the trial (docs/decisions/020). Rejected, too:
all trials of a folder as one sample. One trial on six bars of a toy symbol turned a deflated ratio of 0.99 into 0.00
(docs/decisions/016).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, sqrt
from typing import Final, Literal, NamedTuple

from msgspec import Struct, structs

from quantd.adapters.feeds.source import some
from quantd.models.history.fingerprints import Fingerprint, share_series
from quantd.research.significance.deflated_sharpe import Prefix, Spread, deflated_sharpe, highest_hurdle
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
    `identity` of a market is stored once in the ledger, with the first look at the market. Looks of earlier versions
    have neither `keys` nor an identity.
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
    common: by name, or by equal returns (`share_series`). A look without a recorded market counts for every market,
    because nothing shows that its market is another one.
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


class Deflation(NamedTuple):
    """The deflated Sharpe ratio; `without_withdrawals` is the ratio as if no trial was withdrawn, None if not lower."""

    value: float
    without_withdrawals: float | None


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
        return self._tally.looks

    @cached_property
    def families(self) -> dict[str, frozenset[str]]:
        """The families (groups that the user named) of each configuration, by its digest."""
        families: dict[str, frozenset[str]] = {}
        for entry in self.chain:
            if isinstance(entry, Look) and entry.family:
                families[entry.digest] = families.get(entry.digest, frozenset()) | {entry.family}
        return families

    @cached_property
    def withdrawals(self) -> dict[str, Withdrawal]:
        """The withdrawals of looks (evaluations) of the market by digest.

        A configuration with a new ratio after its withdrawal is not withdrawn.
        """
        # only the newest line of a configuration counts; `_faults` has the withdrawals by index of the line
        newest_line = {entry.digest: index for index, entry in enumerate(self.chain) if isinstance(entry, Look)}
        of_market = {look.digest for look in self.looks}
        return {
            digest: self._faults[index]
            for digest, index in newest_line.items()
            if index in self._faults and digest in of_market
        }

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
        return None if self.fault else max((prefix.trials for prefix in self._tally.prefixes), default=0)

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
    def unplaced(self) -> str:
        """A sentence about the looks (evaluations) whose market is not recorded, and which count for every market; else
        empty.
        """
        count = sum(look.identity is None for look in self.looks)
        return f"{count:,} of them {'has' if count == 1 else 'have'} {NO_MARKET}" if count and not self.fault else ""

    @property
    def text(self) -> str:
        """Sentences with the number of trials, or with the reason why it is unknown and the remedy."""
        if not self.fault:
            return " ".join(filter(None, (f"{self.counted}.", self.unplaced)))
        return f"The number of trials is unknown: {self.fault}. {self.remedy}".rstrip()

    @property
    def withdrawal_text(self) -> str:
        """A sentence where the result passed to `like` is itself a withdrawn look; else empty."""
        withdrawal = self.withdrawals.get(self.of.digest) if self.of is not None else None
        return "" if withdrawal is None else f"This look is withdrawn ({withdrawal.text}): it is no result."

    def deflated(self, excess: Floats, sharpe: float, periods: float) -> Deflation | None:
        """Return the deflated Sharpe ratio of a result, which is one of the trials; None where the ratio is undefined.

        `excess` float64[T] are the result's returns above the risk-free rate, `sharpe` its annual ratio, `periods` its
        samples a year.
        """
        if self.fault:
            return None
        values = [
            deflated_sharpe(excess, sharpe / sqrt(periods), self.hurdle(periods, len(excess), withdrawals=withdrawals))
            for withdrawals in (True, False)  # as the ledger is, then as if no look was withdrawn
        ]
        if not isfinite(values[0]):
            return None
        # the second one is given only where withdrawals raise the ratio
        return Deflation(values[0], values[1] if values[0] > values[1] else None)

    def hurdle(self, periods: float, samples: int, *, withdrawals: bool = True) -> float:
        """Return the Sharpe ratio per sample that luck alone is expected to give the best trial (`highest_hurdle`).

        `periods` is the samples a year of the result, `samples` its number of returns. If `withdrawals` is False, each
        look (evaluation) counts as if none was withdrawn.
        """
        tally = self._tally if withdrawals or not self._faults else self._tally_unwithdrawn
        return highest_hurdle((Prefix(p.trials, p.variance / periods) for p in tally.prefixes), samples)

    @cached_property
    def _faults(self) -> dict[int, Withdrawal]:
        """The withdrawals, by the index of the withdrawn look in the chain of ledger entries."""
        return dict(_withdrawn_lines(self.chain))

    @cached_property
    def _tally(self) -> "_Tally":
        """The trials, with the ratios of withdrawn looks removed."""
        return _Tally(self.chain, self.of, frozenset(self._faults))

    @cached_property
    def _tally_unwithdrawn(self) -> "_Tally":
        """The trials as if no look was withdrawn."""
        return _Tally(self.chain, self.of, frozenset())


class _Tally:
    """Counts the trials of a market line by line of the ledger.

    After each line, the number of trials and the variance of their annual Sharpe ratios are known.
    """

    def __init__(self, chain: tuple[Entry, ...], result_look: Look | None, withdrawn: frozenset[int]) -> None:
        """Counts, line by line of the ledger, the trials of the market of `result_look`; of all markets where it is
        None.

        `withdrawn` are the indices of withdrawn lines: their trials count, and their ratios do not.
        """
        self._result_look = result_look
        self._family: set[str] = set()
        """The digests of the looks so far of the family of `result_look`."""
        self._identities: dict[str, MarketIdentity] = {}
        """The identities of markets so far, by digest of the market."""
        # (market, first year, last year, no identity) -> whether such a look is of the market of `result_look`
        self._alike: dict[tuple[str, str, str, bool], bool] = {}
        self._members: dict[str, Look] = {}
        """The trials so far, by digest of the look."""
        self._spread = Spread()
        self._ratios: dict[str, float] = {}
        """The ratios in the spread, by digest."""
        self._models: dict[str, int] = {}
        """The largest number of trials behind each trained policy, by its digest."""
        self.prefixes = [
            self._prefix_after(entry, index in withdrawn)
            for index, entry in enumerate(chain)
            if isinstance(entry, Look)
        ]
        self.looks = tuple(self._with_identity(look) for look in self._members.values())

    @property
    def behind_models(self) -> int:
        return sum(count - 1 for count in self._models.values())

    def _prefix_after(self, look: Look, withdrawn: bool) -> Prefix:
        """Return the count and variance of the trials up to and including `look` in the ledger."""
        if look.identity is not None and look.market not in self._identities:
            self._identities[look.market] = look.identity
            # looks without an identity counted for every market until now
            for member in [member for member in self._members.values() if member.market == look.market]:
                self._classify(member)
        if self._result_look is not None and self._result_look.family and look.family == self._result_look.family:
            self._family.add(look.digest)
        self._remove_ratio(look)  # the ratio of an earlier run of the same configuration is replaced
        self._classify(look)
        if look.digest in self._members:
            if not withdrawn:
                self._spread.add(look.sharpe)
                self._ratios[look.digest] = look.sharpe
            for name, count in look.models.items():
                self._models[name] = max(count, self._models.get(name, 0))
        return Prefix(len(self._members) + self.behind_models, self._spread.variance)

    def _classify(self, look: Look) -> None:
        """Count `look` where it is a trial of the market; else remove it from the trials."""
        result_look, identified_look = self._result_look, self._with_identity(look)
        # looks with an equal key are compared once
        key = look.market, look.first[:4], look.last[:4], identified_look.identity is None
        if result_look is not None and key not in self._alike:
            self._alike[key] = alike(result_look, identified_look)
        # without a `result_look` all markets count; a look of its family counts whatever its own market is
        if result_look is None or self._alike[key] or look.digest in self._family:
            self._members[look.digest] = look
        else:
            self._remove_ratio(look)
            self._members.pop(look.digest, None)

    def _remove_ratio(self, look: Look) -> None:
        """Remove the Sharpe ratio of the look's configuration from the variance of the ratios."""
        ratio = self._ratios.pop(look.digest, None)
        if ratio is not None:
            self._spread.remove(ratio)

    def _with_identity(self, look: Look) -> Look:
        """Return the look with the identity of its market, which is None while no line has recorded that market."""
        return structs.replace(look, identity=self._identities.get(look.market))


def _withdrawn_lines(chain: tuple[Entry, ...]) -> Iterator[tuple[int, Withdrawal]]:
    """Yield (index in the chain of ledger entries, withdrawal) of each look (evaluation) that a later line withdraws.

    A look that is repeated with the same ratio after its withdrawal is withdrawn too.
    """
    lines_of: dict[str, list[int]] = {}
    withdrawal_of: dict[tuple[str, float], Withdrawal] = {}
    for index, entry in enumerate(chain):
        if isinstance(entry, Withdrawal):
            for look_index in lines_of.pop(entry.digest, ()):
                look = chain[look_index]
                assert isinstance(look, Look)
                withdrawal_of[look.digest, look.sharpe] = entry
                yield look_index, entry
        elif isinstance(entry, Foreknowledge):
            continue
        elif (withdrawal := withdrawal_of.get((entry.digest, entry.sharpe))) is not None:
            yield index, withdrawal
        else:
            lines_of.setdefault(entry.digest, []).append(index)


NO_MARKET: Final = "no recorded market (an earlier version noted them): such looks count for every market."
"""End of the sentence about looks of earlier versions."""


def counted(trials: int, market: str, withdrawn: int = 0) -> str:
    """Return "3 trials known of SPY, QQQ 2004 to 2021, daily", or "3 trials, 1 withdrawn, known of ..."."""
    withdrawn_text = f", {withdrawn:,} withdrawn," if withdrawn else ""
    return f"{trials:,} trial{'' if trials == 1 else 's'}{withdrawn_text} known" + (f" of {market}" if market else "")
