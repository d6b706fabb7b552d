"""The journal's format: every event and effect round-trips, and old bytes keep their meaning."""

from typing import get_args

import msgspec
import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import replace

from quantd.trading import effects, events
from quantd.trading.codec import Entry, bars_of, decode, encode, same, slice_of
from quantd.trading.market import Block, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.model_events import Exchanged, ModelLoaded, Retrained
from quantd.trading.orders import ForeignOrder, OpenOrder, OrderBasket, Reports, ScheduleRun
from tests.support.checkout import ROOT
from tests.support.orders_by_hand import by_hand

GOLDEN = ROOT / "tests/support/golden/journal-v1.bin"

EVENTS: list[Struct] = [
    events.Started(1, "run00001", "0.1.0", "aa", "bb", "cc", ("SPY", "QQQ"), {"learned": "dd"}, "openblas", "paper"),
    events.Reloaded(2, "ee", ("log.level",), b"limits"),
    events.SliceRef(7),
    events.Bars(1, 2, 3, 4, b"\x01\x00", b"a", b"b", b"c"),
    events.Action(3, 0, 1, "split", 4, 1),
    events.Action(3, 0, 1, "dividend", cash_nano=1_435_400_000),
    events.Tick(4, True, 5, 6, (0, 2), ("snapshot",), True),
    events.Decided(1, 0, b"\x00" * 16, "", {"m": ((2,), b"\x00" * 16)}),
    events.Decided(1, 1, None, "ValueError: x"),
    Reports(5, 1, 6, [0, 1], [3, 0], [3, 0], [10**11, 0], [12, 0], [2, 4], "why"),
    events.CancelReported(5, 1, 6, 0, "ended"),
    events.Unknown(5, 1, 6, [0], "timeout"),
    events.NotFound(5, 1, 6, [0]),
    events.Reconciled(7, [1, -2], 5_000_000),
    events.ForeignFound(8, (ForeignOrder("v1", 0, -5, 10**9),)),
    events.Flow(9, -1_000_000, "me"),
    events.Operator(10, "halt", "lunch", "me", ""),
    events.Condition(11, "feed", False, "no bar since 16:00"),
    events.Stopping(12, False, "SIGTERM"),
]
LATER_EVENTS: list[Struct] = [
    events.Reloaded(2, "ee", ("limits",), b"limits", b"looser", 5, ("risk.max_drawdown",)),
    events.Reloaded(2, "ee", ("limits",), b"limits", b"looser", 5, ("risk.max_drawdown",), "api:ann:ab", 6),
    events.Approved(2, "agreed", "api:second:ab"),
    events.Approved(2, "agreed", "api:second:ab", "00ff"),
    events.Correction(13, [1, 0], -5, "fence", "bought by hand", "me"),
    events.Correction(13, [1, 0], -5, "mix", "late", "me", (OpenOrder(5, 1, 0, 3),)),
    events.OrderSettled(13, 5, 1, 0, 7, 10**11, "seen in the venue's app", "me"),
    events.Reconciled(13, [1], available=[1], orders=(OpenOrder(5, 1, 0, 3, -9, 10**11, 10**11, 10**7),)),
    by_hand(14, "manual", 1, -5, "out", "me"),
    events.CancelRequested(14, 5, 1, 0, "typed in error", "me"),
    ScheduleRun(14, 3, "close", "rebalance", "new cash", "api:owner", (0, 2)),
    events.Halted(15, 1, True, "LULD pause"),
    PriceJumped(15, 1, 100 * 10**9, 50 * 10**9, 2, 1),
    JumpExplained(16, 1, "announced late", "me", 2, 1),
    events.Limited(16, 1, 90 * 10**9, 110 * 10**9),
    events.Busted(5, 1, 17, 0, 3, 10**11, 2, 10**10, "x-1"),
    events.Carried(15, "r0000001", b"\x80", loaded=("learned",)),
    Retrained(16, "rival", "2019-03-29", "v20190329-1a2b3c", "dd", "ee", True, "better", "sharpe", 502, 0.1, 0.02),
    events.ShadowReport(2, Reports(5, 1, 6, [0], [3], [3], [10**11], [12], [2])),
    events.Acknowledged(17, "r0000001-1-0", "seen", "ann"),
    events.Reminded(18, "r0000001-1-0", "ntfy"),
    ModelLoaded(19, "trend", "models/mine/2026-11", "dd", "models/mine", "newer", "api:ann:ab", "2026-11"),
    Exchanged(20, "rival", "promote", "seen enough", "api:ann:ab"),
    events.PortfolioOpened(17, "portfolio-1", "core", 10**12, "a mandate", "me", "risk_parity"),
    events.PortfolioClosed(18, "core", "hand_over", "the end", "me", "trend"),
    events.ProposalReviewed(20, "guest", "7-1", True, "seen", "me", "ab"),
    events.ProposalReviewed(20, "guest", "7-1", True, "seen", "me", "ab", events.DeviceSignature("cd", 30, "ef")),
    events.Proposed(19, "portfolio-1", "7-1", "drift", "me", b"\x00" * 16, expires=20, basis="weights", plan="ab"),
]
"""Events that came after the golden file was written."""

