"""Answers of policies for blocks of recorded samples: one call of a policy's `act_rows` in place of many of `act`.

What can go wrong: `act_rows`, which answers many rows (samples) at once, reads a later row, or computes other weights
than `act`. So `act` also answers one row in EVERY and the last row of a block, and both answers must be equal to the
last bit.

A second danger is that the engine shows another market than the block assumes. A block is computed from the recorded
bars, ahead of the engine. So an answer is used only where the engine's view has the prices and returns of the block.
Any difference ends the block, and no new block begins for BLOCK samples. A block ends at the next split or delisting.

The daemon cannot know later bars, and never imports this module.
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
"""Maximum number of samples in a block."""

FEWEST: Final = 8
"""Minimum number of samples in a block: a shorter one costs more time than it saves."""

SPARSE: Final = 4
"""An agent that decides only at every SPARSEth sample or less often is asked by `act`: a block would also prepare the
samples between its decisions."""


EVERY: Final = 64
"""`act` also answers one of this many rows of a block, to check it."""


class RowsDiffer(ExplainedError, ValueError):
    """The method `act_rows` of a policy fails, or gives another answer than `act`. The text names the remedy."""

    exit_code = CONFIG


class Table:
    """The answers of one agent in a block: row (sample) -> the bytes of weights float64[N].

    `act` answers the missing rows.
    """

    __slots__ = ("checked", "policy", "weights")

    def __init__(self, policy: Policy, weights: Mapping[int, bytes], every: int) -> None:
        self.policy, self.weights = policy, weights
        rows = list(weights)
        self.checked = frozenset((*rows[::every], *rows[-1:]))
        """Rows that `act` answers as well."""


class Ahead:
    """The recorded market from the sample of one question on, and the answers of the agents at these samples."""

    __slots__ = ("_due", "rows", "seen", "tables", "view")

    def __init__(self, view: BlockView, due: Sequence[Sequence[int]]) -> None:
        self.view, self._due = view, due
        self.rows = {ts: row for row, ts in enumerate(view.times.tolist())}
        self.seen = 0
        """The newest row that a view of the engine has confirmed."""
        self.tables: dict[int, Table] = {}

    def asked(self, agent: int, scheduled: bool, first: int) -> Ints:
        """Return int64[R], the rows (samples) from `first` on at which an agent decides; without a schedule, all rows.

        The agent decides at `first` in any case, because the engine asks the agent at this row now.
        """
        later_rows = range(first, len(self._due))
        rows = [row for row in later_rows if not scheduled or row == first or agent in self._due[row]]
        return np.array(rows, dtype=np.int64)

    def confirms(self, view: View) -> int | None:
        """Return the row (sample) at the time of `view`, if `view` has the row's prices and returns; else None."""
        row = self.rows.get(view.time)
        if row is not None and row != self.seen:
            if row < self.seen or not self.view.shows(view, row, self.seen):
                return None
            self.seen = row
        return row


