"""Secrets are known by what they are: no name and no place makes one readable for a policy file."""

import os
import secrets
from base64 import urlsafe_b64encode as b64encode
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from quantd.daemon.policies.isolation.worker import PACKAGES, Apart
from quantd.daemon.policies.loading import answer, load
from quantd.models.isolation.confinement import missing
from quantd.models.isolation.readable_paths import Readable, readable
from quantd.models.isolation.secret_files import REMOVED, STATE_NAMES, scrubbed, secret_in
from quantd.state_folder import FILES
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from tests.support.policies import market, view_of

confined = pytest.mark.skipif(bool(missing()), reason=f"this machine lacks {', '.join(missing())}")


def key(encoding: Encoding, form: PrivateFormat) -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(encoding, form, NoEncryption())


SECRETS = {
    "a token of quantd": secrets.token_urlsafe(32).encode() + b"\n",
    "a token in hex": secrets.token_hex(20).encode(),
    "a JSON web token": b".".join(b64encode(secrets.token_bytes(24)) for _ in range(3)),
    "a key in PEM": key(Encoding.PEM, PrivateFormat.PKCS8),
    "a key of OpenSSH": key(Encoding.PEM, PrivateFormat.OpenSSH),
    "a key store": b"0\x82\x01\x00\x02\x01\x030\x81\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0",
    "a key of PuTTY": b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
    "an API key by name": b'{"name": "robot", "api_key": "PKQ7T1W2A9"}',
    "a secret of a shell": b"export ALPACA_SECRET_KEY=abcdefgh12345\n",
    "a password of a database": b"host=db\npassword = correct-horse\n",
}
DATA = {
    "bars": b"ts,symbol,open,high,low,close,volume\n2024-01-02,SPY,1,2,1,2,100\n",
    "weights": b'{"SPY": 0.5, "TLT": 0.5}',
    "a configuration": b'[api]\ntokens = "token"\n[[agents]]\nname = "a"\npolicy = "momentum"\ncapital = 0.5\n',
    "a number": b"0.25\n",
    "symbols": b"SPY\nQQQ\nIWM\n",
    "one symbol": b"SPY\n",
    "notes": b"The token of the exchange fell by 5 % on Monday. The secret is patience.\n",
}


def of(file: Path, *hidden: Path, reads: tuple[Path, ...] = ()) -> Readable:
    return readable(file, PACKAGES, hidden, reads)