EFFECTS: list[Struct] = [
    effects.AskRecord(1, 0),
    OrderBasket(5, 1, 6, [0, 1], [3, -4], [10**11, 10**10], [99, 0], [0, 3], {"cash": (0.25, 1.0)}),
    effects.Cancel(5, 1, 0, 7),
    effects.Query(5, 1, [0]),
    effects.Publish(6, "WARNING", "order", "expired", "SPY", "trend", 0.1, 0.2),
    effects.Planned(5, 1, 6, [effects.AgentPlan(0, b"w", 0.9, b"a", b"b", b"c", {"gross": (0.5, 1.0)})],
            b"p", b"q", b"r", b"s", b"t", b"u", {"var": (0.01, 0.03)}, {"var": (0.02, 0.03)}, 1),
    effects.Filled(5, 1, 6, [0], [3], [10**11], [12], [[(0, 2), (1, 1)]]),
    effects.Crossed(5, 6, 0, 10**11, [(0, 2), (1, -2)]),
    effects.Ended(5, 1, 6, [0], [8], "day is over"),
    effects.Valued(6, 10**11, 10**10, [10**10, 9 * 10**10], 0.9, 0.01),
    effects.Booked(6, "dividend", 0, 1_435_400),
    effects.Switched(6, -1, 0, 1, "drawdown"),
    effects.Snapshot(6),
    effects.Stop("SIGTERM"),
]  # fmt: skip
LATER: list[Struct] = [
    effects.Protected(5, 1, 2, 0, 3, "stop_loss", 100.0, 91.5, 92.0),
    effects.Assessed(6, {"var": (0.021, 0.03), "max_drawdown": (0.0, 0.25)}),
    effects.Again(5, 1, [0]),
    effects.Reallocated(6, "performance", "did well", [-5, 5], [3, -3], [0.5, 0.5], [0.4, 0.6]),
    effects.Promotion(6, 0, 2, True, "", 126, 1, "sharpe", 1.25, 0.001, 0.00625),
    effects.Shadowed(
        2,
        [
            OrderBasket(5, 1, 6, [0], [3], [10**11], [99], [0], {}),
            effects.Cancel(5, 1, 0, 7),
            effects.Query(5, 1, [0]),
            effects.Again(5, 1, [0]),
            effects.Filled(5, 1, 6, [0], [3], [10**11], [12], [[(0, 3)]]),
            effects.Valued(6, 10**11, 10**10, [10**11, 0], 0.9, 0.01),
            effects.Switched(6, 0, 0, 1, "drawdown"),
            effects.Ended(5, 1, 6, [0], [8], "day is over"),
            effects.Booked(6, "dividend", 0, 5),
        ],
    ),
    effects.Worked(6, 5, 5, 0, "twap", [0, 1], [60, -40], [60, 30], [10**11, 10**10], "its session ended"),
    effects.Rested(6, 5, 2, 0, 3, "trailing_stop", 104.0, 95.68),
    effects.LimitMoved(6, [(-1, "var", 1, 3, 0.04, 0.03, True)]),
    effects.Transferred(6, 2, -1, 10**9, [(0, 3, 10**8)]),
    effects.Refused("conflict", "the portfolio is being closed"),
    effects.ProposalEnded(6, "guest", "a1", "lapsed", "nobody decided in time"),
    effects.OrdersHeld(6, "guest", "a1", "held until the first price of SPY"),
]
"""Effects that came after the golden file was written."""


def entries() -> list[bytes]:
    return [encode(e, EFFECTS if k == 0 else ()) for k, e in enumerate(EVENTS)]  # type: ignore[arg-type]


def test_every_member_of_both_unions_is_in_this_test() -> None:
    assert {type(e) for e in (*EVENTS, *LATER_EVENTS)} == set(get_args(events.JournalEvent))
    assert {type(e) for e in (*EFFECTS, *LATER)} == set(get_args(effects.JournalEffect))