class AnswerBlocks:
    """Answers the engine's questions (Ask) from blocks of precomputed answers, and by `act` where no block has one.

    `policies` returns the policy of a policy number. `scheduled` has True for each agent that decides only when a
    schedule asks. `unusual` returns True where the engine's prices differ from the bars' prices. As a check, `act` also
    answers one row in `every` and the last row of a block: its answer must equal the answer of the block.
    """

    def __init__(
        self,
        act: Answer,
        policies: Callable[[int], Policy],
        scheduled: Sequence[bool],
        unusual: Callable[[], object] = lambda: False,
        *,
        every: int = EVERY,
    ) -> None:
        """A block has the answers to many samples ahead, which a policy's `act_rows` gives in one call.

        `act` answers one question, and `policies` returns the policy with a given number. `scheduled` has True for each
        agent that decides at times of a schedule, False for one that decides at every sample. No block begins while
        `unusual` returns True. `act` also gives one answer in `every` of a block, as a check.
        """
        self._act, self._policies, self._scheduled, self._unusual = act, policies, scheduled, unusual
        self._every = every
        self._items: Sequence[Item] = ()
        self._tick_indices: dict[int, int] | None = None
        self._ahead: Ahead | None = None
        self._asked: dict[int, int] = {}
        """The sample at which each agent was asked last."""
        self._pause = 0
        """The sample before which no new block begins, after the engine showed another market than a block."""

    def expect(self, items: Sequence[Item]) -> None:
        """Set the items (bars, actions, ticks) that the engine takes next. A block ends with the last of them."""
        self._items, self._tick_indices, self._ahead = items, None, None

    def __call__(self, ask: Ask) -> Decided:
        """Return the answer from a block (answers to samples ahead, by `act_rows`), or by `act` where no block has one.

        A block has no answer between samples, for shadow (untraded) agents, for policies without `act_rows`, and for an
        agent that decides seldom. One answer in EVERY of a block is compared with the answer of `act`.
        """
        policy = self._policies(ask.policy)
        # shadows have higher numbers than the agents, and `act` answers them
        between_samples = ask.view.time != ask.view.sample_time
        if between_samples or getattr(policy, "act_rows", None) is None or ask.agent >= len(self._scheduled):
            return self._act(ask)
        sample, last_asked = ask.view.sample, self._asked.get(ask.agent, 0)
        self._asked[ask.agent] = sample
        # 0: a second question at the same sample
        if not 0 < sample - last_asked < SPARSE:
            return self._act(ask)
        ahead, row = self._ahead, None if self._ahead is None else self._ahead.confirms(ask.view)
        if ahead is None or row is None:
            ahead, row = self._new_block(ask.view), 0
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
            return self._checked_answer(policy, ask, weights)
        return Decided(ask.round, ask.agent, weights, "", pack(ask.memory))  # "": no failure

    def ahead(self, samples: Iterable[tuple[int, list[int]]], seats: Sequence[int]) -> list[AnswersAhead]:
        """Return answers computed in advance, up to the first sample that `act` must answer (`Foreseen.ahead`).

        `samples` are (instant, indices of the agents due), `seats` the policy number of each agent by its index.
        """
        ahead, answers = self._ahead, list[AnswersAhead]()
        if ahead is None or self._unusual():
            return answers
        tables = {
            k: policy_table
            for k, policy_table in ahead.tables.items()
            if policy_table.policy is self._policies(seats[k])
        }
        last_samples, first = dict(self._asked), ahead.view.first_sample
        for ts, agents_due in samples:
            row = ahead.rows.get(ts)
            if row is None:
                break
            sample, weights_of = first + row, dict[int, bytes]()
            for agent in agents_due:
                table = tables.get(agent)
                # `act` must answer: no weights of this policy, a row that is checked, or an agent that decides seldom
                if table is None or row in table.checked or not 0 < sample - last_samples.get(agent, 0) < SPARSE:
                    break
                weights = table.weights.get(row)
                if weights is None:
                    break
                weights_of[agent], last_samples[agent] = weights, sample
            if len(weights_of) < len(agents_due):
                break
            answers.append(AnswersAhead(ts, weights_of))
        return answers

    def planned(self, answers: Sequence[AnswersAhead], prices: Floats, ring: Ring, later: int) -> None:
        """Note that the engine used the answers (implements `Foreseen.planned`).

        `prices` float64[T, N] are the closes at which each answer was used. `ring` has the engine's history, with
        `later` rows after the row of the last answer. Raises RuntimeError if the engine read other bars.
        """
        ahead = self._ahead
        assert ahead is not None
        rows = np.array([ahead.rows[answer.ts] for answer in answers])
        if not ahead.view.has(prices, rows, ahead.seen, ring, later):
            until = instant_text(answers[-1].ts)
            raise RuntimeError(
                f"the engine read other bars than act_rows up to {until}; answers of act_rows do not count"
            )
        ahead.seen = int(rows[-1])
        for sample_answers, row in zip(answers, rows.tolist(), strict=True):
            for agent in sample_answers.answers:
                self._asked[agent] = ahead.view.first_sample + row

    def _new_block(self, view: View) -> Ahead | None:
        """Return a block of answers for consecutive samples, computed in advance, the first at the sample of `view`;
        None where the block would have too few samples."""
        if self._ahead is not None and view.time in self._ahead.rows:
            self._pause = view.sample + BLOCK  # the engine shows another market than the bars
        self._ahead = None
        if view.sample < self._pause or self._unusual():
            return None
        if self._tick_indices is None:
            self._tick_indices = {
                item.ts: index for index, item in enumerate(self._items) if type(item) is Tick and item.sample
            }
        index = self._tick_indices.get(view.time)
        if index is None:
            return None
        self._ahead = market_ahead(view, self._items, index)
        return self._ahead

    def _checked_answer(self, policy: Policy, ask: Ask, weights: bytes) -> Decided:
        """Return the answer of the policy's method `act`.

        Raises RowsDiffer where that answer differs from the `weights` computed in advance.
        """
        answer = self._act(ask)
        if answer.failed or answer.weights == weights:
            return answer
        name, row = _policy_name(policy), np.frombuffer(weights)
        act_row = row if answer.weights is None else np.frombuffer(answer.weights)
        # as integers, the weights are compared to the last bit
        column = int(np.argmax(row.view(np.int64) != act_row.view(np.int64)))
        act_text = "holds" if answer.weights is None else f"gives {act_row[column]!r}"
        raise RowsDiffer(
            f"{name}: act_rows gives {ask.view.universe.symbols[column]} {row[column]!r} at sample {ask.view.sample}, "
            f"act {act_text}; make both equal to the last bit, read no later row, or remove act_rows"
        )


