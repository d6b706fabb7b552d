"""Detects look-ahead of a policy, by comparison of full and truncated markets.

The policy runs over the whole recorded market, and a freshly loaded copy runs over the market truncated at a day.
Answers up to that day must be equal, because later days cannot influence them.

What can go wrong: the study calls a policy clean that knows the future by a way which no cut closes. Each has a guard:

- files of its own, or tables in memory: the policy is not decided, and their columns are compared with the bars;
- the market's own files: the policy is refused. A parameter that names one gets a truncated copy in each cut;
- a module that remembers an earlier run: modules beside the file are imported anew at each load;
- a table of dates in its source, which is known at every cut: the same bars run with later dates. After 28 years each
  date has its weekday and its place in the year again, so that rules of the season decide the same.

Order: the whole market runs twice first. A policy that draws differs there already, which is no look-ahead, and then no
cut is made. Later dates come last and only without another finding, because a file's rows have dates as well.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from quantd.adapters.brokers.paper.broker import Paper
from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.config import Config
from quantd.daemon.engine.state import State
from quantd.daemon.policies.loading import Apart, Inner, answer, load
from quantd.daemon.runtime.loop import Shell
from quantd.models.artifacts.manifest import MANIFEST
from quantd.research.file_audit import watching
from quantd.research.runs.answer_blocks import AnswerBlocks
from quantd.research.runs.comparison import unlimited
from quantd.research.studies.file_columns import matches
from quantd.strategies.policies.membership import MembersOfDay
from quantd.trading.display_text import session_date
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.execution import Costs
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import dated_later

TOLERANCE: Final = 1e-12
"""Values within this distance are equal, or within this share of them where they are large."""

LATER_NS: Final = 10_227 * DAY_NS
"""28 years: dates have the same weekdays and leap years again, until 2099."""

SHOWN: Final = 5
"""Maximum number of reported differences, earliest first; all are counted."""


class Differing(Struct, frozen=True):
    """One answer that later days changed. `symbol` is empty where only one of the two runs held or failed."""

    date: str
    symbol: str
    whole: str
    cut: str
    cut_after: str


class Lookahead(Struct, frozen=True):
    """The result of a look-ahead check.

    `unsteady` counts differences between two runs over the whole market. They are no evidence of look-ahead, but with
    any of them the check has no result. `dated` counts answers that differ where the same bars have dates LATER_NS
    later. It is 0 for a policy that opens files, because their rows have dates.
    """

    policy: str
    cuts: int
    answers: int
    differences: int
    first: tuple[Differing, ...]
    unsteady: int
    failed: int
    failure: str
    opened: tuple[str, ...]
    market_files: tuple[str, ...]
    dated: int = 0
    matches: tuple[str, ...] = ()
    """Columns of the opened files that equal prices or returns of the bars, a sentence each."""

    @property
    def clean(self) -> bool | None:
        """Whether no guard found anything; None where none did and the cuts decide nothing (`decided`)."""
        evidence = self.differences or self.unsteady or self.market_files or self.dated
        if evidence or (self.answers and self.failed == self.answers):
            return False
        return True if self.decided else None

    @property
    def decided(self) -> bool:
        """Whether the cuts cover all that the policy knows: it opens no files, starts no programs, calls no hosts.

        Without a cut there is no comparison, and nothing is decided.
        """
        return not self.opened and self.cuts > 0


Answers = dict[int, Decided]
"""Instant of a decision -> answer, in order."""


def lookahead(
    config: Config,
    policy: str,
    *,
    cuts: int = 40,
    cache: Path | None = None,
    progress: Callable[[float], None] = lambda share: None,
    bars: BarFrame | None = None,
    isolation: Apart | None = None,
    captured: Iterable[str] = (),
) -> Lookahead:
    """Check `policy` (as named in a configuration) over the market of `config`: twice whole, `cuts` times truncated.

    The policy is the only agent and decides at each sample, without costs or limits. `bars` replace those of the
    configuration, and `isolation` loads the policy of the caller. `captured` names the tables that it holds in memory,
    which count as files of its own. Raises as `assemble` does, and RowsDiffer for an `act_rows` whose answers are not
    those of `act`.
    """
    alone = _alone(config, policy)
    opened: dict[str, None] = dict.fromkeys(captured)
    assembly = assemble(alone, cache=cache, isolation=isolation, bars=bars)
    answers = _answers(assembly, _loaded(alone, {}, isolation, opened), opened)
    # A parameter that names the market's file is redirected to the truncated copy.
    named = _named_market(alone)
    market_paths = market_files(alone)
    given = {str(alone.at(alone.feed.path).resolve())} if named else set()
    reached = tuple(sorted((market_paths & opened.keys()) - given))
    again = differences(assembly, answers, _answers(assembly, _loaded(alone, {}, isolation)), max(answers, default=0))
    ends = points(answers, cuts)
    changes: dict[tuple[str, str], Differing] = {}
    for number, ts in enumerate(ends, 1):
        progress(number / len(ends))
        if again:
            break
        feed = assembly.feed.until(ts)
        with TemporaryDirectory(prefix="quantd-cut-") as folder:
            changed = {key: str(_cut_copy(alone, feed, Path(folder))) for key in named}
            part = _answers(replace(assembly, feed=feed), _loaded(alone, changed, isolation))
        for difference in differences(assembly, answers, part, ts):
            changes.setdefault((difference.date, difference.symbol), difference)
    dated = [] if again or changes or named or opened else _dated(assembly, answers, _loaded(alone, {}, isolation))
    beyond = tuple(sorted(name for name in opened.keys() - market_paths if not _of_artifact(name)))
    failures = [f"{session_date(ts - 1)}: {decision.failed}" for ts, decision in answers.items() if decision.failed]
    return Lookahead(
        policy=policy,
        cuts=len(ends),
        answers=len(answers),
        differences=len(changes),
        first=earliest(changes.values()),
        unsteady=len(again),
        failed=len(failures),
        failure=failures[0] if failures else "",
        opened=beyond,
        market_files=reached,
        dated=len(dated),
        matches=matches(beyond, assembly.feed),
    )


def _dated(assembly: Assembly, answers: Answers, policy: Policy) -> list[Differing]:
    """Return the answers that differ where the same bars have dates LATER_NS later."""
    moved = _answers(assembly, policy, later_ns=LATER_NS)
    # a failure is no evidence: a calendar may end before those dates
    moved = {ts: answers[ts] if decision.failed else decision for ts, decision in moved.items()}
    return differences(assembly, answers, moved, max(answers, default=0))


def _of_artifact(name: str) -> bool:
    """Whether a file belongs to a trained artifact, whose training window is known."""
    return any((folder / MANIFEST).is_file() for folder in list(Path(name).parents)[:2])


def _alone(config: Config, policy: str) -> Config:
    """Return the configuration with this policy as its only agent, without limits and schedules. The parameters are
    those of the configured agent with this policy."""
    same = (a.params for a in config.agents if _same_policy(config, a.policy, policy))
    params: Mapping[str, Any] = next(same, {})
    return unlimited(config, {}, name="studied", policy=policy, params=dict(params))


def _same_policy(config: Config, one: str, other: str) -> bool:
    (a, _, f), (b, _, g) = one.partition(":"), other.partition(":")
    return one == other or (
        a.endswith(".py") and (f or "act") == (g or "act") and config.at(a).resolve() == config.at(b).resolve()
    )


def _loaded(
    config: Config, changed: Mapping[str, str], isolation: Apart | None, opened: dict[str, None] | None = None
) -> Policy:
    """Load the policy as on a first start: modules beside it from an earlier load are imported anew."""
    agent = config.agents[0]
    forget_modules(config.at(agent.policy.partition(":")[0]).resolve().parent)
    with watching(opened) if opened is not None else nullcontext():
        params = {**agent.params, **changed}
        return load(agent.policy, params, config.source.folder, isolation, unused=config.feed.unused_series)


_KEPT: Final = frozenset(sys.modules)
"""Modules imported before any policy was studied."""


def forget_modules(folder: Path) -> None:
    """Forget the modules beside a user's file, so that they are imported anew. `folder` is resolved."""
    beside: dict[str, bool] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name in _KEPT:
            continue
        home = os.path.dirname(file)
        if home not in beside:
            beside[home] = os.path.realpath(home) == str(folder)
        if beside[home]:
            del sys.modules[name]


