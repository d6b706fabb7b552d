"""A record of answers: what names an account or is secret is in no file, and decoders still read the rest."""

import json
from pathlib import Path

from quantd.adapters.wire_record import MOST, WireRecord

SECRET = "s3cr+t/of=the test"


def written(record: WireRecord, folder: Path) -> list[dict[str, object]]:
    folder.mkdir()
    record.write(folder)
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def test_secrets_and_owners_are_in_no_file_and_every_other_digit_is(tmp_path: Path) -> None:
    record = WireRecord("some", [SECRET, "key-4711"])
    early = {"text": "account PA3XYZ is open", "items": [{"id": "o-1", "qty": "1.10", "price": 0.1000}]}
    record.add("GET", "https://venue/v2/orders?signature=abc&key=key-4711&limit=5", 200, json.dumps(early))
    account = '{"id": "904837e3-3b76", "account_number": "PA3XYZ", "cash": 12345678901234567890.10, "uid": 7734512}'
    record.add("GET", "https://venue/v2/account", 200, account)
    record.add("POST", "https://venue/v2/x/key-4711", 403, json.dumps({"message": f"signed {SECRET}, signature=9f"}))
    record.add("GET", "/v2/log", 200, '["7734512", "aGVsbG8gd29ybGQgdGhpcyBpcyAxMjM0NTY3ODk="]')
    record.add("GET", "/page", 502, f"<html>{SECRET}</html>")
    rows = written(record, tmp_path / "answers")
    text = "".join(path.read_text() for path in (tmp_path / "answers").iterdir())
    for hidden in (SECRET, "s3cr%2Bt", "key-4711", "PA3XYZ", "904837e3", "7734512", "abc", "aGVsbG8", "=9f"):
        assert hidden not in text, hidden
    assert rows[0]["path"] == "/v2/orders?key&limit&signature"
    assert "12345678901234567890.10" in text
    assert '"1.10"' in text
    assert rows[0]["body"] == {
        "text": "account AA1AAA is open", "items": [{"id": "o-1", "qty": "1.10", "price": 0.1}],
    }  # fmt: skip
    assert [row["status"] for row in rows] == [200, 200, 403, 200, 502]
    assert rows[4]["body"] is None
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "answers").iterdir()} == {0o600}


def test_ids_of_orders_stay_apart(tmp_path: Path) -> None:
    record = WireRecord("some", [])
    body = {"result": {"txid": ["OUF4EM-FRGI2"]}, "open": {"OUF4EM-FRGI2": {}, "OABCDE-FRGI2": {}}}
    record.add("GET", "/0/private/AddOrder", 200, json.dumps(body))
    assert written(record, tmp_path / "answers")[0]["body"] == body


def test_answers_beyond_the_bound_are_counted(tmp_path: Path) -> None:
    record = WireRecord("some", [])
    for _ in range(MOST + 3):
        record.add("GET", "/x", 200, "{}")
    assert record.missed == 3
    assert len(written(record, tmp_path / "answers")) == MOST