@pytest.mark.parametrize("content", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("name", ["data.csv", "robot", "notes.txt"])
def test_a_file_that_is_a_secret_is_not_readable_under_any_name(tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / "bars.csv").write_bytes(DATA["bars"])
    (folder / "inner").mkdir()
    os.link(folder / name, folder / "inner" / "linked.csv")
    allowed = of(folder / "mine.py")
    assert str(folder / "bars.csv") in allowed.paths
    assert not {str(folder / name), str(folder / "inner"), str(folder / "inner" / "linked.csv"), str(folder)} & set(
        allowed.paths
    )
    assert any(fault.startswith(f"{folder / name} has ") for fault in allowed.faults)


@pytest.mark.parametrize("content", DATA.values(), ids=DATA)
def test_data_is_no_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.txt").write_bytes(content)
    assert secret_in(tmp_path / "some.txt") == ""


@pytest.mark.parametrize(
    "name",
    ["robot.token", "a.p12", "id_rsa", "credentials.json", "secret.txt", "TOKEN", "b.PFX", "store.jks", "Credentials",
     "id_ed25519", "k.ppk", "tokens.json", "vault.kdbx"],
)  # fmt: skip
def test_a_name_of_a_secret_is_enough(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1\n")
    assert str(tmp_path / name) not in of(tmp_path / "mine.py").paths


@pytest.mark.parametrize("name", sorted(STATE_NAMES))
def test_a_state_folder_of_another_instance_is_not_readable_wherever_it_lies(tmp_path: Path, name: str) -> None:
    folder, other = tmp_path / "own", tmp_path / "own" / "second" / "anything"
    other.mkdir(parents=True)
    for file in (name, "any", "bars.csv"):
        (other / file).write_bytes(b"1,2\n")
    (folder / "second" / "bars.csv").write_bytes(b"1,2\n")
    for reads in ((), (tmp_path,), (other,), (folder / "second",)):
        allowed = of(folder / "mine.py", reads=reads)
        assert not any(other.is_relative_to(path) or Path(path).is_relative_to(other) for path in allowed.paths)
        assert str(folder / "second" / "bars.csv") in allowed.paths
    inside = of(other / "mine.py")
    assert inside.faults == [f"{other} lies in the state folder {other}; keep policy files and their data elsewhere"]
    assert not any(Path(path).is_relative_to(tmp_path) for path in inside.paths)


def test_the_names_of_a_state_folder_are_names_that_a_daemon_writes() -> None:
    assert set(FILES) >= STATE_NAMES


def test_programs_and_libraries_are_readable_and_other_system_folders_are_not() -> None:
    allowed = [Path(path) for path in of(Path("/nowhere/mine.py")).paths]
    for hidden in ("/usr/src/app/state", "/usr/local/etc/keys", "/usr/local/var/state", "/usr/games"):
        assert not any(Path(hidden).is_relative_to(path) for path in allowed), hidden


def test_texts_are_scrubbed_of_tokens_in_force_and_of_words_in_their_form(tmp_path: Path) -> None:
    drawn, short = secrets.token_urlsafe(32), "hunter2"
    (tmp_path / "token").write_text(f"{short}\n")
    (tmp_path / "journal.head").write_text("head\n")
    text = f"ValueError: {short} and {drawn} at mine.py:3, head, {'a' * 43}"
    assert scrubbed(text, [tmp_path]) == f"ValueError: {REMOVED} and {REMOVED} at mine.py:3, head, {'a' * 43}"
    assert scrubbed(text, [tmp_path / "gone"]) == text.replace(drawn, REMOVED)


def asked(folder: Path, source: str) -> Decided:
    """What a policy file beside the state folder of its daemon answers."""
    (folder / "mine.py").write_text(source)
    policy = load("mine.py:act", {}, folder, Apart(folder / "state"))
    return answer(policy, Ask(0, 0, view_of(market(1, 3, 300), 260), {}))


@pytest.mark.long
@confined
def test_a_policy_cannot_publish_the_token_of_its_daemon(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").write_text("hunter2\n")
    failed = asked(tmp_path, "def act(view):\n    raise ValueError('the token is hunter2')\n").failed
    assert failed == f"ValueError: the token is {REMOVED} at mine.py:2"


LOCK = """
import fcntl
def act(view):
    with open({path!r}) as file:
        fcntl.fcntl(file, {command}, bytes.fromhex("00000000000000000000000000000000000000000000000000000000"))
    return "hold"
"""


@pytest.mark.quick_cases(3)
@confined
@pytest.mark.parametrize("command", ["fcntl.F_SETLK", "fcntl.F_SETLKW", "36", "37", "38"])
def test_a_policy_locks_no_record_of_a_file_that_it_reads(tmp_path: Path, command: str) -> None:
    (tmp_path / "bars.db").write_bytes(b"SQLite format 3\0")
    source = LOCK.format(path=str(tmp_path / "bars.db"), command=command)
    assert asked(tmp_path, source).failed.startswith("PermissionError")


MANY = """
import ctypes, errno
LIBC = ctypes.CDLL(None, use_errno=True)
def act(view):
    count = 0
    for _ in range({tries}):
        if {call} < 0:
            break
        count += 1
    return "hold", {{"count": float(count)}}
"""


@confined
@pytest.mark.parametrize(
    ("call", "most"),
    [("LIBC.timer_create(1, None, ctypes.byref(ctypes.c_void_p()))", 64), ("LIBC.inotify_init()", 0)],
)
def test_a_policy_uses_up_no_count_of_its_user(tmp_path: Path, call: str, most: int) -> None:
    decided = asked(tmp_path, MANY.format(call=call, tries=2_000))
    assert np.frombuffer(decided.memory["count"][1])[0] <= most
