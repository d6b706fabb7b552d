"""What of a user's files a policy reads: those of its own folder and of `reads`, by what their names resolve to."""

from pathlib import Path

import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.command import RunOptions
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.setup.config import check
from quantd.daemon.config import ConfigError
from quantd.daemon.policies.isolation.worker import PACKAGES, Apart, unreadable
from quantd.daemon.policies.loading import answer
from quantd.models.isolation import readable_paths
from quantd.models.isolation.confinement import missing
from quantd.models.isolation.readable_paths import Readable, readable
from quantd.trading.effects import Ask
from tests.support.isolated_policies import CONFIG
from tests.support.policies import market, view_of


def of(file: Path, *hidden: Path, reads: tuple[Path, ...] = ()) -> Readable:
    return readable(file, PACKAGES, hidden, reads)


def test_the_state_folder_is_never_readable_wherever_the_file_lies(tmp_path: Path) -> None:
    state = tmp_path / "var" / "state"
    state.mkdir(parents=True)
    (tmp_path / "var" / "data").mkdir()
    (tmp_path / "mine.py").touch()
    for reads in ((), (tmp_path,), (state,)):
        paths = of(tmp_path / "mine.py", state, reads=reads).paths
        assert str(tmp_path / "mine.py") in paths
        assert str(tmp_path / "var" / "data") in paths
        assert not any(state.is_relative_to(path) or Path(path).is_relative_to(state) for path in paths)
    nothing = of(tmp_path / "mine.py", tmp_path, reads=(tmp_path / "var",)).paths
    assert not any(Path(path).is_relative_to(tmp_path) for path in nothing)


def test_a_registered_policy_reads_no_file_of_the_user(tmp_path: Path) -> None:
    paths = readable(None, PACKAGES, [tmp_path]).paths
    assert not {"/etc", "/home", "/root", "/tmp", "/var"} & set(paths)


def test_a_folder_with_a_key_is_readable_in_parts_and_another_as_a_whole(tmp_path: Path) -> None:
    for name in ("bars/a.csv", "mixed/a.csv", "mixed/A.Key", "mixed/inner/b.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    paths = {path for path in of(tmp_path / "mine.py").paths if Path(path).is_relative_to(tmp_path)}
    assert paths == {str(tmp_path / name) for name in ("bars", "mixed/a.csv", "mixed/inner")}


def test_a_link_that_leaves_the_folder_is_named_with_its_remedy(tmp_path: Path) -> None:
    folder, other = tmp_path / "own", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "bars.csv").touch()
    (other / "a.pem").touch()
    (folder / "inner.csv").touch()
    for name, target in {
        "bars": other, "bars.csv": other / "bars.csv", "key": other / "a.pem", "inner": folder / "inner.csv",
        "libraries": Path("/usr/lib"), "gone": other / "gone", "loop": folder / "loop",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    access = of(folder / "mine.py")
    remedy = f'outside its folder; write [[agents]] reads = ["{other}"]'
    assert access.faults == [
        f"the link {folder}/bars points to {other}, {remedy}",
        f"the link {folder}/bars.csv points to {other}/bars.csv, {remedy}",
        f"the link {folder}/key points to {other}/a.pem, which is private; policy files read no such file",
    ]
    assert not any(Path(path).is_relative_to(other) for path in access.paths)
    more = of(folder / "mine.py", reads=(other,))
    assert len(more.faults) == 1
    assert str(other / "bars.csv") in more.paths


def test_a_folder_with_too_many_files_is_readable_in_part_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readable_paths, "MOST_ENTRIES", 3)
    for number in range(5):
        (tmp_path / f"{number}.csv").touch()
    access = of(tmp_path / "mine.py")
    assert "give the policy file a folder of its own" in access.faults[0]
    assert str(tmp_path / "4.csv") not in access.paths


READING = "def act(view):\n    open({path!r}).read()\n    return [0.1] * len(view.prices)\n"


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=f"this machine lacks {', '.join(missing())}")
def test_an_agent_reads_the_folders_of_its_table_and_another_agent_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bars = tmp_path / "own", tmp_path / "bars"
    folder.mkdir()
    bars.mkdir()
    (bars / "spy.csv").write_text("1\n")
    (folder / "bars").symlink_to(bars)
    (folder / "mine.py").write_text(READING.format(path=str(folder / "bars" / "spy.csv")))
    text = CONFIG.format(pace="fast", at_end="stop", policy="mine.py:act", params="{}")
    (folder / "config.toml").write_text(
        text.replace("capital = 1.0", "capital = 0.5") + 'reads = ["../bars"]\n' + SECOND
    )
    assembly = assemble(read(folder / "config.toml", ()), isolation=Apart(folder / "state"))
    first, second = (answer(policy, Ask(0, 0, view_of(market(1, 3, 300), 260), {})) for policy in assembly.policies)
    assert (first.failed, second.failed[:15]) == ("", "PermissionError")
    (fault,) = unreadable(assembly.policies)
    assert fault == (
        "mine.py",
        f'the link {folder}/bars points to {bars}, outside its folder; write [[agents]] reads = ["{bars}"]',
    )
    assert check(RunOptions(folder / "config.toml")) == 0
    assert f"{fault[0]}: {fault[1]}" in capsys.readouterr().out


SECOND = '[[agents]]\nname = "second"\npolicy = "mine.py:act"\ncapital = 0.5\n'


@pytest.mark.parametrize(
    ("policy", "reads", "text"),
    [
        ("mine.py:act", "gone", "gone"),
        ("mine.py:act", "mine.py", "is not a folder"),
        ("momentum", "bars", "is for policy files, and this agent has none"),
    ],
)
def test_reads_that_cannot_be_meant_are_refused_with_their_line(
    tmp_path: Path, policy: str, reads: str, text: str
) -> None:
    (tmp_path / "bars").mkdir()
    (tmp_path / "mine.py").write_text("def act(view):\n    return 'hold'\n")
    configuration = CONFIG.format(pace="fast", at_end="stop", policy=policy, params="{}") + f'reads = ["{reads}"]\n'
    (tmp_path / "config.toml").write_text(configuration)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "config.toml", ())
    assert f'config.toml:{configuration.count(chr(10))}: [[agents]] "mine" reads' in str(caught.value)
    assert text in str(caught.value)