def _answers(
    assembly: Assembly, policy: Policy, opened: dict[str, None] | None = None, *, later_ns: int = 0
) -> Answers:
    given: Answers = {}
    if assembly.members is not None:  # as in a run, the policy sees the members of the day only
        policy = MembersOfDay(Inner(policy), assembly.members.dated_later(later_ns))

    def ask(question: Ask) -> Decided:
        ts = question.view.time
        if later_ns:
            question = Ask(
                question.round, question.agent, dated_later(question.view, later_ns), question.memory, question.policy
            )
        given[ts] = decided = answer(policy, question)
        return decided

    def decide(question: Ask) -> Decided:
        with watching(opened) if opened is not None else nullcontext():
            return (ask if later_ns else blocks)(question)

    # no number of failures suspends the policy: each cut needs an answer to compare
    rules = msgspec.structs.replace(
        assembly.rules, max_failures=1 << 40, lookback=max(assembly.rules.lookback, policy.lookback), shadows=()
    )
    shell = Shell(State(rules), Paper(assembly.universe, Costs()), decide, interval_ns=assembly.feed.interval_ns)
    items = list(assembly.items())
    # every answer in blocks is compared with that of `act`
    scheduled = [agent.scheduled for agent in rules.agents]
    blocks = AnswerBlocks(
        ask, lambda policy_number: policy, scheduled, lambda: shell.state.restrictions.jumped, every=1
    )
    blocks.expect(items)
    for item in items:
        shell.take(item)
    return given


