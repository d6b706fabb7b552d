"""Tokens with scopes in their file: what is stored, who may have written it, and changes from several processes."""

import json
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.server.requests.tokens import (
    FILE,
    INCLUDED,
    MOST,
    OWNER,
    TokenRefused,
    TokensUnreadable,
    created,
    note_used,
    owner_of,
    revoked,
    rotated,
    stored,
    token_for,
)
from tests.support.command_line import environment


def test_the_file_has_salted_hashes_of_mode_0600_and_no_secret(tmp_path):
    secrets = [created(tmp_path, name, "trade")[1] for name in ("one", "two")]
    path = tmp_path / FILE
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(secret in text for secret in secrets)
    assert all(len(secret) == 43 for secret in secrets)
    one, two = stored(tmp_path)
    assert one.salt != two.salt
    assert one.matches(secrets[0].encode())
    assert not one.matches(secrets[1].encode())
    assert one.salt not in repr(one)
    assert one.digest not in repr(one)


def test_a_token_for_proposals_names_its_agent_and_keeps_it_over_a_rotation(tmp_path):
    token, _ = created(tmp_path, "robot", "propose", agent="guest")
    assert (token.agent, rotated(tmp_path, "robot")[0].agent) == ("guest", "guest")
    assert [entry.agent for entry in stored(tmp_path)] == ["guest"]
    for scope, agent in (("propose", ""), ("trade", "guest"), ("admin", "guest")):
        with pytest.raises(TokenRefused, match="--scope propose --agent NAME"):
            created(tmp_path, "other", scope, agent=agent)


@pytest.mark.requirement("R-233")
@given(st.binary(max_size=64))
def test_no_other_bytes_match(secret):
    token = token_for("a", "read", "y" * 43, 0)
    assert token.matches(secret) == (secret == b"y" * 43)


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("metrics", {"metrics"}),
        ("read", {"read", "metrics"}),
        ("propose", {"propose", "read", "metrics"}),
        ("trade", {"trade", "propose", "read", "metrics"}),
        ("admin", {"admin", "trade", "propose", "read", "metrics"}),
    ],
)
def test_a_scope_grants_itself_and_what_it_includes(scope, granted):
    token = token_for("a", scope, "x" * 43, 0)
    assert {granted_scope for granted_scope in INCLUDED if token.grants(granted_scope)} == granted


def test_a_token_is_valid_until_it_expires():
    token = token_for("a", "read", "x" * 43, 0, expires_ns=10)
    assert (token.expired(9), token.expired(10)) == (False, True)
    assert not token_for("a", "read", "x" * 43, 0).expired(2**62)


@pytest.mark.requirement("R-233")
def test_a_rotation_keeps_scope_and_end_and_the_old_secret_for_the_overlap_only(tmp_path):
    ends = time.time_ns() + 10**12
    _, old = created(tmp_path, "ci", "trade", ends)
    _, new = rotated(tmp_path, "ci", overlap_ns=10**11)
    before, after = stored(tmp_path)
    assert before.matches(old.encode())
    assert before.expires_ns <= time.time_ns() + 10**11
    assert (after.scope, after.expires_ns, after.matches(new.encode())) == ("trade", ends, True)
    rotated(tmp_path, "ci")
    (only,) = stored(tmp_path)
    assert not only.matches(new.encode())
    assert revoked(tmp_path, "ci") == 1
    assert stored(tmp_path) == ()


def test_the_owners_secret_is_in_its_own_file_alone(tmp_path):
    (tmp_path / "token").write_text("short\n")
    owner = owner_of(tmp_path / "token")
    assert (owner.id, owner.scope, owner.matches(b"short")) == ("local", "admin", True)
    _, secret = rotated(tmp_path, OWNER, overlap_ns=10**11)
    assert (tmp_path / "token").read_text() == secret + "\n"
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    (old,) = stored(tmp_path)
    assert old.matches(b"short")
    assert "short" not in (tmp_path / FILE).read_text()
    assert not owner_of(tmp_path / "token").matches(b"short")
    with pytest.raises(TokenRefused, match="choose another name"):
        created(tmp_path, OWNER, "admin")
    with pytest.raises(TokenRefused, match="no end of validity"):
        rotated(tmp_path, OWNER, expires_ns=time.time_ns() + 10**15)
    assert (tmp_path / "token").read_text() == secret + "\n"


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "a" * 33, "a\n", "ä"])
def test_a_name_that_could_break_a_line_of_the_journal_is_refused(tmp_path, name):
    with pytest.raises(TokenRefused, match="is not a name"):
        created(tmp_path, name, "read")
    assert not (tmp_path / FILE).exists()


def test_unknown_and_repeated_names_and_too_many_are_refused_with_the_remedy(tmp_path):
    for change in (lambda: rotated(tmp_path, "no"), lambda: revoked(tmp_path, "no")):
        with pytest.raises(TokenRefused, match="there is no token"):
            change()
    for k in range(MOST):
        created(tmp_path, f"t{k}", "read")
    with pytest.raises(TokenRefused, match="there is a token t0"):
        created(tmp_path, "t0", "read")
    with pytest.raises(TokenRefused, match="revoke one"):
        created(tmp_path, "more", "read")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_may_read_or_write_is_not_trusted(tmp_path, mode):
    created(tmp_path, "ci", "read")
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(TokensUnreadable, match="chmod 600"):
        stored(tmp_path)


def test_a_damaged_file_is_not_trusted(tmp_path):
    created(tmp_path, "ci", "read")
    good = json.loads((tmp_path / FILE).read_text())
    for key, value in (
        ("salt", "00"),
        ("salt", "zz" * 16),
        ("scope", "root"),
        ("name", "a b"),
        ("more", 1),
        ("digest", "ä" * 64),
    ):
        (tmp_path / FILE).write_text(json.dumps([good[0] | {key: value}]))
        with pytest.raises(TokensUnreadable, match="is damaged"):
            stored(tmp_path)
    for text in ("", "{", "null", "[" * 100_000):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(TokensUnreadable, match="is damaged"):
            stored(tmp_path)
    (tmp_path / FILE).write_text(" " * 300_000 + "[]")
    with pytest.raises(TokensUnreadable, match="has more than"):
        stored(tmp_path)


@pytest.mark.long
def test_changes_of_several_processes_at_once_are_all_kept(tmp_path):
    program = (
        "import sys, pathlib; from quantd.server.requests.tokens import *\n"
        "for k in range(8): created(pathlib.Path(sys.argv[1]), f't{sys.argv[2]}-{k}', 'read')"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(k)], env=environment()) for k in range(3)
    ]
    token, _ = created(tmp_path, "mine", "read")
    note_used(tmp_path, {token.id: 7})
    assert [child.wait(60) for child in children] == [0, 0, 0]
    used_by_name = {entry.name: entry.used_ns for entry in stored(tmp_path)}
    assert len(used_by_name) == 25
    assert used_by_name["mine"] == 7
