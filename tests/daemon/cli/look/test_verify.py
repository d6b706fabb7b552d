"""Receipts of decisions: what a daemon signs, where it sends it, and what `quantd verify` finds without the daemon."""

import base64
import json
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quantd.daemon.cli.command import RunOptions
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.look.verify import verify
from quantd.models.artifacts.receipt import (
    HEADER,
    KEY_FILE,
    MOST_CHARS,
    Receipt,
    ReceiptFault,
    public_key,
    sealed,
    unsealed,
)
from quantd.models.artifacts.signature import new_key, private_key
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, USAGE
from tests.server.api.routes.outside_run import OUTSIDE, REVIEWED, market, promote
from tests.support.api_world import RUN, standing_at_the_end
from tests.support.command_line import quantd

NO_CONFIG = Path("no-such-config.toml")


async def asked(world: Any, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
    """(status, document, receipt) of a request for the guest."""
    url = f"/api/v1/agents/guest/{path}"
    async with world.session.post(url, json=body, headers=world.bearer) as response:
        return response.status, await response.json(), response.headers.get(HEADER, "")


@pytest.fixture
async def kept(tmp_path: Path) -> Any:
    """A receipt in a file, beside the state folder of a daemon that has stopped."""
    async with standing_at_the_end(tmp_path, OUTSIDE) as world:
        status, _, text = await asked(
            world, "propose", {"weights": {"SPY": 0.1}, "id": "a-1", "reason": "a secret of the sender"}
        )
        assert (status, bool(text)) == (200, True)
        await asked(world, "propose", {"weights": {"SPY": 0.2}, "id": "a-2", "reason": "later"})
    file = tmp_path / "receipt"
    file.write_text(f"{text}\n")
    return SimpleNamespace(state=world.folder, file=file, text=text)


def refused(file: Path, key: str = "", state: Path | None = None) -> tuple[str, int]:
    with pytest.raises((Failure, ReceiptFault)) as why:
        verify(file, key, RunOptions(NO_CONFIG, state))
    return str(why.value), getattr(why.value, "code", None) or why.value.exit_code


def requires_refusal(words: str, code: int, file: Path, key: str = "", state: Path | None = None) -> None:
    text, ended = refused(file, key, state)
    assert (words in text, ended) == (True, code), text


async def test_a_receipt_is_checked_without_the_daemon_and_the_command_says_what_was_checked(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(kept.file, chosen=RunOptions(NO_CONFIG))
    out = capsys.readouterr().out
    assert "guest, a-1 at 2019-03-29" in out
    assert "checked: the signature only" in out
    verify(kept.file, key=public_key(kept.state), chosen=RunOptions(NO_CONFIG))
    assert "checked: the signature and its key" in capsys.readouterr().out
    verify(kept.file, chosen=RunOptions(NO_CONFIG, kept.state))
    assert "checked: the signature, its key, and the place in the journal" in capsys.readouterr().out
    assert "secret" not in base64.urlsafe_b64decode(kept.text.split(".")[1] + "==").decode()
    assert (kept.state / KEY_FILE).stat().st_mode & 0o777 == 0o600


async def test_a_changed_receipt_is_refused(kept: Any) -> None:
    head, body, seal = kept.text.split(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    for field, value in (("outcome", "refused"), ("id", "a-2"), ("entry", content["entry"] + 1), ("head", "0" * 64)):
        other = base64.urlsafe_b64encode(json.dumps(content | {field: value}).encode()).rstrip(b"=").decode()
        kept.file.write_text(f"{head}.{other}.{seal}")
        assert refused(kept.file) == (
            "the signature does not fit: the receipt was changed after it was signed",
            CHECK_FAILED,
        )
    for text in ("", "x", "a.b.c", f"{kept.text}=", kept.text.replace(".", "..", 1), f"{body}.{head}.{seal}"):
        kept.file.write_text(text)
        assert refused(kept.file)[1] == CHECK_FAILED


async def test_another_key_is_refused(kept: Any, tmp_path: Path) -> None:
    requires_refusal("not with 0000", CHECK_FAILED, kept.file, key="00" * 32)
    forged = sealed(unsealed(kept.text)[0], new_key(tmp_path / "forger.pem"))
    kept.file.write_text(forged)
    verify(kept.file, chosen=RunOptions(NO_CONFIG))  # a signature alone says whose it is, and no more
    requires_refusal("signed with another key", CHECK_FAILED, kept.file, state=kept.state)
    requires_refusal("has no key of receipts", CONFIG, kept.file, state=tmp_path / "nowhere")
    assert refused(tmp_path / "missing")[1] == USAGE
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == (
        f"{tmp_path / 'pipe'} is not a regular file; a receipt is one line of text",
        USAGE,
    )
    kept.file.write_text("a" * (MOST_CHARS + 1))
    requires_refusal("has more than 65,536 bytes", USAGE, kept.file)


async def test_a_receipt_of_another_run_is_refused(kept: Any) -> None:
    receipt = unsealed(kept.text)[0]
    other = Receipt(**{name: getattr(receipt, name) for name in receipt.__struct_fields__} | {"run": "elsewhere"})
    kept.file.write_text(sealed(other, private_key(kept.state / KEY_FILE)))
    requires_refusal("is of run elsewhere", CHECK_FAILED, kept.file, state=kept.state)


async def test_a_journal_that_lost_or_changed_the_decision_is_named(kept: Any) -> None:
    row = unsealed(kept.text)[0].row
    with sqlite3.connect(kept.state / "quantd.db") as database:
        stored = database.execute("SELECT blob FROM journal WHERE number = ?", (row,)).fetchone()[0]
        database.execute("UPDATE journal SET blob = ? WHERE number = ?", (stored[:-1] + b"x", row))
    requires_refusal("does not match its hash", CHECK_FAILED, kept.file, state=kept.state)
    with sqlite3.connect(
        kept.state / "quantd.db"
    ) as database:  # the whole chain written again, without a contradiction
        from quantd.adapters.store.journal.chain import link_hash

        columns = database.execute(
            "SELECT number, run, first_seq, last_seq, count, ts, codec, packing, prev FROM journal WHERE number = ?",
            (row,),
        ).fetchone()
        changed = link_hash(columns[8], columns[:8], stored[:-1] + b"x")
        database.execute("UPDATE journal SET hash = ? WHERE number = ?", (changed, row))
    requires_refusal("when the receipt was signed", CHECK_FAILED, kept.file, state=kept.state)
    with sqlite3.connect(kept.state / "quantd.db") as database:
        database.execute("DELETE FROM journal WHERE number >= ?", (row,))
    requires_refusal("are lost", CHECK_FAILED, kept.file, state=kept.state)


async def test_a_refusal_a_cut_and_a_repetition_have_their_receipt(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, OUTSIDE) as world:
        body = {"weights": {"SPY": 0.9}, "id": "p-1", "reason": "x"}
        _, done, text = await asked(world, "propose", body)
        receipt, key = unsealed(text)
        assert (receipt.run, receipt.agent, receipt.id, receipt.plan) == (RUN, "guest", "p-1", done["plan"])
        assert (receipt.outcome, key) == ("cut", public_key(world.folder))
        (line,) = [line for line in receipt.symbols if line.symbol == "SPY"]
        assert (line.outcome, "max_position_weight" in line.text) == ("cut", True)
        assert (await asked(world, "propose", body))[2] == text
        old = {"weights": {"SPY": 0.1}, "id": "p-2", "reason": "x", "expires": "2019-01-01T00:00:00Z"}
        status, _, text = await asked(world, "propose", old)
        refusal = unsealed(text)[0]
        assert (status, refusal.outcome, refusal.text) == (409, "refused", "the proposal has expired")
        assert refusal.row > receipt.row
        newest = world.published[-1]
        assert (newest.topic, newest.payload.decode(), newest.retain) == (
            "quantd/paper/agents/guest/receipt",
            text,
            True,
        )
        assert (await asked(world, "preview", {"weights": {"SPY": 0.1}}))[2] == ""


async def test_an_approval_signs_again(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, REVIEWED) as world:
        promote(world)
        _, _, waits = await asked(world, "propose", {"weights": {"SPY": 0.1}, "id": "a", "reason": "x"})
        assert unsealed(waits)[0].outcome == "approval"
        _, _, declined = await asked(world, "review", {"id": "a", "approve": False, "reason": "too much"})
        assert (unsealed(declined)[0].outcome, unsealed(declined)[0].id) == ("declined", "a")


async def test_fills_so_far_are_in_the_next_receipt(tmp_path: Path) -> None:
    async with market(tmp_path, OUTSIDE) as world:
        promote(world)
        await asked(world, "propose", {"weights": {"SPY": 0.2}, "id": "a", "reason": "x"})
        await world.go(3)
        assert unsealed(world.service.receipts.find("guest", "a"))[0].fills, "the order filled at the next open"
        newest = [message for message in world.published if message.topic.endswith("/agents/guest/receipt")][-1]
        (fill, *_) = unsealed(newest.payload.decode())[0].fills
        assert (fill.qty.lstrip("-").isdigit(), float(fill.value) != 0.0) == (True, True)


async def test_a_key_that_others_may_read_signs_nothing_and_stops_nothing(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, OUTSIDE) as world:
        new_key(world.folder / KEY_FILE)
        (world.folder / KEY_FILE).chmod(0o644)
        status, done, text = await asked(world, "propose", {"weights": {"SPY": 0.1}, "id": "a", "reason": "x"})
        assert (status, done["verdict"]["outcome"], text) == (200, "passed", "")


@pytest.mark.long
async def test_the_command_exits_by_what_it_found(kept: Any, tmp_path: Path) -> None:
    shown = quantd(tmp_path, "verify", str(kept.file), "--state", str(kept.state), "--json")
    assert (shown.returncode, json.loads(shown.stdout)["receipt"]["id"]) == (0, "a-1"), shown.stderr
    listed = quantd(tmp_path, "device", "list", "--json")
    assert json.loads(listed.stdout)["receipts"] == public_key(kept.state), listed.stderr
    kept.file.write_text(kept.text[:-2])
    failed = quantd(tmp_path, "verify", str(kept.file))
    assert (failed.returncode, "Traceback" in failed.stderr) == (1, False)
