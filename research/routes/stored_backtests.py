"""The stored backtests of a state folder, each with the conditions in which it differs from the run."""

from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.adapters.store.journal.records import Records, RunRecord
from quantd.adapters.store.lock import BACKTESTS
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.config.trading_keys import differences, trading_keys
from quantd.daemon.views.report.curves import FLOWS
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.conditions import (
    Conditions,
    StoredConfig,
    backtest_conditions,
    conditions_of,
    stored_config,
    unlike,
    unrepeated,
)
from quantd.server.api.problems import Refused
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import instant_text
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import compounded, performance, time_weighted_returns

MOST_RUNS: Final = 50
"""Number of stored backtests that are listed, the newest ones."""

UNFINISHED: Final = "it is not finished"
"""The text among a backtest's differences that marks one without an end."""

HINT: Final = "quantd backtest --journal makes one"
"""Second half of a message about a missing backtest."""

SAMPLING: Final = ("feed.interval", "universe.calendar", "account.cash_rate")
"""Keys that an annual Sharpe ratio depends on, besides the equity: the samples of a year, and the risk-free rate."""


class StoredBacktest(Struct, frozen=True):
    """A stored backtest, made at `ts`, with its annual Sharpe ratio; null where it is unknown.

    `differs` has each condition that differs from the run's: keys that affect trading with both values, bars, files of
    policies, and acts of operators. `differs` is empty for a backtest under the run's own conditions.
    """

    run: str
    ts: int
    time: str
    sharpe: float | None
    differs: list[str]


class _Facts(Struct, frozen=True):
    """The facts about a stored backtest that do not change once it is finished.

    `conditions` is None where the journal of the backtest does not begin with the event of a start. `sharpe` is annual,
    None where it is unknown.
    """

    conditions: Conditions | None
    config: StoredConfig
    sharpe: float | None


class StoredBacktests:
    """The stored backtests of the state folder of one run. Only one thread at a time may use it."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._facts: dict[str, _Facts] = {}
        self._conditions = Conditions()

    def open(self, run: str) -> Reader | None:
        """Return a reader of the stored backtest with the name `run`, or of the newest one for an empty name.

        The result is None where no backtest is stored and the name is empty. Raises Refused for an unknown name.
        """
        folder = self._run.folder / BACKTESTS
        if not (folder.is_dir() and any(folder.iterdir())):
            if run:
                raise Refused(404, "not_found", f"backtest {run}: no backtest is stored; {HINT}")
            return None
        try:
            return Reader.open(folder, run or None)
        except StoreError as why:
            raise Refused(404, "not_found", f"backtest: {why}; {HINT}") from None

    def newest(self, stored: Reader) -> list[RunRecord]:
        """Return the newest backtests in the folder that `stored` reads, at most MOST_RUNS, the newest first."""
        return _records(stored).runs()[: -MOST_RUNS - 1 : -1]

    def unrepeated(self) -> list[str]:
        """Return the conditions of the run that no backtest can have, such as acts of operators (halts, deposits), as
        texts.

        Call `described` first: it reads the conditions.
        """
        return list(unrepeated(self._conditions))

    def described(self, stored: Reader, run_reader: Reader) -> list[StoredBacktest]:
        """Return the newest backtests, the newest first, with their differences from the run.

        `stored` reads the folder of backtests, and `run_reader` the run.
        """
        # the earlier conditions are passed on, so that only new entries of the journal are read
        self._conditions = conditions_of(_records(run_reader), run_reader.run.run, self._conditions)
        config, backtests = self._run.service.config, []
        for record in self.newest(stored):
            facts = self._facts_of(stored, record)
            if facts.conditions is None:
                differs = ["its journal does not begin with a start"]
            else:
                differs = list(unlike(facts.conditions, facts.config, self._conditions, config))
            if not record.ended:
                differs.append(UNFINISHED)
            backtests.append(StoredBacktest(record.run, record.ts, instant_text(record.ts), facts.sharpe, differs))
        return backtests

    def differing(self, stored: Reader, one: str, other: str) -> list[str]:
        """Return the keys that affect trading and differ between two stored backtests, each with both values.

        Where a configuration is unknown, the reason is returned instead.
        """
        by_name = {record.run: record for record in _records(stored).runs()}
        configs = [self._facts_of(stored, by_name[name]).config for name in (one, other)]
        faults = [
            f"{name}: its configuration is unknown: {config.fault}"
            for name, config in zip((one, other), configs, strict=True)
            if config.fault
        ]
        return faults or differences(configs[0].keys, configs[1].keys, joint=" and ")

    def _facts_of(self, stored: Reader, record: RunRecord) -> _Facts:
        """Return conditions, configuration and Sharpe ratio of a backtest, cached once the backtest has ended."""
        facts = self._facts.get(record.run)
        if facts is None:
            conditions = backtest_conditions(_records(stored), record.run)
            folder = self._run.folder / BACKTESTS
            config = StoredConfig() if conditions is None else stored_config(folder, conditions.configs[0])
            facts = _Facts(conditions, config, self._sharpe(folder, record.run, config))
            if record.ended:
                self._facts[record.run] = facts
                # a dict is in the order of insertion: the oldest entries are forgotten, so that memory is bounded
                for forgotten in list(self._facts)[: -2 * MOST_RUNS]:
                    del self._facts[forgotten]
        return facts

    def _sharpe(self, folder: Path, run: str, config: StoredConfig) -> float | None:
        """Return the annual Sharpe ratio of a backtest.

        The ratio is computed with the run's samples a year and risk-free rate. The result is None where these differ in
        the backtest, for fewer than two samples, and for an account that lost everything.
        """
        parts, run_keys = self._run.parts, trading_keys(self._run.service.config)
        if any(config.keys.get(key) != run_keys.get(key) for key in SAMPLING):
            return None
        stored = Reader.open(folder, run)
        points = stored.equity()
        ts = np.array([point.ts for point in points], dtype=np.int64)
        equity, periods = np.array([point.equity_micro / 1e6 for point in points]), samples_a_year(parts)
        deposits = np.zeros(len(points))
        for booking in stored.bookings():
            deposits[ts >= booking.ts] += float(booking.amount) if booking.kind in FLOWS else 0.0
        try:
            # a session that ends at midnight belongs to the day before
            days = ((ts - 1) // DAY_NS * DAY_NS).tolist()
            wealth = compounded(time_weighted_returns(equity, deposits)) if deposits.any() else equity
            ratio = performance(wealth, periods, parts.risk_free_annual(days, periods)).sharpe
        except ValueError:  # fewer than two samples, or a lost account
            return None
        return ratio if np.isfinite(ratio) else None


def _records(reader: Reader) -> Records:
    assert reader.records is not None
    return reader.records
