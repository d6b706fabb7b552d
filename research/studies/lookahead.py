"""Detects look-ahead of a policy, by comparison of full and truncated markets.

The policy runs over the whole recorded market, and a freshly loaded copy runs over the market truncated at a day (a
cut). Answers up to that day must be equal, because later days cannot influence them.

What can go wrong: a policy knows the future from a source that a cut does not truncate, and the study finds nothing.
Each such source has a guard:

- files of its own, or tables in memory: the result is "not decided", and their columns are compared with the bars;
- the market's files: the policy is refused. A parameter that names the file of bars gets a truncated copy in each cut;
- a module that remembers an earlier run: modules in the folder of the policy's file are imported anew at each load;
- a table of dates in its source code, which is the same at every cut: the same bars run with later dates. After 28
  years the weekdays of all dates are the same again, so that seasonal rules decide the same. The result is "not
  decided", because a series with its publication dates is such a table, too;
- a lookup by any key, held by anything: its edge is lost on markets of the same law (`altered_markets`).

Order of the checks: first the policy runs twice over the whole market. A policy that draws random numbers differs
between these two runs, which is no look-ahead, and then no cut is made. Later dates come last, and only where no other
guard has found anything: rows of a file have dates too, so that a policy with files would always differ.
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
from quantd.research.file_audit import is_in_artifact, watching
from quantd.research.runs.answer_blocks import AnswerBlocks
from quantd.research.runs.comparison import unlimited
from quantd.research.studies.altered_markets import Edge, altered_markets, edge_of, judged
from quantd.research.studies.altered_markets import words as edge_words
from quantd.research.studies.file_columns import matches
from quantd.strategies.policies.membership import MembersOfDay
from quantd.trading.display_text import session_date
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.execution import Costs
from quantd.trading.market import Floats, Ints
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
    """One answer that later days changed: `whole` on the whole market, `cut` on the market that ends at `cut_after`.
    `symbol` is empty where the policy held its positions or failed in only one of the two runs.
    """

    date: str
    symbol: str
    whole: str
    cut: str
    cut_after: str


class Lookahead(Struct, frozen=True):
    """The result of a look-ahead check.

    `cuts`, `answers` and `differences` are counts, `first` has the earliest differences. `unsteady` counts differences
    between two runs over the whole market. Such differences are no evidence of look-ahead, but with any of them the
    check has no result. `failed` counts failed answers, and `failure` is the first. `opened` are the files that no cut
    truncates, `market_files` the files that hold the market. `dated` counts answers that differ where the same bars
    have dates LATER_NS later. `dated` is 0 for a policy that opens files, because their rows have dates.
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
    edge: Edge | None = None
    """The edge beside that on markets of the same law; None where another check has spoken before."""

    @property
    def clean(self) -> bool | None:
        """True where no check found anything, False where one did or all answers failed.

        None where no check found anything, but the result is not `decided`.
        """
        evidence = self.differences or self.unsteady or self.market_files
        if evidence or (self.answers and self.failed == self.answers):
            return False
        if self.edge is not None and self.edge.lost and not self.edge.by_dates and not self.opened:
            return False
        return True if self.decided else None

    @property
    def decided(self) -> bool:
        """True if the cuts truncate all that the policy reads: it opens no file, starts no program, calls no host.

        False without a cut, because nothing was compared, and for answers that follow dates instead of prices.
        """
        by_dates = self.dated or (self.edge is not None and self.edge.by_dates)
        return not self.opened and self.cuts > 0 and not by_dates


