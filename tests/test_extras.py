"""The remedy for a missing extra, in the form in which quantd was installed."""

import json
import sys
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

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


PACKAGES = "'curl-cffi>=0.13' 'yfinance>=1.7'"
PIP = f"{sys.executable} -m pip install"
UV = f"uv pip install --python {sys.executable}"
WHEEL = "quantd-1.0-py3-none-any.whl"
URL = f"https://forge.example/{WHEEL}"
GIT = {"url": "https://forge.example/me/quantd", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}}
ADDRESS = {"url": URL, "archive_info": {}}
ARCHIVE = {"url": f"HERE/{WHEEL}", "archive_info": {}}
CHECKOUT = {"url": "HERE", "dir_info": {"editable": True}}


def pipx(words: str) -> dict[str, str]:
    """The record of pipx of a tool that was requested by these words."""
    return {"pipx_metadata.json": json.dumps({"main_package": {"package_or_url": words}})}


def uv(*extras: str) -> dict[str, str]:
    """The receipt of uv of a tool with these extras."""
    requirement = f'{{ name = "quantd", extras = {json.dumps(extras)} }}'
    return {"uv-receipt.toml": f"[tool]\nrequirements = [{requirement}]\n"}


HELD = {WHEEL: ""}
"""The files of a place where the wheel was not deleted."""

CASES: dict[str, tuple[dict[str, Any] | None, dict[str, str], str]] = {
    "from an index": (None, {}, f"{PIP} {PACKAGES}"),
    "from an index, by pipx": (None, {"pipx_metadata.json": "{}"}, f"pipx inject quantd {PACKAGES}"),
    "from an index, by uv": (None, {"INSTALLER": "uv\n"}, f"{UV} {PACKAGES}"),
    "from an index, a tool of uv": (None, {"uv-receipt.toml": ""}, f"{UV} {PACKAGES}"),
    "from a commit": (GIT, {}, f"{PIP} 'quantd[yahoo] @ git+https://forge.example/me/quantd@0a1b'"),
    "from an address": (ADDRESS, {}, f"{PIP} 'quantd[yahoo] @ {URL}'"),
    "a checkout stays editable": (CHECKOUT, {}, f"{PIP} -e 'HERE[yahoo]'"),
    "a checkout keeps its versions": (
        CHECKOUT, {"constraints.txt": ""}, f"{PIP} -c 'HERE/constraints.txt' -e 'HERE[yahoo]'"
    ),
    "a wheel": (ARCHIVE, HELD, f"{PIP} 'HERE/{WHEEL}[yahoo]'"),
    "a wheel that was deleted": (ARCHIVE, {}, f"{PIP} {PACKAGES}"),
    "pipx, a checkout": (
        CHECKOUT, {"pipx_metadata.json": "{}"}, "pipx install --force --editable 'HERE[yahoo]'"
    ),
    "uv, a checkout": (CHECKOUT, uv(), "uv tool install --editable 'HERE[yahoo]'"),
    "pipx, without an extra": (
        ARCHIVE, HELD | pipx(f"HERE/{WHEEL}"), f"pipx install --force 'HERE/{WHEEL}[yahoo]'"
    ),
    "pipx keeps an extra": (
        ARCHIVE, HELD | pipx(f"HERE/{WHEEL}[mcp]"), f"pipx install --force 'HERE/{WHEEL}[mcp,yahoo]'"
    ),
    "pipx, with the extra": (
        ARCHIVE, HELD | pipx(f"HERE/{WHEEL}[yahoo,mcp]"), f"pipx install --force 'HERE/{WHEEL}[yahoo,mcp]'"
    ),
    "uv, without an extra": (ARCHIVE, HELD | uv(), f"uv tool install 'HERE/{WHEEL}[yahoo]'"),
    "uv keeps an extra": (ARCHIVE, HELD | uv("mcp"), f"uv tool install 'HERE/{WHEEL}[mcp,yahoo]'"),
    "uv, with the extra": (ARCHIVE, HELD | uv("yahoo", "mcp"), f"uv tool install 'HERE/{WHEEL}[yahoo,mcp]'"),
}  # fmt: skip
"""Where quantd came from, the files of its place, and the command that adds the extra; HERE is the place. No command
has the bare name, and those of uv need no pip."""


@pytest.mark.parametrize("case", CASES)
def test_an_extra_is_added_in_the_form_in_which_quantd_was_installed(tmp_path: Path, case: str) -> None:
    here = tmp_path / "my quantd"
    here.mkdir()
    origin, files, words = CASES[case]
    if origin is not None:
        origin = origin | {"url": str(origin["url"]).replace("HERE", here.as_uri())}
    distribution = installed(here, origin)
    for name, text in files.items():
        folder = here / "quantd-1.0.dist-info" if name == "INSTALLER" else here
        (folder / name).write_text(text.replace("HERE", str(here)))
    assert command_for("yahoo", here, distribution) == words.replace("HERE", str(here))


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
