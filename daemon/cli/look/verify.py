"""Check a receipt of a decision: its signature, and with --state the place of the decision in the journal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer
from quantd.regular_file import NotRead, read_regular
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, USAGE

if TYPE_CHECKING:
    from quantd.daemon.cli.places import Place
    from quantd.models.artifacts.receipt import Receipt

SIGNATURE: Final = "the signature only; --state DIR checks the journal, --key KEY whose signature it is"
JOURNAL: Final = "the signature, its key, and the place in the journal; `quantd doctor --store` checks every row"


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt: a header or a message, as a file.")],
    key: Annotated[
        str, typer.Option("--key", metavar="KEY", help="The public key of the daemon, from `quantd device list`.")
    ] = "",
    chosen: RunOptions = DEFAULTS,
    as_json: Json = False,
) -> None:
    from quantd.models.artifacts.receipt import unsealed

    receipt, signer = unsealed(_text_in(file))
    if key and key.lower() != signer:
        raise Failure(f"the receipt is signed with the key {signer}, not with {key[:64]}", CHECK_FAILED)
    checked = "the signature and its key; --state DIR checks the journal" if key else SIGNATURE
    if chosen.state is not None:
        _check_journal(chosen.place().unchanged(), receipt, signer)
        checked = JOURNAL
    fills = ", ".join(f"{fill.qty} {fill.symbol} for {fill.value}" for fill in receipt.fills) or "none so far"
    what = f"{receipt.agent}, {receipt.id} at {receipt.time}: {receipt.outcome}"
    lines = [
        f"{what}{f' ({receipt.text})' if receipt.text else ''}",
        *(f"  {line.symbol}: {line.outcome}, {line.passed} of {line.asked} {line.text}".rstrip()
          for line in receipt.symbols),
        f"fills: {fills}",
        f"entry {receipt.entry} of run {receipt.run}, row {receipt.row} of the journal with the hash {receipt.head}",
        f"signed with {signer}",
        f"checked: {checked}",
    ]  # fmt: skip
    answer(as_json, {"receipt": receipt, "key": signer, "checked": checked}, *lines)


def _text_in(file: Path) -> str:
    """The text of a receipt. Raises Failure."""
    from quantd.models.artifacts.receipt import MOST_CHARS

    try:
        return read_regular(file, MOST_CHARS).data.decode()
    except FileNotFoundError:
        raise Failure(f"{file} does not exist; name a file that has a receipt", USAGE) from None
    except NotRead as why:
        raise Failure(f"{file} {why}; a receipt is one line of text", USAGE) from None
    except ValueError:
        raise Failure(f"{file} is no text; a receipt is one line", USAGE) from None


def _check_journal(where: "Place", receipt: "Receipt", signer: str) -> None:
    """Check that the journal has the row that a receipt names, of its run and with its hash. Raises Failure."""
    from quantd.adapters.store.handle import read_only
    from quantd.adapters.store.journal.chain import broken
    from quantd.adapters.store.journal.records import links
    from quantd.adapters.store.store_errors import StoreError
    from quantd.models.artifacts.receipt import public_key

    folder, row = where.folder, f"row {receipt.row} of the journal"
    if not (public := public_key(folder)):
        raise Failure(f"{folder} has no key of receipts; name the state folder that the receipt is from", CONFIG)
    if public != signer:
        raise Failure(f"the receipt is signed with another key than that of {folder}: {signer}", CHECK_FAILED)
    try:
        records = read_only(where.store, folder)
        if receipt.run not in {record.run for record in records.runs()}:
            raise Failure(f"the receipt is of run {receipt.run}, which {folder} does not have", CHECK_FAILED)
        with records.connection() as driver:
            link = next(links(driver, records.archives, receipt.run, receipt.entry), None)
    except StoreError as why:
        raise Failure(f"the journal of {folder} cannot be read: {why}", CHECK_FAILED) from None
    if link is None:
        raise Failure(f"the journal ends before entry {receipt.entry}: {row} and all later rows are lost", CHECK_FAILED)
    if fault := broken(link, link.prev, receipt.row):
        raise Failure(f"the journal was changed: {fault}", CHECK_FAILED)
    if not link.first_seq <= receipt.entry <= link.last_seq or link.hash.hex() != receipt.head:
        text = f"{row} has the hash {link.hash.hex()}, and had {receipt.head} when the receipt was signed"
        raise Failure(f"the journal was changed: {text}", CHECK_FAILED)


COMMAND: Final = Command("Look", 95, verify)