Answers = dict[int, Decided]
"""Instant of a decision in ns UTC -> answer, in order of time."""


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

    The policy is the only agent and decides at each sample, without costs or limits. `bars` replace the bars of the
    configuration, and `isolation` loads the policy. `captured` names the tables that the policy holds in memory, which
    count as files. Raises FeedError, UnsoundPrices, CalendarError, PolicyError, and RowsDiffer for a wrong `act_rows`.
    """
    studied = _only_agent(config, policy)
    opened: dict[str, None] = dict.fromkeys(captured)
    assembly = assemble(studied, cache=cache, isolation=isolation, bars=bars)
    answers = _answers(assembly, _fresh(studied, {}, isolation, opened), opened)  # {}: the configured parameters
    # A parameter that names the market's file gets the truncated copy in each cut, so that it is no forbidden file.
    market_params = _named_market(studied)
    market_paths = market_files(studied)
    redirected = {str(studied.at(studied.feed.path).resolve())} if market_params else set()
    opened_market_files = tuple(sorted((market_paths & opened.keys()) - redirected))
    rerun = differences(assembly, answers, _answers(assembly, _fresh(studied, {}, isolation)), max(answers, default=0))
    cut_instants = points(answers, cuts)
    changes: dict[tuple[str, str], Differing] = {}
    for count, ts in enumerate(cut_instants if not rerun else (), 1):
        progress(count / len(cut_instants))
        cut_answers = _cut_answers(studied, assembly, ts, market_params, isolation)
        for difference in differences(assembly, answers, cut_answers, ts):
            changes.setdefault((difference.date, difference.symbol), difference)
    later = (
        []
        if rerun or changes or market_params or opened  # moved dates are tried where nothing else was found
        else _later_differences(assembly, answers, _fresh(studied, {}, isolation))
    )
    other_files = tuple(sorted(name for name in opened.keys() - market_paths if not is_in_artifact(name)))
    failures = [f"{session_date(ts - 1)}: {decision.failed}" for ts, decision in answers.items() if decision.failed]
    # the edge is asked only of what no other check has found
    edge = None
    if not (rerun or changes or opened_market_files) and any(not decision.failed for decision in answers.values()):
        edge = _edge(studied, assembly, answers, market_params, isolation)
    return Lookahead(
        policy=policy,
        cuts=len(cut_instants),
        answers=len(answers),
        differences=len(changes),
        first=earliest(changes.values()),
        unsteady=len(rerun),
        failed=len(failures),
        failure=failures[0] if failures else "",
        opened=other_files,
        market_files=opened_market_files,
        dated=len(later),
        matches=matches(other_files, assembly.feed),
        edge=edge,
    )


def _edge(
    studied: Config, assembly: Assembly, answers: Answers, market_params: tuple[str, ...], isolation: Apart | None
) -> Edge | None:
    """Return the edge of the policy beside that on markets of the same law; None if it reads the market's own file,
    which has no copy for such a market."""
    if market_params:
        return None
    size = assembly.universe.size
    recorded = edge_of(assembly, _times(answers), _held(answers, size))
    others: list[tuple[str, float]] = []
    by_dates = True
    for kind, market in altered_markets(assembly):
        found = _answers(market, _fresh(studied, {}, isolation))
        others.append((kind, edge_of(market, _times(found), _held(found, size))))
        by_dates &= kind != "other prices" or not differences(assembly, answers, found, max(answers, default=0))
    constant = len({(decision.weights, decision.failed) for decision in answers.values()}) == 1
    return judged(recorded, others, by_dates=by_dates and not constant)


def _times(answers: Answers) -> Ints:
    return np.array(list(answers), dtype=np.int64)


def _held(answers: Answers, size: int) -> Floats:
    """Return float64[T, N] weights: an answer that holds keeps those before it, and a failed one has none."""
    held, weights = np.zeros((len(answers), size)), np.zeros(size)
    for row, decision in enumerate(answers.values()):
        if decision.failed:
            weights = np.zeros(size)
        elif decision.weights is not None:
            weights = np.frombuffer(decision.weights)
        held[row] = weights
    return held


def _cut_answers(
    studied: Config, assembly: Assembly, until: int, market_params: tuple[str, ...], isolation: Apart | None
) -> Answers:
    """Return the policy's answers on the market up to `until`; `market_params` get the path of the truncated file."""
    feed = assembly.feed.until(until)
    with TemporaryDirectory(prefix="quantd-cut-") as folder:
        params = {key: str(_cut_copy(studied, feed, Path(folder))) for key in market_params}
        return _answers(replace(assembly, feed=feed), _fresh(studied, params, isolation))


def _later_differences(assembly: Assembly, answers: Answers, policy: Policy) -> list[Differing]:
    """Return the answers that differ where the same bars have dates LATER_NS later."""
    later_answers = _answers(assembly, policy, later_ns=LATER_NS)
    # a failure is no evidence: a calendar may end before those dates
    later_answers = {ts: answers[ts] if decision.failed else decision for ts, decision in later_answers.items()}
    return differences(assembly, answers, later_answers, max(answers, default=0))


