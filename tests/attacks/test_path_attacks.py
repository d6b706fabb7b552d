"""Attacks by what a path names: one line each; the command refuses with the name, and what is named stays as it was.

The victims are copies: a device node of this test, a pipe, a file and a folder outside the state folder. The real
devices of this machine are in no test.
"""

import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantd.daemon.access.api_token import tighten
from quantd.regular_file import Refused
from quantd.state_folder import FILES, FOLDERS, check_state
from tests.support.command_line import quantd, write

Plant = Callable[[Path, Path], object]
"""Puts something at a path, given the folder of the victims."""


def victims(folder: Path) -> Path:
    """A file, a pipe, a socket and a folder with a file that everybody may write, and a device where it can be made."""
    folder.mkdir()
    (folder / "file").write_text("as before\n")
    (folder / "file").chmod(0o666)
    os.mkfifo(folder / "pipe")
    (folder / "pipe").chmod(0o666)
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_text("as before\n")
    (folder / "folder").chmod(0o777)
    try:
        os.mknod(folder / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (folder / "device").chmod(0o666)
    except PermissionError:
        pass
    return folder


def state_of(folder: Path) -> dict[str, object]:
    """Mode, owner, size and content of every victim."""
    states: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        states[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, content)
    return states


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def link_to(name: str) -> Plant:
    def plant(path: Path, outside: Path) -> None:
        if name == "device" and not (outside / name).exists():
            pytest.skip("this user may make no device node")
        path.symlink_to(outside / name)

    return plant


def a_device(path: Path, outside: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.chmod(0o666)
    except PermissionError:
        pytest.skip("this user may make no device node")


def a_pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)
    path.chmod(0o666)


def a_socket(path: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket has 108 characters at most
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def a_hard_link(path: Path, outside: Path) -> None:
    path.hardlink_to(outside / "file")


def a_file(path: Path, outside: Path) -> None:
    path.write_text("as before\n")
    path.chmod(0o666)


def a_folder(path: Path, outside: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


IN_PLACE_OF_A_FILE: dict[str, tuple[Plant, str]] = {
    "a link to a device": (link_to("device"), "is a link to"),
    "a link to a pipe": (link_to("pipe"), "is a link to"),
    "a link to a file": (link_to("file"), "is a link to"),
    "a link to nothing": (link_to("nothing"), "is a link to"),
    "a device": (a_device, "is a device, not a regular file"),
    "a pipe": (a_pipe, "is a pipe, not a regular file"),
    "a socket": (a_socket, "is a socket, not a regular file"),
    "a folder": (a_folder, "is a folder, not a regular file"),
    "a hard link": (a_hard_link, "has 2 names"),
}
IN_PLACE_OF_A_FOLDER: dict[str, tuple[Plant, str]] = {
    "a link to a device": (link_to("device"), "is a device, not a folder"),
    "a link to a pipe": (link_to("pipe"), "is a pipe, not a folder"),
    "a link to a file": (link_to("file"), "is a regular file, not a folder"),
    "a link to nothing": (link_to("nothing"), "is a link to"),
    "a device": (a_device, "is a device, not a folder"),
    "a pipe": (a_pipe, "is a pipe, not a folder"),
    "a socket": (a_socket, "is a socket, not a folder"),
    "a file": (a_file, "is a regular file, not a folder"),
}
WITHIN: dict[str, tuple[Plant, str]] = {
    "a link to a folder": (link_to("folder"), "is a link to"),
    "a pipe": (a_pipe, "is a pipe, not a folder"),
    "a file": (a_file, "is a regular file, not a folder"),
}


@dataclass(frozen=True)
class Attack:
    """`plant` puts something at `name`, in or as the state folder; the refusal has `said`."""

    name: str
    what: str
    plant: Plant
    said: str

    def __str__(self) -> str:
        return f"{self.name or 'the folder'} is {self.what}"


ATTACKS = (
    *(Attack("", what, *how) for what, how in IN_PLACE_OF_A_FOLDER.items()),
    *(Attack(name, what, *how) for name in (*FILES, "token") for what, how in IN_PLACE_OF_A_FILE.items()),
    *(Attack(name, what, *how) for name in FOLDERS for what, how in WITHIN.items()),
)
WHOLE = tuple(
    attack for attack in ATTACKS if attack.name in ("", "quantd.db") or (attack.name, attack.what) == ("lock", "a pipe")
)
"""Attacks that are made on the whole command: the others differ in the name alone."""


def planted(folder: Path, attack: Attack, outside: Path) -> Path:
    """The attacked state folder."""
    state = folder / "state"
    if attack.name:
        state.mkdir(mode=0o700)
    attack.plant(state / attack.name, outside)
    return state


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_the_look_refuses_each_name_and_changes_nothing(tmp_path: Path, attack: Attack) -> None:
    outside = victims(tmp_path / "outside")
    state = planted(tmp_path, attack, outside)
    before, listed = state_of(tmp_path), names_in(tmp_path)
    with pytest.raises(Refused, match=attack.said) as refusal:
        check_state(state)
    assert str(refusal.value).startswith(f"{state / attack.name}: ")
    assert "remove" in str(refusal.value) or "name another" in str(refusal.value)
    assert (state_of(tmp_path), names_in(tmp_path)) == (before, listed)


@pytest.mark.parametrize("attack", WHOLE, ids=str)
def test_the_start_is_refused_and_the_victim_is_as_before(tmp_path: Path, attack: Attack) -> None:
    write(tmp_path)
    outside = victims(tmp_path / "outside")
    planted(tmp_path, attack, outside)
    before, listed = state_of(tmp_path), names_in(tmp_path)
    done = quantd(tmp_path, "run")
    named = f"{Path('state', attack.name)}: "
    assert (done.returncode, attack.said in done.stderr, named in done.stderr) == (78, True, True)
    assert "Traceback" not in done.stderr
    assert (state_of(tmp_path), names_in(tmp_path)) == (before, listed)


OUTPUTS = {what: how for what, how in IN_PLACE_OF_A_FILE.items() if what != "a hard link"}
"""A hard link is replaced: the other name keeps its content."""


@pytest.mark.parametrize("what", OUTPUTS)
def test_an_output_replaces_nothing_but_a_regular_file(tmp_path: Path, what: str) -> None:
    plant, said = OUTPUTS[what]
    outside, out = victims(tmp_path / "outside"), tmp_path / "out.csv"
    bars = tmp_path / "bars.parquet"
    words = ("data", "fetch", "--synthetic", "2", "--from", "2024-01-02", "--to", "2024-01-31")
    assert quantd(tmp_path, *words, "--out", bars.name).returncode == 0
    plant(out, outside)
    before, listed, planted_as = state_of(outside), names_in(tmp_path), out.lstat()
    done = quantd(tmp_path, *words, "--out", out.name)
    looked_at = "neither a file nor a folder" in done.stderr  # before the command begins
    assert (done.returncode, looked_at or said in done.stderr) == (2 if looked_at else 78, True), done
    assert (state_of(outside), names_in(tmp_path)) == (before, listed)
    assert (out.lstat().st_mode, out.lstat().st_ino) == (planted_as.st_mode, planted_as.st_ino)


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_is_shared_with_others_keeps_its_mode(tmp_path: Path, link: bool) -> None:
    """`--state` names a folder of ours that everybody may write and that holds nothing of quantd."""
    write(tmp_path)
    outside = victims(tmp_path / "outside")
    (tmp_path / "state").symlink_to(outside / "folder") if link else (tmp_path / "state").mkdir()
    if not link:
        (tmp_path / "state" / "file").write_text("of others")
        (tmp_path / "state").chmod(0o777)
    before, mode = state_of(outside), (tmp_path / "state").stat().st_mode
    done = quantd(tmp_path, "run")
    assert (done.returncode, "It is no state folder yet and holds file: choose a private folder" in done.stderr) == (
        78, True,
    ), done  # fmt: skip
    assert (state_of(outside), (tmp_path / "state").stat().st_mode) == (before, mode)


@pytest.mark.parametrize("name", ["lost+found", "journal.head"])
def test_an_empty_volume_and_a_state_folder_are_closed_to_others(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    tmp_path.chmod(0o777)
    assert tighten(tmp_path, "token") == [f"other users may write {tmp_path}: chmod go-w {tmp_path}"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o775


def test_a_halt_is_made_whatever_lies_in_the_state_folder(tmp_path: Path) -> None:
    write(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    for name in (*FILES, "token"):
        os.mkfifo(state / name)
    done = quantd(tmp_path, "halt", "--reason", "a test")
    assert done.returncode == 0, done
    assert (state / "HALT").read_bytes() == b""
