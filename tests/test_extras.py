"""The remedy for a missing extra, in the form in which quantd was installed."""

import json
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from quantd.extras import absent, command_for, lack, package_command_for

METADATA = """Metadata-Version: 2.4
Name: quantd
Version: 1.0
Requires-Dist: numpy>=2.4
Provides-Extra: yahoo
Requires-Dist: curl-cffi>=0.13; extra == "yahoo"
Requires-Dist: yfinance>=1.7; extra == 'yahoo'
Provides-Extra: yahoos
Requires-Dist: other; extra == "yahoos"
"""


def installed(folder: Path, origin: dict[str, object] | None = None, installer: str = "pip") -> PathDistribution:
    """An installation of quantd in `folder`, from `origin` or else from an index."""
    info = folder / "quantd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "INSTALLER").write_text(f"{installer}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    return PathDistribution(info)


def archive(path: Path) -> dict[str, object]:
    return {"url": path.as_uri(), "archive_info": {}}


def checkout(path: Path) -> dict[str, object]:
    return {"url": path.as_uri(), "dir_info": {"editable": True}}


PACKAGES = "'curl-cffi>=0.13' 'yfinance>=1.7'"


def test_an_installation_from_an_index_gets_the_packages_and_never_the_bare_name(tmp_path: Path) -> None:
    words = command_for("yahoo", tmp_path, installed(tmp_path))
    assert words == f"{sys.executable} -m pip install {PACKAGES}"
    (tmp_path / "pipx_metadata.json").write_text("{}")
    assert command_for("yahoo", tmp_path, PathDistribution(tmp_path / "quantd-1.0.dist-info")) == (
        f"pipx inject quantd {PACKAGES}"
    )


@pytest.mark.parametrize("mark", ["INSTALLER", "uv-receipt.toml"])
def test_an_installation_by_uv_is_extended_by_uv_which_needs_no_pip(tmp_path: Path, mark: str) -> None:
    distribution = installed(tmp_path, installer="uv" if mark == "INSTALLER" else "pip")
    if mark == "uv-receipt.toml":
        (tmp_path / mark).touch()
    assert command_for("yahoo", tmp_path, distribution) == f"uv pip install --python {sys.executable} {PACKAGES}"


def test_an_address_stays_the_source(tmp_path: Path) -> None:
    git = {"url": "https://forge.example/me/quantd", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}}
    words = command_for("yahoo", tmp_path, installed(tmp_path, git))
    assert words == f"{sys.executable} -m pip install 'quantd[yahoo] @ git+https://forge.example/me/quantd@0a1b'"
    file = {"url": "https://forge.example/quantd-1.0-py3-none-any.whl", "archive_info": {}}
    (tmp_path / "quantd-1.0.dist-info" / "direct_url.json").write_text(json.dumps(file))
    words = command_for("yahoo", tmp_path, PathDistribution(tmp_path / "quantd-1.0.dist-info"))
    assert words == f"{sys.executable} -m pip install 'quantd[yahoo] @ {file['url']}'"


def test_a_checkout_stays_editable_and_keeps_its_versions(tmp_path: Path) -> None:
    place = tmp_path / "my quantd"
    place.mkdir()
    words = command_for("study", tmp_path, installed(tmp_path, checkout(place)))
    assert words == f"{sys.executable} -m pip install -e '{place}[study]'"
    (place / "constraints.txt").touch()
    words = command_for("study", tmp_path, PathDistribution(tmp_path / "quantd-1.0.dist-info"))
    assert words == f"{sys.executable} -m pip install -c '{place}/constraints.txt' -e '{place}[study]'"


def test_a_wheel_is_named_by_its_path_and_a_deleted_one_by_the_packages_of_the_extra(tmp_path: Path) -> None:
    wheel = tmp_path / "quantd-1.0-py3-none-any.whl"
    wheel.touch()
    distribution = installed(tmp_path, archive(wheel))
    assert command_for("yahoo", tmp_path, distribution) == f"{sys.executable} -m pip install '{wheel}[yahoo]'"
    wheel.unlink()
    words = command_for("yahoo", tmp_path, distribution)
    assert words == f"{sys.executable} -m pip install {PACKAGES}"


@pytest.mark.parametrize("before", [[], ["mcp"], ["yahoo", "mcp"]])
def test_a_tool_of_uv_or_pipx_keeps_the_extras_that_it_has(tmp_path: Path, before: list[str]) -> None:
    distribution = installed(tmp_path, archive(wheel := tmp_path / "quantd-1.0-py3-none-any.whl"))
    wheel.touch()
    extras = ",".join(dict.fromkeys([*before, "yahoo"]))
    requested_package = f"{wheel}[{','.join(before)}]" if before else str(wheel)
    (tmp_path / "pipx_metadata.json").write_text(json.dumps({"main_package": {"package_or_url": requested_package}}))
    assert command_for("yahoo", tmp_path, distribution) == f"pipx install --force '{wheel}[{extras}]'"
    requirement = f'{{ name = "quantd", extras = {json.dumps(before)} }}'
    (tmp_path / "uv-receipt.toml").write_text(f"[tool]\nrequirements = [{requirement}]\n")
    assert command_for("yahoo", tmp_path, distribution) == f"uv tool install '{wheel}[{extras}]'"


def test_a_tool_from_a_checkout_or_a_wheel_is_installed_from_it_again(tmp_path: Path) -> None:
    (tmp_path / "uv-receipt.toml").write_text('[tool]\nrequirements = [{ name = "quantd" }]\n')
    distribution = installed(tmp_path, checkout(tmp_path))
    assert command_for("study", tmp_path, distribution) == f"uv tool install --editable '{tmp_path}[study]'"
    (tmp_path / "uv-receipt.toml").unlink()
    (tmp_path / "pipx_metadata.json").write_text("{}")
    assert command_for("study", tmp_path, distribution) == f"pipx install --force --editable '{tmp_path}[study]'"


def test_only_modules_that_are_not_installed_are_named() -> None:
    assert absent(["numpy", "no_such_module"]) == ["no_such_module"]
    assert lack("a test", "study", "numpy") == ""
    text = lack("a test", "study", "numpy", "no_such_module", "neither")
    assert text.startswith("a test needs no_such_module, neither: install quantd with its extra `study`: ")
    assert text.endswith("[study]'")


@pytest.mark.parametrize(
    ("mark", "installer", "words"),
    [
        ("", "pip", f"{sys.executable} -m pip install jupyterlab"),
        ("", "uv", f"uv pip install --python {sys.executable} jupyterlab"),
        ("uv-receipt.toml", "pip", f"uv pip install --python {sys.executable} jupyterlab"),
        ("pipx_metadata.json", "pip", "pipx inject quantd jupyterlab"),
    ],
)
def test_another_package_is_installed_by_the_same_installer(
    tmp_path: Path, mark: str, installer: str, words: str
) -> None:
    if mark:
        (tmp_path / mark).touch()
    assert package_command_for("jupyterlab", tmp_path, installed(tmp_path, installer=installer)) == words
