"""What a person does to publish a release, in order: done steps are passed, and the first missing one is named."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from quantd.daemon.runtime.version import VERSION
from scripts.publication.documents import documents
from scripts.publication.facts import ROOT, Facts

MISSING: Final = 75
"""Exit code where a key is missing: the same command goes further once it is there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a release is published from: the checkout, the facts and the environment."""

    root: Path
    facts: Facts
    environ: Mapping[str, str]

    def git(self, *words: str) -> str:
        """What git prints; empty where it fails."""
        done = subprocess.run(["git", "-C", str(self.root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""


@dataclass(frozen=True, slots=True)
class Step:
    """A key that only a person can give: its name, whether it is there, and how to get it."""

    key: str
    given: Callable[[Place], bool]
    remedy: str


def _written(place: Place) -> bool:
    return all(
        (place.root / name).is_file() and (place.root / name).read_text(encoding="utf-8") == text
        for name, text in documents(place.facts, place.root).items()
    )


def _origin(place: Place) -> bool:
    """Whether the remote `origin` is the repository, be its address for https or for ssh."""
    address = place.git("remote", "get-url", "origin").removesuffix(".git").rstrip("/")
    host, _, name = place.facts.repository.removeprefix("https://").partition("/")
    return address in (place.facts.repository, f"git@{host}:{name}", f"ssh://git@{host}/{name}")


def _built(place: Place) -> bool:
    """Whether build/release has the files of this version, as their sums say."""
    folder = place.root / "build" / "release"
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return False
    lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines()]
    names = {name for _, name in lines}
    complete = {f"quantd-{VERSION}-py3-none-any.whl", f"quantd-{VERSION}.tar.gz", f"quantd-{VERSION}.cdx.json"} <= names
    return complete and all(
        (folder / name).is_file() and sha256((folder / name).read_bytes()).hexdigest() == digest
        for digest, name in lines
    )


STEPS: Final = (
    Step(
        "repository in publication.toml",
        lambda place: bool(place.facts.repository),
        "make the repository on its forge, and write its address",
    ),
    Step(
        "security_address in publication.toml",
        lambda place: bool(place.facts.security_address),
        "open a mailbox that somebody reads within answer_days, and write its address",
    ),
    Step(
        "conduct_address in publication.toml",
        lambda place: bool(place.facts.conduct_address),
        "open a mailbox that somebody reads, and write its address",
    ),
    Step(
        "index in publication.toml",
        lambda place: bool(place.facts.index),
        "open an account at the package index, register the name quantd, and write the address of its page",
    ),
    Step("files that repeat publication.toml", _written, "run make publication, and commit what it writes"),
    Step(
        "remote origin of git",
        _origin,
        "run git remote add origin with the address of the repository",
    ),
    Step(
        "key for signed tags (git config user.signingkey)",
        lambda place: bool(place.git("config", "user.signingkey")),
        "make a key, publish its public half on the forge, and run git config user.signingkey KEY",
    ),
    Step(
        "a commit without changes beside it",
        lambda place: bool(place.git("rev-parse", "HEAD")) and not place.git("status", "--porcelain"),
        "commit or stash the changes: a release is made of a commit",
    ),
    Step(f"build/release of {VERSION}", _built, "run make release"),
    Step(
        f"signed tag v{VERSION} of this commit",
        lambda place: (
            place.git("rev-parse", "HEAD") == place.git("rev-parse", f"v{VERSION}^{{commit}}")
            and "-----BEGIN" in place.git("cat-file", "tag", f"v{VERSION}")
        ),
        f"run make test-all, make prove, make docs and make pictures on this commit; read docs/release/{VERSION}.md; "
        f"then run git tag -s v{VERSION} -m 'quantd {VERSION}'",
    ),
    Step(
        "token of the package index in TWINE_PASSWORD",
        lambda place: bool(place.environ.get("TWINE_PASSWORD")),
        "make a token for the project quantd at the index, and export TWINE_USERNAME=__token__ and TWINE_PASSWORD",
    ),
)
"""The keys in the order in which they are needed."""

COMMANDS: Final = (
    f"git push origin v{VERSION}",
    "twine upload build/release/*-none-any.whl build/release/*.tar.gz",
)
"""What is left when every key is there."""


def walk(facts: Facts, environ: Mapping[str, str], root: Path = ROOT) -> int:
    """Print the first missing key with its remedy, or the commands that are left. Returns the exit code."""
    place = Place(root, facts, environ)
    for number, step in enumerate(STEPS, 1):
        if not step.given(place):
            print(f"quantd: step {number} of {len(STEPS)}, missing: {step.key}", file=sys.stderr)
            print(f"  {step.remedy}", file=sys.stderr)
            return MISSING
    print("\n".join(COMMANDS))
    return 0
