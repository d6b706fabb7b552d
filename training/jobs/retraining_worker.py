"""One retraining in a separate process: `python -m quantd.training.jobs.retraining_worker`.

The process reads its order as one line of standard input, answers in one line on standard output, and ends when its
input ends. It writes a complete new version into a folder of versions, or nothing.

What can go wrong. A library that prints would have its text read as the answer: so standard output is redirected before
the training is imported. The training would go on when the parent process dies: so a thread ends the process when its
input ends. No cleanup is needed at such an end, because a version is complete or absent.
"""

import os
import threading
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from quantd.trading.exit_codes import ExplainedError
from quantd.trading.model_events import Retrained

if TYPE_CHECKING:
    from quantd.training.retraining.refit import Decision


class Order(Struct, frozen=True):
    """The order of a retraining. Paths are absolute. The data end at the date `until`; data that end before the date
    `stale` are refused. `against` is the model to compare with; empty: the current version in `folder`. `rule` has the
    requirements on the new version, fields of `quantd.training.retraining.challenge.Rule`. `takes` is True
    where the new version may become current.
    """

    agent: str
    folder: str
    bars: str
    actions: str
    until: str
    stale: str
    against: str
    expanding: bool
    rule: dict[str, str | float]
    takes: bool


def failure(order: Order, why: str) -> Retrained:
    """The answer that there is no new version, with the reason."""
    return Retrained(0, order.agent, until=order.until, failed=why)


def carried_out(order: Order) -> Retrained:
    """Train, compare and write a version.

    Returns the event about the result, with time 0. After an expected failure the event has the reason in `failed`.
    """
    from quantd.extras import lack

    if lacking := lack("training", "train", "torch", "onnx", "sklearn"):
        return failure(order, lacking)
    from quantd.adapters.feeds.recorded.sound_bars import require_sound_bars
    from quantd.training.retraining.challenge import Rule
    from quantd.training.retraining.refit import RetrainingRequest, retrain

    folder = Path(order.folder)
    request = RetrainingRequest(
        source=folder,
        out=folder,
        bars=Path(order.bars),
        actions=Path(order.actions),
        until=date.fromisoformat(order.until),
        stale=date.fromisoformat(order.stale),
        against=Path(order.against) if order.against else None,
        expanding=order.expanding,
        takes=order.takes,
        rule=msgspec.convert(order.rule, Rule),
    )
    try:
        decision = retrain(request, lambda line: None, require_sound_bars)
    except (ExplainedError, ValueError, OSError, ArithmeticError) as error:
        return failure(order, f"{error}"[:400] or type(error).__name__)
    return answer_of(order, decision)


def answer_of(order: Order, decision: "Decision") -> Retrained:
    """The event about the decision on a new version. A version that traded nothing in its comparison is a failure."""
    event = Retrained(
        ts=0,
        agent=order.agent,
        version=decision.version,
        digest=decision.digest,
        until=decision.until or order.until,
        promoted=decision.promoted,
        reason=decision.reason,
    )
    verdict = decision.verdict
    if verdict is None:
        return event
    if verdict.idle:
        return failure(order, f"{decision.version} is written and not used: {verdict.why}"[:400])
    return msgspec.structs.replace(
        event,
        current=decision.current_digest,
        rule=decision.rule.measure,
        sessions=verdict.sessions,
        gain=verdict.gain if verdict.gain is not None else 0.0,
        p=verdict.p if verdict.p is not None else 1.0,
    )


def main() -> None:
    """Read the order from standard input, carry it out, and write the answer to standard output."""
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed text of libraries must not count as the answer
    order = msgspec.json.decode(source.readline(), type=Order)

    def ends_with_its_parent() -> None:
        source.read()
        os._exit(1)  # no cleanup is needed: a version is complete or absent

    threading.Thread(target=ends_with_its_parent, daemon=True).start()
    target.write(msgspec.json.encode(carried_out(order)) + b"\n")
    target.flush()


if __name__ == "__main__":
    main()