def in_blocks(shell: Shell) -> AnswerBlocks:
    """Let the policies of a run over recorded bars (`shell`) answer many samples in one call, a block. Return the
    object that makes the blocks.

    The caller announces the next items (bars, actions, ticks) by the object's method `expect`.
    """
    scheduled = [agent.scheduled for agent in shell.state.rules.agents]
    blocks = AnswerBlocks(shell.answer, shell.seats, scheduled, lambda: shell.state.restrictions.jumped)
    shell.answer = blocks
    return blocks


def market_ahead(view: View, items: Sequence[Item], at: int) -> Ahead | None:
    """Return the market of the samples from the tick (instant of decisions) `items[at]` on; None for fewer than FEWEST
    samples.

    The returned market ends before a split or another item that changes the engine's state. `view` is the engine's view
    at the tick.
    """
    last_prices = view.prices
    prices: list[Floats] = [last_prices]
    tick = items[at]
    assert type(tick) is Tick
    # `dated`: at each sample all bars of its date are known already
    times, agents_due, dated = [tick.ts], [tick.due], tick.final <= tick.ts
    actions: dict[int, list[CorporateAction]] = {}
    for index in range(at + 1, len(items)):
        item = items[index]
        if type(item) is MarketSlice:
            block, row = item.block, item.row
            last_prices = (
                block.close[row] if block.full[row] else np.where(block.fresh[row], block.close[row], last_prices)
            )
        elif type(item) is Tick:
            if item.sample:
                prices.append(last_prices)
                times.append(item.ts)
                agents_due.append(item.due)
                dated = dated and item.final <= item.ts
                if len(prices) == BLOCK:
                    break
        elif type(item) is Action and item.kind == "dividend":
            actions.setdefault(len(prices), []).append((item.symbol, 1.0, item.cash_nano / 1e9))
        else:
            break
    if len(prices) < FEWEST:
        return None
    actions.pop(len(prices), None)  # a dividend after the last sample of the block
    return Ahead(BlockView(view, np.array(prices), np.array(times), actions, dated=dated), agents_due)


def answers(policy: Any, view: BlockView, rows: Ints) -> dict[int, bytes]:
    """Return the answers of `act_rows`: row (sample) -> weights of N symbols as bytes. A row with NaN or too large
    weights is left out: `act` answers it, and reports the fault.

    Raises RowsDiffer for an answer of another shape, and for a policy that fails.
    """
    try:
        weights = np.asarray(policy.act_rows(view, rows))
        if weights.dtype.kind not in "fiu" or weights.shape != (len(rows), view.prices.shape[1]):
            expected_shape = f"float64[{len(rows)}, {view.prices.shape[1]}]"
            raise ValueError(f"act_rows returned {weights.dtype}{list(weights.shape)}; {expected_shape} is expected")
        weights = weights.astype("<f8", order="C", copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            # rows near the maximum are left to `act`, too
            fits = np.abs(weights).sum(axis=1) <= MAX_LEVERAGE / 2.0
    except NotInBlock:
        return {}
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = place_of(error, policy)
        raise RowsDiffer(
            f"{_policy_name(policy)}: act_rows failed: {reason}; correct it, or remove act_rows"
        ) from error
    size, weight_bytes = 8 * weights.shape[1], weights.tobytes()  # 8 bytes for each float64
    valid = np.flatnonzero(fits).tolist()
    return {row: weight_bytes[k * size : (k + 1) * size] for k, row in zip(valid, rows[valid].tolist(), strict=True)}


def _policy_name(policy: object) -> str:
    """Return the path of a user's file, or the class of a registered policy."""
    path = getattr(policy, "path", None)
    return str(path) if path is not None else type(policy).__name__
