"""`scripts/publish --dry-run`: it stops at each key that is missing, in order, and publishes nothing."""

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from quantd.daemon.runtime.version import VERSION
from scripts.publication.documents import documents
from scripts.publication.facts import Facts
from scripts.publication.steps import COMMANDS, MISSING, STEPS, walk
from tests.support.checkout import ROOT

FACTS = Facts(
    authors=("A Person",),
    repository="https://forge.example/me/quantd",
    documentation="",
    security_address="security@quantd.example",
    answer_days=7,
    conduct_address="conduct@quantd.example",
    index="https://index.example/quantd",
)
TOKEN = {"TWINE_PASSWORD": "word"}


class Checkout:
    """A repository with the files that repeat facts; `git` has no configuration but its own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        for name, value in (("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")):
            monkeypatch.setenv(name, value)
        self.git("init", "-q")
        self.git("config", "user.name", "A Person")
        self.git("config", "user.email", "person@example.com")
        (root / "docs" / "doors").mkdir(parents=True)
        for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "docs/doors/home.md"):
            shutil.copy(ROOT / name, root / name)
        (root / ".gitignore").write_text("build/\nkey*\n")
        self.commit()

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.root), *words], check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a")

    def fill(self) -> None:
        for name, text in documents(FACTS, self.root).items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def key(self) -> None:
        """A key that signs tags, made by ssh-keygen as a person would."""
        key = self.root / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.git("config", "gpg.format", "ssh")
        self.git("config", "user.signingkey", str(key))

    def release(self) -> None:
        folder = self.root / "build" / "release"
        folder.mkdir(parents=True, exist_ok=True)
        names = (f"quantd-{VERSION}-py3-none-any.whl", f"quantd-{VERSION}.tar.gz", f"quantd-{VERSION}.cdx.json")
        for name in names:
            (folder / name).write_text(name)
        lines = [f"{sha256(name.encode()).hexdigest()}  {name}\n" for name in names]
        (folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    return Checkout(tmp_path, monkeypatch)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_each_missing_key_is_named_alone_in_the_order_of_the_steps(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {"repository": "", "security_address": "", "conduct_address": "", "index": ""}
    facts, environ = msgspec.structs.replace(FACTS, **empty), {}
    missing_keys = []

    def stop() -> str:
        assert walk(facts, environ, checkout.root) == MISSING
        output = capsys.readouterr()
        assert output.out == ""
        first, remedy = output.err.splitlines()
        number, key = len(missing_keys) + 1, STEPS[len(missing_keys)].key
        assert first == f"quantd: step {number} of {len(STEPS)}, missing: {key}"
        assert remedy == f"  {STEPS[len(missing_keys)].remedy}"
        missing_keys.append(key)
        return key

    for name in ("repository", "security_address", "conduct_address", "index"):
        assert stop().startswith(name)
        facts = msgspec.structs.replace(facts, **{name: getattr(FACTS, name)})
    stop()
    checkout.fill()
    stop()
    checkout.git("remote", "add", "origin", "git@forge.example:me/quantd.git")
    stop()
    checkout.key()
    stop()
    checkout.commit()
    stop()
    checkout.release()
    assert stop() == f"signed tag v{VERSION} of this commit"
    checkout.git("tag", "-s", f"v{VERSION}", "-m", VERSION)
    stop()
    environ = TOKEN
    assert missing_keys == [step.key for step in STEPS]
    assert walk(facts, environ, checkout.root) == 0
    output = capsys.readouterr()
    assert (output.out.splitlines(), output.err) == (list(COMMANDS), "")
    # what was there is missed again when it is gone
    (checkout.root / "build" / "release" / f"quantd-{VERSION}.tar.gz").write_text("damaged")
    assert walk(facts, environ, checkout.root) == MISSING
    assert "build/release" in capsys.readouterr().err


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_tag_counts_where_it_is_signed_and_of_this_commit(
    checkout: Checkout, capsys: pytest.CaptureFixture[str], signed: bool
) -> None:
    checkout.fill()
    checkout.git("remote", "add", "origin", FACTS.repository)
    checkout.key()
    checkout.commit()
    checkout.release()
    checkout.git("tag", "-s" if signed else "-a", f"v{VERSION}", "-m", VERSION)
    assert walk(FACTS, TOKEN, checkout.root) == (0 if signed else MISSING)
    if signed:
        (checkout.root / "new").touch()
        checkout.commit()
        assert walk(FACTS, TOKEN, checkout.root) == MISSING
    assert "signed tag" in capsys.readouterr().err


def test_another_remote_than_the_repository_is_missing(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.fill()
    checkout.git("remote", "add", "origin", "https://forge.example/other/quantd.git")
    assert walk(FACTS, TOKEN, checkout.root) == MISSING
    assert "missing: remote origin of git" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--now",), ("--dry-run", "x")])
def test_without_the_word_dry_run_it_does_nothing(words: tuple[str, ...]) -> None:
    process = subprocess.run([ROOT / "scripts" / "publish", *words], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (64, "")
    assert "it publishes nothing" in process.stderr


def test_no_step_runs_a_command_that_publishes() -> None:
    """The commands that are left are texts; git is called to read."""
    text = (ROOT / "scripts" / "publication" / "steps.py").read_text()
    assert text.count("subprocess.run(") == 1
    assert all(f'place.git("{word}"' not in text for word in ("push", "tag", "commit", "fetch"))