def _only_agent(config: Config, policy: str) -> Config:
    """Return the configuration with this policy as its only agent, without limits and schedules. Its parameters are
    taken from the first configured agent with this policy, if there is one."""
    same = (a.params for a in config.agents if _same_policy(config, a.policy, policy))
    params: Mapping[str, Any] = next(same, {})
    return unlimited(config, {}, name="studied", policy=policy, params=dict(params))


def _same_policy(config: Config, one: str, other: str) -> bool:
    """Return whether two names mean one policy, such as FILE.py and FILE.py:act, or two paths to one file."""
    (file, _, function), (other_file, _, other_function) = one.partition(":"), other.partition(":")
    return one == other or (
        file.endswith(".py")
        and (function or "act") == (other_function or "act")
        and config.at(file).resolve() == config.at(other_file).resolve()
    )


def _fresh(
    config: Config, changed: Mapping[str, str], isolation: Apart | None, opened: dict[str, None] | None = None
) -> Policy:
    """Load the policy of the configuration's only agent as on a first start: modules in its folder are imported anew.

    `changed` are parameters that replace configured ones. Files that the policy opens are added to `opened`.
    """
    agent = config.agents[0]
    forget_modules(config.at(agent.policy.partition(":")[0]).resolve().parent)
    with watching(opened) if opened is not None else nullcontext():
        params = {**agent.params, **changed}
        return load(agent.policy, params, config.source.folder, isolation, unused=config.feed.unused_series)


_BASE_MODULES: Final = frozenset(sys.modules)
"""Modules imported before any policy was studied."""


def forget_modules(folder: Path) -> None:
    """Forget the modules beside a user's file, so that they are imported anew.

    `folder` is an absolute path without links.
    """
    beside: dict[str, bool] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name in _BASE_MODULES:
            continue
        home = os.path.dirname(file)
        if home not in beside:
            beside[home] = os.path.realpath(home) == str(folder)
        if beside[home]:
            del sys.modules[name]


def _answers(
    assembly: Assembly, policy: Policy, opened: dict[str, None] | None = None, *, later_ns: int = 0
) -> Answers:
    """Run the policy over the market without costs, and return its answer to each question.

    Files that the policy opens are added to `opened`. `later_ns` moves all dates that the policy sees.
    """
    answers: Answers = {}
    if assembly.members is not None:  # as in a run, the policy sees the members of the day only
        policy = MembersOfDay(Inner(policy), assembly.members.dated_later(later_ns))

    def ask(question: Ask) -> Decided:
        ts = question.view.time
        if later_ns:
            question = Ask(
                question.round, question.agent, dated_later(question.view, later_ns), question.memory, question.policy
            )
        answers[ts] = decided = answer(policy, question)
        return decided

    def decide(question: Ask) -> Decided:  # `blocks`, made below, answers many samples at once
        with watching(opened) if opened is not None else nullcontext():
            return (ask if later_ns else blocks)(question)

    # 1 << 40: no number of failures suspends the policy, because each cut needs answers to compare
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
    return answers


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
    return tuple(sorted(changes, key=lambda d: d.date)[:SHOWN])


def points(times: Iterable[int], cuts: int) -> list[int]:
    """Return the instants at which to truncate the market: at most `cuts` of `times`, evenly spread, never the last."""
    instants = list(times)
    count = min(cuts, max(0, len(instants) - 1))
    rows = np.linspace(0, len(instants) - 1, count + 2).astype(np.int64)[1:-1]
    return [instants[row] for row in np.unique(rows).tolist()] if count else []


