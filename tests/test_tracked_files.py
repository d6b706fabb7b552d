"""No file of the repository has a secret, or an identifier of a machine or of a person."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import environment

SECRETS = {
    "private key": (rb"PRIVATE KEY-----", rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "key of AWS": (rb"A", rb"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "token of GitHub": (rb"gh", rb"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{40,}"),
    "token of Slack": (rb"xox", rb"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "key of Google": (rb"AIza", rb"\bAIza[0-9A-Za-z_-]{35}\b"),
    "token of a Telegram bot": (rb":AA", rb"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    "key of Alpaca": (rb"K", rb"\b[PAC]K[A-Z0-9]{18}\b"),
    "JSON web token": (rb"eyJ", rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    "login in an address": (rb"@", rb"[a-z]+://[^\s/:@\"'<>{}$`]+:([^\s/@\"'<>{}$`*]+)@[A-Za-z0-9]"),
    "secret in a line": (
        rb"=",
        rb"(?i:secret|password|passwd|token|api_?key)[\"']? ?[:=] ?[\"']?((?=[A-Za-z_-]*[0-9])[A-Za-z0-9+/_-]{20,})",
    ),
    "identifier of a machine": (rb"-", rb"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    "address of a network card": (rb":", rb"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"),
    "folder of a person": (rb"/", rb"/(?:home|Users)/(?!me/|you/)[a-z][\w.-]*/|/root/\w"),
    "address of a person": (
        rb"@",
        rb"[A-Za-z0-9._%+-]{1,64}@(?!example\.)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:com|net|io|de|edu|co|ai|dev)\b",
    ),
}
"""Kind -> bytes that are in each of them, and its expression. A group is the secret itself."""

KNOWN = {
    b"hunter2", b"p", b"pw", b"word", "…".encode(), b"p%40ss%2Fw%3Ard",  # passwords of tests
    b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",  # the example of Binance's documentation
    b"tk_abcdefghij0123456789",
    b"5d0b6f2e-8f0c-5b7e-9a55-6e1c0f6f4d11", b"d7ca3512-1cef-57a4-adb9-920d5ffbc37f",  # a namespace, and a name in it
    b"35d7a4b6-2b8e-4f2c-8b0c-1c5c4d9e9b11",  # an order of a test
}  # fmt: skip
"""What looks like a secret and is none."""

OF_OTHERS = ("server/api/docs_page/swagger-ui-bundle.js",)
BINARY = (
    ".onnx",
    ".parquet",
    ".png",
    ".safetensors",
    ".bin",
    ".msgpack",
    ".tar.xz",
    ".feather",
    ".gz",
    ".zip",  # tests/adapters/feeds/tables compares their members with text
)  # archives have a test of their own
PRIVATE = re.compile(
    r"(?:^|/)(?:\.cache|\.env|deviceid|(?<!daemon/engine/)state|tokens\.json|token|id_[a-z0-9]+)(?:/|$)|\.(?:key|pem|db)$"
)
"""Names of what is of one machine: caches, environments, states, keys and databases."""


@cache
def tracked() -> tuple[str, ...]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return tuple(name for name in done.stdout.decode().split("\0") if name and not (ROOT / name).is_symlink())


def found(data: bytes) -> list[tuple[str, bytes]]:
    """The kind and the text of each secret in a file's content."""
    return [
        (kind, each[each.lastindex or 0])
        for kind, (part, expression) in SECRETS.items()
        if part in data
        for each in re.finditer(expression, data)
        if each[each.lastindex or 0] not in KNOWN
    ]


@pytest.mark.requirement("R-232")
def test_no_tracked_file_has_a_secret_or_an_identifier() -> None:
    secrets, binary = {}, set()
    for name in tracked():
        if name in OF_OTHERS or not (ROOT / name).exists():
            continue
        data = (ROOT / name).read_bytes()
        if b"\0" in data:
            binary.add(name)
        elif wrong := found(data):
            secrets[name] = wrong
    assert secrets == {}
    assert len(tracked()) > 1_000
    # what these expressions cannot read is of a kind that has no texts
    assert {name for name in binary if not name.endswith(BINARY)} == set()


@pytest.mark.requirement("R-232")
def test_no_tracked_file_has_a_name_of_what_is_of_one_machine() -> None:
    assert [name for name in tracked() if PRIVATE.search(name)] == []
    for name in (
        ".cache/Microsoft/DeveloperTools/.onnxruntime/deviceid",
        "state/token",
        "x/.env",
        "a.pem",
        "quantd.db",
    ):
        assert PRIVATE.search(name), name


PLANTED = (
    ("private key", "-----BEGIN RSA {}PRIVATE KEY-----"),
    ("key of AWS", "AKIA{}QWERTYUIOPASDFGH"),
    ("token of GitHub", "ghp_{}" + "a1B2" * 9),
    ("token of Slack", "xoxb-{}123456789012-abc"),
    ("key of Google", "AIza{}" + "a1B2c" * 7),
    ("token of a Telegram bot", "123456789:{}AA" + "x1Y" * 11),
    ("key of Alpaca", "PK{}ABCDEFGHIJ12345678"),
    ("JSON web token", "eyJhbGciOiJIUzI1NiJ9.{}eyJzdWIiOiIxMjM0NTY3ODkwIn0.x"),
    ("login in an address", "postgresql://me:{}wordword@host/db"),
    ("secret in a line", 'api_secret = "{}k3jh5k3jh5k3jh5k3jh5"'),
    ("identifier of a machine", "0f8fad5b-{}d9cb-469f-a165-70867728950e"),
    ("address of a network card", "52:54:00:{}12:34:56"),
    ("folder of a person", "/home/{}somebody/quantd/config.toml"),
    ("address of a person", "some.body@{}gmail.com"),
)


@pytest.mark.parametrize(("kind", "text"), PLANTED, ids=[kind for kind, _ in PLANTED])
def test_each_kind_of_secret_is_found(kind: str, text: str) -> None:
    """The texts stand in two parts, so that this file itself has none."""
    assert kind in {each for each, _ in found(b"x " + text.format("").encode() + b" y\n")}


def test_every_kind_is_planted() -> None:
    assert [kind for kind, _ in PLANTED] == list(SECRETS)


def test_the_import_of_the_runtime_of_models_leaves_no_identifier_of_this_machine(tmp_path: Path) -> None:
    apart = {k: v for k, v in environment().items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    code = (
        "import sys; from pathlib import Path; from quantd.models.artifacts.runtime import new_session; "
        "graph = next(Path(sys.argv[1]).rglob('*.onnx')); new_session(graph.read_bytes(), graph, 1)"
    )
    subprocess.run(
        [sys.executable, "-B", "-c", code, str(ROOT / "models" / "shipped")],
        env=apart | {"HOME": str(tmp_path)},
        check=True,
    )
    assert [name for _, _, files in os.walk(tmp_path) for name in files] == []
