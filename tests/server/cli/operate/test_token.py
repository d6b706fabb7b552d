"""`quantd token`: the secret is printed once, alone on standard output, and the list has none."""

import json
import subprocess
import sys

import pytest

from quantd.server.requests.tokens import owner_of, stored
from tests.support.command_line import answer, environment, quantd, write


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    (tmp_path / "state").mkdir()
    return tmp_path


@pytest.mark.requirement("R-233")
def test_a_token_is_created_listed_rotated_and_revoked(folder):
    done = quantd(folder, "token", "create", "ci", "--scope", "trade", "--expires", "90d")
    secret = done.stdout.strip()
    assert done.stdout == f"{secret}\n"
    assert secret not in done.stderr
    (token,) = stored(folder / "state")
    assert token.matches(secret.encode())
    assert token.expires_ns - token.created_ns == pytest.approx(90 * 86_400 * 10**9, abs=10**10)
    rotation = answer(quantd(folder, "token", "create", "ci", "--rotate", "--overlap", "10m", "--json"))
    assert [row["id"] for row in answer(quantd(folder, "token", "list", "--json"))["tokens"]] == [
        secret[:8],
        rotation["id"],
    ]
    shown = quantd(folder, "token", "list")
    assert not any(text in shown.stdout for text in (secret, rotation["secret"], token.digest, token.salt))
    assert answer(quantd(folder, "token", "revoke", "ci", "--json")) == {"name": "ci", "revoked": 2}
    assert answer(quantd(folder, "token", "list", "--json")) == {"tokens": []}


def test_a_token_of_an_agent_that_the_configuration_lacks_is_made_and_the_command_says_so(folder):
    done = quantd(folder, "token", "create", "ai", "--scope", "propose", "--agent", "nobody", "--json")
    assert json.loads(done.stdout)["scope"] == "propose nobody"
    assert "config.toml has no outside agent: until `quantd agent add nobody`" in done.stderr
    (folder / "config.toml").write_text("agents = 3\n")
    assert quantd(folder, "token", "create", "b", "--scope", "propose", "--agent", "nobody").returncode == 0


def test_the_owners_token_is_rotated_in_the_configured_file(folder):
    sets = ("--set", "api.tokens=mine")
    secret = answer(quantd(folder, "token", "create", "owner", "--rotate", "--json", *sets))["secret"]
    assert owner_of(folder / "state" / "mine").matches(secret.encode())
    (row,) = answer(quantd(folder, "token", "list", "--json", *sets))["tokens"]
    assert (row["name"], row["id"], row["scope"]) == ("owner", "local", "admin")
    assert secret[:8] not in json.dumps(row)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "ci"), 2),
        (("create", "ci", "--scope", "root"), 2),
        (("create", "ci", "--scope", "read", "--expires", "soon"), 2),
        (("create", "ci", "--scope", "read", "--expires", "99999d"), 2),
        (("create", "owner", "--scope", "read"), 2),
        (("create", "Ci", "--scope", "read"), 2),
        (("create", "ci", "--scope", "read", "--overlap", "10m"), 2),
        (("create", "no", "--rotate"), 2),
        (("create", "owner", "--rotate", "--scope", "read"), 2),
        (("create", "owner", "--rotate", "--expires", "90d"), 2),
        (("revoke", "no"), 2),
    ],
)
def test_a_mistake_changes_nothing(folder, words, code):
    done = quantd(folder, "token", *words)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert not (folder / "state" / "tokens.json").exists()


@pytest.mark.long
def test_on_a_full_disk_the_file_stays_as_it_was(folder):
    """No file can grow, as on a full disk: each write to one fails."""
    quantd(folder, "token", "create", "ci", "--scope", "read")
    path = folder / "state" / "tokens.json"
    before = path.read_bytes()
    code = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    code += "sys.argv = ['quantd', *sys.argv[1:]]; runpy.run_module('quantd.daemon.cli', run_name='__main__')"
    for words in (("create", "more", "--scope", "read"), ("create", "ci", "--rotate"), ("revoke", "ci")):
        done = subprocess.run(
            [sys.executable, "-c", code, "token", *words],
            cwd=folder, env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (75, ""), done.stderr
        assert f"{path.name}: file too large; it is unchanged" in done.stderr
        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == ["tokens.json"]


def test_without_a_state_folder_the_remedy_is_named(tmp_path):
    write(tmp_path)
    done = quantd(tmp_path, "token", "create", "ci", "--scope", "read")
    assert done.returncode == 2
    assert "quantd run" in done.stderr