def market_files(config: Config) -> set[str]:
    """Return the real paths of the files of the market: bars, actions, members, series and interest rates."""
    rate = config.document.account.cash_rate
    named = [
        config.feed.path,
        config.feed.actions,
        config.universe.members or "",
        *(series.path for series in config.feed.macro),
        *(series.path for series in config.feed.series),
    ]
    if isinstance(rate, str):
        named.append(rate)
    return {str(config.at(name).resolve()) for name in named if name}


def earliest(changes: Iterable[Differing]) -> tuple[Differing, ...]:
    """Return the differences that are reported."""
    return tuple(sorted(changes, key=lambda d: d.date)[:SHOWN])


def points(times: Iterable[int], cuts: int) -> list[int]:
    """Return instants to truncate after: evenly spread samples, except the last."""
    instants = list(times)
    count = min(cuts, max(0, len(instants) - 1))
    rows = np.linspace(0, len(instants) - 1, count + 2).astype(np.int64)[1:-1]
    return [instants[row] for row in np.unique(rows).tolist()] if count else []


def differences(assembly: Assembly, answers: Answers, part: Answers, until: int) -> list[Differing]:
    """Return the answers up to `until` that differ between two runs; two missing numbers (NaN) are equal."""
    after = session_date(until).isoformat()
    symbols = assembly.universe.symbols
    out: list[Differing] = []
    for ts, one in answers.items():
        if ts > until:
            break
        other = part.get(ts)
        day = session_date(ts).isoformat()
        if other is None:
            out.append(Differing(day, "", _text(one), "no decision", after))
        elif one.weights == other.weights and one.failed == other.failed:
            continue
        elif one.weights is None or other.weights is None:
            out.append(Differing(day, "", _text(one), _text(other), after))
        else:
            a, b = np.frombuffer(one.weights), np.frombuffer(other.weights)
            out += [
                Differing(day, symbols[k], f"{a[k]:.6g}", f"{b[k]:.6g}", after)
                for k in np.flatnonzero(~np.isclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)).tolist()
            ]
    return out


def _text(one: Decided) -> str:
    return one.failed or ("held" if one.weights is None else "answered")