def differences(assembly: Assembly, answers: Answers, part: Answers, until: int) -> list[Differing]:
    """Return the answers up to the instant `until` that differ between two runs, a difference for each symbol; two NaN
    are equal.

    A difference without a symbol concerns the whole answer. `answers` are from the whole market, `part` from the
    market that ends at `until`.
    """
    after = session_date(until).isoformat()
    symbols = assembly.universe.symbols
    unequal: list[Differing] = []
    for ts, full_answer in answers.items():
        if ts > until:
            break
        cut_answer = part.get(ts)
        date = session_date(ts).isoformat()
        if cut_answer is None:
            unequal.append(Differing(date, "", _answer_text(full_answer), "no decision", after))
        elif full_answer.weights == cut_answer.weights and full_answer.failed == cut_answer.failed:
            continue
        elif full_answer.weights is None or cut_answer.weights is None:
            unequal.append(Differing(date, "", _answer_text(full_answer), _answer_text(cut_answer), after))
        else:
            weights, cut_weights = np.frombuffer(full_answer.weights), np.frombuffer(cut_answer.weights)
            unequal += [
                Differing(date, symbols[k], f"{weights[k]:.6g}", f"{cut_weights[k]:.6g}", after)
                for k in np.flatnonzero(
                    ~np.isclose(weights, cut_weights, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
                ).tolist()
            ]
    return unequal


def _answer_text(decided: Decided) -> str:
    return decided.failed or ("held" if decided.weights is None else "answered")


def _named_market(config: Config) -> tuple[str, ...]:
    """Return the names of the policy's parameters whose value is the path of the market's file."""
    market = config.at(config.feed.path).resolve()
    return tuple(
        key
        for key, value in config.agents[0].params.items()
        if isinstance(value, str) and value and market in {config.at(value).resolve(), Path(value).resolve()}
    )


def _cut_copy(config: Config, feed: Replay, folder: Path) -> Path:
    """Write a copy of the market's file to `folder` with only the rows known at the end of `feed`; return its path."""
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
    """Return (symbol, timestamp of its last bar in the file, in ns) for every symbol with a bar in `feed`.

    Each symbol has its own timestamp, because calendars end their days at different hours: at one instant, the bar of a
    date may be known for one symbol and not for another.
    """
    stamps = config.feed.stamps
    last: dict[str, int] = {}
    symbols = feed.universe.symbols
    for index in range(feed.count - 1, -1, -1):
        market = feed.slice_at(index)
        # the label of a session may have an hour, so the bound is the end of the day
        stamp = {"close": market.ts_event, "open": market.ts_open, "session": market.key + DAY_NS - 1}[stamps]
        for column in np.flatnonzero(market.fresh).tolist():
            last.setdefault(symbols[column], stamp)
        if len(last) == len(symbols):
            break
    return list(last.items())


def lines(check: Lookahead, who: str = "policy") -> list[str]:
    """Return the result of a look-ahead check as lines of text; `who` names what was checked."""
    texts: list[str] = []
    if check.failed:
        texts.append(f"failed on {check.failed:,} of {check.answers:,} decisions, first {check.failure}")
    if check.unsteady:
        texts.append(
            f"no result: two runs over the same market differ in {check.unsteady:,} answers. The {who} draws random "
            "numbers, reads a clock or has state of an earlier run (keep state in memory, seed random numbers)"
        )
    elif check.differences:
        texts.append(f"looks ahead: {check.cuts} cuts, {check.differences:,} differences. The first:")
        texts += [
            f"  {difference.date} {difference.symbol or 'answer'}: {difference.whole} on all bars, "
            f"{difference.cut} on bars to {difference.cut_after}"
            for difference in check.first
        ]
    elif not check.opened and check.edge is not None and (told := edge_words(check.edge, decided=True)):
        texts += told
    elif check.dated:
        years = LATER_NS // DAY_NS // 365
        texts += [
            f"not decided: decides by absolute dates: {check.dated:,} answers differ where the same bars have dates "
            f"{years} years later",
            "  a table of dates may contain what was learned later; a rule of the season does not differ",
        ]
    elif check.market_files:
        holds = "opens a file with the market's future:" if who == "policy" else "holds data of the market's future:"
        texts.append(f"no result: the {who} {holds}")
        texts += [f"  {name}" for name in check.market_files]
        remedy = ", or set the file's path in params, so that it is truncated" if who == "policy" else " instead"
        texts.append(f"  read view.returns and view.prices{remedy}")
    elif check.answers and check.failed == check.answers:
        texts.append("no result: every decision failed")
    elif check.decided:
        texts.append(f"looks only backwards: {check.cuts} cuts, 0 differences")
    elif not check.cuts:
        texts.append("not decided: there is no decision before the last one, so that nothing was compared")
    else:
        texts.append(f"not decided: {check.cuts} cuts, 0 differences, but the {who} has other inputs than bars")
    if check.opened:
        texts.append(f"  no cut truncates these inputs of the {who}; check that they contain no later data:")
        texts += [f"    {name}" for name in check.opened]
        texts += edge_words(check.edge, decided=False) if check.edge is not None else []
    texts += [f"  {text}" for text in check.matches]
    return texts
