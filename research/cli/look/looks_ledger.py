"""`quantd report --looks`: the ledger of looks (evaluations on markets), and the withdrawal of a faulty one."""

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from msgspec import to_builtins
from msgspec.structs import replace

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, print_json, records, say
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

if TYPE_CHECKING:
    from quantd.research.runs.trials import Known, Look, Reason

REASONS: Final = ("leak", "misaligned", "wrong-data")
"""Why a look is withdrawn (`trials.Reason`), as values of --reason."""

ID_LENGTH: Final = 8
"""Number of characters of a look's digest that are its id."""

MOST_CHARACTERS: Final = 500
"""Most characters of --words, the description of the fault of a withdrawn look."""


def _look(look: "Look", ledger: "Known") -> dict[str, object]:
    """Return a look (an evaluation on a market) as a JSON document, with the symbols and bar interval of its market."""
    identity, withdrawal = look.identity, ledger.withdrawals.get(look.digest)
    return {
        "id": look.digest[:ID_LENGTH],
        "withdrawn": withdrawal and {"reason": withdrawal.reason, "words": withdrawal.words},
        "foresight": ledger.foreknowledge.get((look.digest, look.sharpe), ""),
        **to_builtins(replace(look, identity=None)),
        "symbols": None if identity is None else identity.symbols,
        "interval": None if identity is None else identity.interval,
    }


def withdraw_look(folder: Path, look_id: str, reason: str, words: str, *, as_json: bool) -> int:
    """Withdraw a look (an evaluation on a market) in the ledger of the state folder, and print the trials that count.

    `words` describe the fault of the look. Returns the exit code. Raises Failure for a wrong reason, wrong words, an
    unknown id, or a ledger that cannot be written.
    """
    from quantd.research.runs.looks import withdraw

    if reason not in REASONS:
        raise Failure(f"--reason {reason!r}: write one of {', '.join(REASONS)}", USAGE)
    if not words.strip() or not words.isprintable() or len(words) > MOST_CHARACTERS:
        text = f"--words: describe the fault in 1 to {MOST_CHARACTERS} printable characters; they stay in the ledger"
        raise Failure(text, USAGE)
    try:
        ledger, look = withdraw(folder, look_id, cast("Reason", reason), words.strip())
    except OSError as why:
        raise Failure(f"{why.filename}: {why.strerror}; the look is not withdrawn", CHECK_FAILED) from None
    answer(
        as_json, {"withdrawn": _look(look, ledger), "trials": ledger.trials},
        f"withdrawn: {look.kind} {look.name}, {look.market_text}, Sharpe {look.sharpe:.2f}",
        f"The look stays a trial. {ledger.like(look).text}",
        "Each result states how many of its trials are withdrawn.",
    )  # fmt: skip
    return DONE


def list_looks(folder: Path, *, as_json: bool) -> int:
    """List the looks in the ledger of `folder`, and check that none was changed; return exit code 1 when one was."""
    from quantd.research.runs.looks import read_looks

    ledger = read_looks(folder)
    if as_json:
        print_json({
            **ledger.document, "remedy": ledger.remedy,
            "looks": [_look(look, ledger) for look in ledger.looks],
        })  # fmt: skip
        return CHECK_FAILED if ledger.fault else DONE
    rows = [
        {"id": look.digest[:ID_LENGTH], "kind": look.kind, "name": look.name,
         "values": ", ".join(f"{key} {value}" for key, value in look.values.items()), "market": look.market_text,
         "first": look.first, "last": look.last, "Sharpe": f"{look.sharpe:.2f}",
         "trials of models": str(sum(look.models.values()) or ""), "family": look.family,
         "withdrawn": ledger.withdrawals[look.digest].text if look.digest in ledger.withdrawals else "",
         "foresight": ledger.foreknowledge.get((look.digest, look.sharpe), "")}
        for look in ledger.looks
    ]  # fmt: skip
    shown = [head for head in rows[0] if any(row[head] for row in rows)] if rows else []
    records(rows, shown, ("Sharpe", "trials of models"))
    model_count = len({digest for look in ledger.looks for digest in look.models})
    count = len(ledger.looks)
    text = f"{count:,} configuration{'' if count == 1 else 's'}."
    if model_count:
        trained = "1 trained policy" if model_count == 1 else f"{model_count:,} trained policies"
        text += (
            f" Behind {trained} there are {ledger.behind_models:,} further trials (seeds, checkpoints, test looks, "
            "tuning); the trials of a policy are counted once."
        )
    say(f"{text} {ledger.text}")
    if not ledger.fault:
        say("A result is deflated by the trials of its own market: a common symbol, year and bar interval.")
    return CHECK_FAILED if ledger.fault else DONE
