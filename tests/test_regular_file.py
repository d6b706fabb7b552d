"""Only a regular file of bounded size is read, and no other process can make the reader wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantd.regular_file import MIB, NotRead, read_regular
from tests.support.command_line import CONFIG, quantd, write

HOLDER = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_up_to_the_bound_is_read_with_its_status(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert (read_regular(path, 10).data, read_regular(path, 10).status.st_size) == (b"x" * 10, 10)
    with pytest.raises(NotRead, match="has more than 9 bytes"):
        read_regular(path, 9)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "b")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to a device"])
def test_anything_else_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case _:
            path.symlink_to("/dev/zero")
    with pytest.raises(NotRead, match="is not a regular file"):
        read_regular(path)


def test_a_link_is_followed_only_where_links_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b").data == b"x"
    with pytest.raises(NotRead, match="cannot be read"):
        read_regular(tmp_path / "b", links=False)


def test_a_lease_of_another_process_does_not_make_the_reader_wait(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NotRead, match="is leased by another process"):
            read_regular(path)
        holder.kill()
    assert read_regular(path).data == b"x"


SYMBOLS = '["SPY", "QQQ", "IWM"]'


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/dev/zero", 'config.toml:5: [universe] symbols = "/dev/zero": this file is not a regular file'),
        ("pipe", "this file is not a regular file"),
        (".", "this file is not a regular file"),
        ("large", f"this file has more than {MIB:,} bytes"),
        ("latin", "this file is not UTF-8 text"),
        ("gone", "this file does not exist"),
    ],
)
def test_a_file_of_symbols_is_regular_and_bounded(tmp_path: Path, name: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("SPY\n" * (MIB // 4 + 1))
    (tmp_path / "latin").write_bytes(b"SPY # \xe4\n")
    write(tmp_path, CONFIG.replace(SYMBOLS, f'"{name}"'))
    done = quantd(tmp_path, "config", "check")
    assert (done.returncode, said in done.stderr + done.stdout) == (78, True), done


def test_a_file_of_symbols_within_the_bound_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "few").write_text("SPY\nQQQ # technology\n\nIWM\n")
    write(tmp_path, CONFIG.replace(SYMBOLS, '"few"'))
    assert quantd(tmp_path, "config", "check").returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#" * (MIB + 1), f"config.toml: has more than {MIB:,} bytes"),
        (f"[{'.'.join('a' * 20_000)}]\n", "config.toml:1: a key has more than 32 parts"),
        (f"\n{'.'.join('a' * 20_000)} = 1\n", "config.toml:2: a key has more than 32 parts"),
        ("x = { " + ".".join(['"a"'] * 33) + " = 1 }\n", "config.toml:1: a key has more than 32 parts"),
    ],
    ids=["size", "table", "key", "inline table"],
)
def test_a_configuration_that_takes_long_to_parse_is_refused_unparsed(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, text)
    done = quantd(tmp_path, "config", "check")
    assert (done.returncode, said in done.stderr + done.stdout) == (78, True), done