def _named_market(config: Config) -> tuple[str, ...]:
    """Return the parameters of the policy that name the market's file."""
    market = config.at(config.feed.path).resolve()
    return tuple(
        key
        for key, value in config.agents[0].params.items()
        if isinstance(value, str) and value and market in {config.at(value).resolve(), Path(value).resolve()}
    )


def _cut_copy(config: Config, feed: Replay, folder: Path) -> Path:
    """Write a copy of the market's file with only the rows known at the end of `feed`."""
    source = config.at(config.feed.path)
    parquet = source.suffix == ".parquet"
    frame: Any = pl.read_parquet(source) if parquet else pl.read_csv(source, try_parse_dates=True)
    bounds = pl.DataFrame(_last_stamps(config, feed), schema={"symbol": pl.String, "bound": pl.Int64}, orient="row")
    bars = (
        frame.with_columns(pl.col("ts").cast(pl.Datetime("ns")).dt.epoch("ns").alias("stamp"))
        .join(bounds, on="symbol", how="inner", maintain_order="left")
        .filter(pl.col("stamp") <= pl.col("bound"))
        .drop("stamp", "bound")
    )
    target = folder / source.name
    bars.write_parquet(target) if parquet else bars.write_csv(target)
    return target


def _last_stamps(config: Config, feed: Replay) -> list[tuple[str, int]]:
    """Return (symbol, file timestamp of its last bar) of every symbol with a bar in `feed`. Calendars end their days at
    different hours: at one instant another symbol's bar of the same date may not be known yet."""
    stamps = config.feed.stamps
    last: dict[str, int] = {}
    symbols = feed.universe.symbols
    for number in range(feed.count - 1, -1, -1):
        market = feed.slice_at(number)
        # a session date label may include an hour
        at = {"close": market.ts_event, "open": market.ts_open, "session": market.key + DAY_NS - 1}[stamps]
        for column in np.flatnonzero(market.fresh).tolist():
            last.setdefault(symbols[column], at)
        if len(last) == len(symbols):
            break
    return list(last.items())


def lines(check: Lookahead, who: str = "policy") -> list[str]:
    """Format the result for people; `who` is what was checked."""
    out: list[str] = []
    if check.failed:
        out.append(f"failed on {check.failed:,} of {check.answers:,} decisions, first {check.failure}")
    if check.unsteady:
        out.append(
            f"no result: two runs over the same market differ in {check.unsteady:,} answers. The {who} draws random "
            "numbers, reads a clock or has state of an earlier run (keep state in memory, seed random numbers)"
        )
    elif check.differences:
        out.append(f"looks ahead: {check.cuts} cuts, {check.differences:,} differences. The first:")
        out += [
            f"  {d.date} {d.symbol or 'answer'}: {d.whole} knowing the whole market, {d.cut} when it ends {d.cut_after}"
            for d in check.first
        ]
    elif check.dated:
        years = LATER_NS // DAY_NS // 365
        out += [
            f"decides by absolute dates: {check.dated:,} answers differ where the same bars have dates {years} years "
            "later",
            "  a table of dates may contain what was learned later; a rule of the season does not differ",
        ]
    elif check.market_files:
        holds = "opens a file with the market's future:" if who == "policy" else "holds data of the market's future:"
        out.append(f"no result: the {who} {holds}")
        out += [f"  {name}" for name in check.market_files]
        remedy = ", or set the file's path in params, so that it is truncated" if who == "policy" else " instead"
        out.append(f"  read view.returns and view.prices{remedy}")
    elif check.answers and check.failed == check.answers:
        out.append("no result: every decision failed")
    elif check.decided:
        out.append(f"looks only backwards: {check.cuts} cuts, 0 differences")
    elif not check.cuts:
        out.append("not decided: there is no decision before the last one, so that nothing was compared")
    else:
        out.append(f"not decided: {check.cuts} cuts, 0 differences, but the cuts do not truncate what the {who} reads")
    if check.opened:
        out.append(f"  the {who} reads what is not truncated; check that it contains no later data:")
        out += [f"    {name}" for name in check.opened]
    out += [f"  {text}" for text in check.matches]
    return out