def test_what_was_written_reads_back_equal() -> None:
    for event, data in zip(EVENTS, entries(), strict=True):
        assert decode(data).event == event
    assert decode(entries()[0]).effects == EFFECTS
    assert decode(encode(events.Stopping(1, False, ""), LATER)).effects == LATER  # type: ignore[arg-type]
    for event in LATER_EVENTS:
        assert decode(encode(event, ())).event == event  # type: ignore[arg-type]


def test_bytes_of_version_1_are_what_they_were() -> None:
    """A journal written by an older quantd folds the same: a change here needs a new codec version."""
    assert msgspec.msgpack.decode(GOLDEN.read_bytes(), type=list[bytes]) == entries()


def test_an_entry_of_version_1_repeats_without_the_values_that_are_not_recorded_any_more() -> None:
    every = {"cash": (0.25, 1.0), "var": (0.02, 0.03), "gross": (0.1, 1.0)}
    part = effects.AgentPlan(0, b"w", 0.9, b"a", b"b", b"c", every)
    old = [
        effects.Planned(5, 1, 6, [part], b"p", b"q", b"r", b"s", b"t", b"u", every, every),
        OrderBasket(5, 1, 6, [0], [3], [10**11], [99], [3], every),
    ]
    kept = {"var": (0.02, 0.03)}
    new = [
        replace(old[0], agents=[replace(part, values={})], values_before={}, values=kept),
        replace(old[1], values=kept),
    ]
    event = events.Stopping(1, False, "")

    def entry(records: list[Struct]) -> Entry:
        return decode(encode(event, records))  # type: ignore[arg-type]

    assert same(entry(old), entry(new))
    assert same(entry([effects.Shadowed(2, old)]), entry([effects.Shadowed(2, new)]))  # type: ignore[arg-type]
    for wrong in (
        [replace(new[0], values={"var": (0.021, 0.03)}), new[1]],
        [replace(new[0], values={**kept, "other": (0.9, 1.0)}), new[1]],
        [replace(new[0], allowed=b"x"), new[1]],
        [new[0], replace(new[1], lots=[4])],
        [new[0]],
    ):
        assert not same(entry(old), entry(wrong))
        assert not same(entry([effects.Shadowed(2, old)]), entry([effects.Shadowed(2, wrong)]))  # type: ignore[arg-type]
    # version 2 compares in full
    assert not same(entry(new), entry([replace(new[0], values={}), new[1]]))
    assert not same(entry(old), Entry(events.SliceRef(1), entry(old).effects))


def test_an_entry_before_version_5_has_the_alert_about_a_refusal_alone() -> None:
    event = events.Operator(10, "resume", "", "me", "")
    alerted, refused = (
        effects.Publish(10, "WARNING", "operator", "not resumed"),
        effects.Refused("reason", "no reason given"),
    )

    def entry(*records: Struct) -> Entry:
        return decode(encode(event, records))  # type: ignore[arg-type]

    assert same(entry(alerted), entry(alerted, refused))
    assert not same(entry(), entry(alerted, refused))
    assert not same(entry(alerted, refused), entry(alerted))
    assert not same(entry(alerted, refused), entry(alerted, replace(refused, text="another")))


def test_broken_bytes_are_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(entries()[0][:-3])
    with pytest.raises(msgspec.MsgspecError):
        decode(b"\x93\x01\x02\x03")


def test_a_live_slice_keeps_its_prices_to_the_last_bit() -> None:
    close = np.array([[0.1 + 0.2, np.nan]])
    block = Block(
        ts_open=np.array([1]), ts_event=np.array([2]), ts_seen=np.array([3]), key=np.array([4]),
        open=close.copy(), high=close.copy(), low=close.copy(), close=close, volume=close.copy(),
        fresh=np.isfinite(close),
    )  # fmt: skip
    back = slice_of(bars_of(MarketSlice(block, 0)))
    assert (back.ts_open, back.ts_event, back.ts_seen, back.key, back.full) == (1, 2, 3, 4, False)
    assert back.close.tobytes() == close.tobytes()
    assert back.close_nano.tolist() == block.close_nano[0].tolist()


def test_every_tagged_struct_of_the_vocabulary_is_in_a_union() -> None:
    for module, union in ((events, events.JournalEvent), (effects, effects.JournalEffect)):
        tagged = {
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == module.__name__
            and value.__struct_config__.tag is not None
        }  # fmt: skip
        assert tagged - set(get_args(union)) == set()
