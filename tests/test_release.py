"""The version stands once in the code; the documents that repeat it have the same one."""

import re
import tomllib

import quantd
from quantd.daemon.runtime.version import VERSION
from tests.support.checkout import ROOT


def test_the_package_and_the_documents_have_the_version_of_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "quantd.daemon.runtime.version.VERSION"
    assert quantd.__version__ == VERSION
    assert set(re.findall(r"quantd-(\d[\d.]*)-", (ROOT / "docs/operate/install.md").read_text())) == {VERSION}
    assert f"| quantd {VERSION} |" in (ROOT / "docs/explain/comparison.md").read_text()
