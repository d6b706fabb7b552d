"""Answers of policies for blocks of recorded samples: one call of `act_rows` in place of many of `act`.

What can go wrong: an `act_rows` reads a later row, or computes other weights than `act`. So `act` also answers every
EVERYth row and the last of a block, and both must be equal to the last bit.

What can also differ is the market. A backtest knows its bars in advance, so the market of the next samples is known
without the engine. Each answer is used only where the view that the engine shows has the prices and returns of the
block. Anything else ends the block, and for BLOCK samples no other begins. A block is made up to the next split or
delisting only.

The daemon has no recorded bars ahead and never imports this module.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from quantd.daemon.policies.loading import MAX_LEVERAGE, pack
from quantd.daemon.policies.user_file import place_of
from quantd.daemon.runtime.advance_answers import AnswersAhead
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Answer
from quantd.daemon.runtime.timeline import Item
from quantd.research.runs.requests import Requests
from quantd.trading.bars import CorporateAction
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Ask
from quantd.trading.events import Action, Decided, Tick
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.history.rings import Ring
from quantd.trading.market import Floats, Ints, MarketSlice
from quantd.trading.ports import Policy
from quantd.trading.view import BlockView, NotInBlock, View

BLOCK: Final = 256
"""Most samples of a block."""

FEWEST: Final = 8
"""A block of fewer samples costs more than it saves."""

SPARSE: Final = 4
"""An agent that is asked at no more than every SPARSEth sample is asked by `act`: a block prepares each sample."""


EVERY: Final = 64
"""Of so many answers of a block, `act` gives one as well."""


class RowsDiffer(ExplainedError, ValueError):
    """An `act_rows` that fails, or whose answer is not that of `act`."""

    exit_code = CONFIG


class Table:
    """The answers of one agent in a block, by row; rows that are not there are answered by `act`."""

    __slots__ = ("checked", "policy", "weights")

    def __init__(self, policy: Policy, weights: Mapping[int, bytes], every: int) -> None:
        self.policy, self.weights = policy, weights
        rows = list(weights)
        self.checked = frozenset((*rows[::every], *rows[-1:]))
        """Rows that `act` answers as well."""


class Ahead:
    """The market of the samples from one question on, and the answers of the agents to it."""

    __slots__ = ("_due", "rows", "seen", "tables", "view")

    def __init__(self, view: BlockView, due: Sequence[Sequence[int]]) -> None:
        self.view, self._due = view, due
        self.rows = {ts: row for row, ts in enumerate(view.times.tolist())}
        self.seen = 0
        """The newest row that a view of the engine has confirmed."""
        self.tables: dict[int, Table] = {}

    def asked(self, agent: int, scheduled: bool, first: int) -> Ints:
        """Return the rows from `first` on at which an agent decides by the ticks that are known so far, int64[R]."""
        every = range(first, len(self._due))
        rows = [row for row in every if not scheduled or row == first or agent in self._due[row]]
        return np.array(rows, dtype=np.int64)

    def confirms(self, view: View) -> int | None:
        """The row of a view of the engine, if the block has what it shows."""
        row = self.rows.get(view.time)
        if row is not None and row != self.seen:
            if row < self.seen or not self.view.shows(view, row, self.seen):
                return None
            self.seen = row
        return row


class AnswerBlocks:
    """Answers Asks out of blocks, and by `act` where there is none.

    `policies` gives the policy of a seat, `scheduled` for each agent whether schedules ask it, and `unusual` whether
    the engine's prices differ from those of the bars. Of `every` answers, and of the first and the last of a block,
    `act` gives one as well, and both must be equal. `requests` collects the answers of agents.
    """

    def __init__(
        self,
        act: Answer,
        policies: Callable[[int], Policy],
        scheduled: Sequence[bool],
        unusual: Callable[[], object] = lambda: False,
        *,
        every: int = EVERY,
        requests: Requests | None = None,
    ) -> None:
        self._act, self._policies, self._scheduled, self._unusual = act, policies, scheduled, unusual
        self._every = every
        self._requests = requests
        self._items: Sequence[Item] = ()
        self._places: dict[int, int] | None = None
        self._ahead: Ahead | None = None
        self._asked: dict[int, int] = {}
        """The sample at which each agent was asked last."""
        self._pause = 0
        """The sample up to which no block is begun, after one that did not agree."""

    def expect(self, items: Sequence[Item]) -> None:
        """Take the items that come next. A block ends with them."""
        self._items, self._places, self._ahead = items, None, None

    def __call__(self, ask: Ask) -> Decided:
        decided = self._answered(ask)
        if self._requests is not None and not decided.failed:
            self._requests.add(ask.view.time, ask.agent, decided.weights)
        return decided

    def _answered(self, ask: Ask) -> Decided:
        policy = self._policies(ask.policy)
        between = ask.view.time != ask.view.sample_time
        if between or getattr(policy, "act_rows", None) is None or ask.agent >= len(self._scheduled):
            return self._act(ask)
        sample, before = ask.view.sample, self._asked.get(ask.agent, 0)
        self._asked[ask.agent] = sample
        if not 0 < sample - before < SPARSE:
            return self._act(ask)
        ahead, row = self._ahead, None if self._ahead is None else self._ahead.confirms(ask.view)
        if ahead is None or row is None:
            ahead, row = self._begun(ask.view), 0
            if ahead is None:
                return self._act(ask)
        table = ahead.tables.get(ask.agent)
        if table is None or table.policy is not policy:
            rows = ahead.asked(ask.agent, self._scheduled[ask.agent], row)
            table = ahead.tables[ask.agent] = Table(policy, answers(policy, ahead.view, rows), self._every)
        weights = table.weights.get(row)
        if weights is None:
            return self._act(ask)
        if row in table.checked:
            return self._same(policy, ask, weights)
        return Decided(ask.round, ask.agent, weights, "", pack(ask.memory))

    def ahead(self, samples: Iterable[tuple[int, list[int]]], seats: Sequence[int]) -> list[AnswersAhead]:
        """Implements `Foreseen.ahead`: answers of the present block that `act` need not give."""
        ahead, answers = self._ahead, list[AnswersAhead]()
        if ahead is None or self._unusual():
            return answers
        tables = {
            k: policy_table
            for k, policy_table in ahead.tables.items()
            if policy_table.policy is self._policies(seats[k])
        }
        asked, first = dict(self._asked), ahead.view.first_sample
        for ts, due in samples:
            row = ahead.rows.get(ts)
            if row is None:
                break
            sample, weights_of = first + row, dict[int, bytes]()
            for agent in due:
                table = tables.get(agent)
                if table is None or row in table.checked or not 0 < sample - asked.get(agent, 0) < SPARSE:
                    break
                weights = table.weights.get(row)
                if weights is None:
                    break
                weights_of[agent], asked[agent] = weights, sample
            if len(weights_of) < len(due):
                break
            answers.append(AnswersAhead(ts, weights_of))
        return answers

    def planned(self, answers: Sequence[AnswersAhead], prices: Floats, ring: Ring, later: int) -> None:
        """Implements `Foreseen.planned`. Raises RuntimeError if the engine read other bars."""
        ahead = self._ahead
        assert ahead is not None
        rows = np.array([ahead.rows[answer.ts] for answer in answers])
        if not ahead.view.has(prices, rows, ahead.seen, ring, later):
            until = instant_text(answers[-1].ts)
            raise RuntimeError(f"the engine read other bars up to {until} than act_rows, so its answers do not count")
        ahead.seen = int(rows[-1])
        for sample_answers, row in zip(answers, rows.tolist(), strict=True):
            for agent, weights in sample_answers.answers.items():
                self._asked[agent] = ahead.view.first_sample + row
                if self._requests is not None:
                    self._requests.add(sample_answers.ts, agent, weights)

    def _begun(self, view: View) -> Ahead | None:
        """A block from the sample of a view on; None where it has too few samples."""
        if self._ahead is not None and view.time in self._ahead.rows:
            self._pause = view.sample + BLOCK  # the engine shows another market than the bars
        self._ahead = None
        if view.sample < self._pause or self._unusual():
            return None
        if self._places is None:
            self._places = {item.ts: at for at, item in enumerate(self._items) if type(item) is Tick and item.sample}
        at = self._places.get(view.time)
        if at is None:
            return None
        self._ahead = market_ahead(view, self._items, at)
        return self._ahead

    def _same(self, policy: Policy, ask: Ask, weights: bytes) -> Decided:
        """Return the answer of `act`. Raises RowsDiffer where it differs from the `weights` of the block."""
        answer = self._act(ask)
        if answer.failed or answer.weights == weights:
            return answer
        name, row = _name(policy), np.frombuffer(weights)
        other = row if answer.weights is None else np.frombuffer(answer.weights)
        column = int(np.argmax(row.view(np.int64) != other.view(np.int64)))
        what = "holds" if answer.weights is None else f"gives {other[column]!r}"
        raise RowsDiffer(
            f"{name}: act_rows gives {ask.view.universe.symbols[column]} {row[column]!r} at sample {ask.view.sample}, "
            f"act {what}; make both equal to the last bit, read no later row, or remove act_rows"
        )


def in_blocks(shell: Shell, requests: Requests | None = None) -> AnswerBlocks:
    """Let a shell of recorded bars answer in blocks of what it `expect`s; `requests` collects the answers."""
    scheduled = [agent.scheduled for agent in shell.state.rules.agents]
    blocks = AnswerBlocks(
        shell.answer, shell.seats, scheduled, lambda: shell.state.restrictions.jumped, requests=requests
    )
    shell.answer = blocks
    return blocks


def market_ahead(view: View, items: Sequence[Item], at: int) -> Ahead | None:
    """The samples from the tick at `at` on, up to a split or another unusual item; None for too few.

    `view` is that of the tick.
    """
    marks = view.prices
    prices: list[Floats] = [marks]
    tick = items[at]
    assert type(tick) is Tick
    times, due, dated = [tick.ts], [tick.due], tick.final <= tick.ts
    actions: dict[int, list[CorporateAction]] = {}
    for number in range(at + 1, len(items)):
        item = items[number]
        if type(item) is MarketSlice:
            block, row = item.block, item.row
            marks = block.close[row] if block.full[row] else np.where(block.fresh[row], block.close[row], marks)
        elif type(item) is Tick:
            if item.sample:
                prices.append(marks)
                times.append(item.ts)
                due.append(item.due)
                dated = dated and item.final <= item.ts
                if len(prices) == BLOCK:
                    break
        elif type(item) is Action and item.kind == "dividend":
            actions.setdefault(len(prices), []).append((item.symbol, 1.0, item.cash_nano / 1e9))
        else:
            break
    if len(prices) < FEWEST:
        return None
    actions.pop(len(prices), None)
    return Ahead(BlockView(view, np.array(prices), np.array(times), actions, dated=dated), due)


def answers(policy: Any, view: BlockView, rows: Ints) -> dict[int, bytes]:
    """The answers of `act_rows` by row, as `act` gives them; a row that is NaN or too large is left to `act`.

    Raises RowsDiffer for an answer of another shape, and for a policy that fails.
    """
    try:
        weights = np.asarray(policy.act_rows(view, rows))
        if weights.dtype.kind not in "fiu" or weights.shape != (len(rows), view.prices.shape[1]):
            wanted = f"float64[{len(rows)}, {view.prices.shape[1]}]"
            raise ValueError(f"act_rows returned {weights.dtype}{list(weights.shape)}; {wanted} is expected")
        weights = weights.astype("<f8", order="C", copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            fits = np.abs(weights).sum(axis=1) <= MAX_LEVERAGE / 2.0
    except NotInBlock:
        return {}
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = place_of(error, policy)
        raise RowsDiffer(f"{_name(policy)}: act_rows failed: {text}; correct it, or remove act_rows") from error
    size, weight_bytes = 8 * weights.shape[1], weights.tobytes()
    kept = np.flatnonzero(fits).tolist()
    return {row: weight_bytes[k * size : (k + 1) * size] for k, row in zip(kept, rows[kept].tolist(), strict=True)}


def _name(policy: object) -> str:
    path = getattr(policy, "path", None)
    return str(path) if path is not None else type(policy).__name__
