"""What a release publishes: metadata, links, equal wheels, the bill of materials, and facts that stand in one place."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from functools import cache
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from quantd.daemon.runtime.version import VERSION
from scripts.publication.documents import documents
from scripts.publication.facts import Facts, facts
from scripts.publication.sbom import bill
from scripts.site.pages import pages
from tests.support.checkout import BUILDINGS, ROOT

SCHEMA = ROOT / "tests" / "support" / "cyclonedx_1_6.json"
"""The parts of the published bom-1.6.schema.json (Apache-2.0, SHA-256 83821ba4…) that a bill of quantd has, without
texts and examples; the names of SPDX licences are any text in it."""

FILLED = Facts(
    authors=("A Person", "B Person"),
    repository="https://forge.example/me/quantd",
    documentation="https://docs.example/quantd",
    security_address="security@quantd.example",
    answer_days=3,
    conduct_address="conduct@quantd.example",
    index="https://index.example/quantd",
)


def build_script() -> ModuleType:
    """setup.py as a module: it builds nothing unless it is run."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, umask: int = 0o022, **environ: str) -> Path:
    """A pure wheel of this checkout."""
    variables = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    words = [str(ROOT / "scripts" / "make-wheel"), str(folder), "--no-build-isolation"]
    env = variables | {"PY": sys.executable, "QUANTD_PURE_WHEEL": "1", **environ}
    subprocess.run(words, check=True, env=env, timeout=240, umask=umask)
    (path,) = folder.glob("*.whl")
    return path


@cache
def commit_s() -> int:
    """The time of the commit, in s UTC."""
    words = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(tmp_path_factory.mktemp("pure"))


def metadata(path: Path) -> Message:
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.mark.slow
def test_two_pure_wheels_of_a_commit_are_equal_to_the_byte_whatever_the_umask(pure: Path, tmp_path: Path) -> None:
    second_wheel = wheel(tmp_path / "again", umask=0o077)
    assert second_wheel.read_bytes() == pure.read_bytes()


@pytest.mark.slow
def test_the_metadata_has_what_an_index_shows(pure: Path) -> None:
    fields = metadata(pure)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert fields["Version"] == VERSION
    assert fields["Author"] == ", ".join(facts().authors)
    assert fields["License-Expression"] == "MIT"
    assert fields["Description-Content-Type"] == "text/markdown"
    assert fields.get_all("Classifier") == project["classifiers"]
    assert bool(fields.get_all("Project-URL")) == bool(facts().repository)
    assert relative_links(fields.get_payload()) == []  # type: ignore[arg-type]


def relative_links(text: str) -> list[str]:
    """Targets of links and pictures that a page outside the repository does not resolve."""
    outside = re.sub(r"(?m)^    .*$", "", text)
    return [target for target in re.findall(r"\]\(([^()\s]+)\)", outside) if not re.match("https?:", target)]


def test_links_of_the_description_lead_to_files_of_the_tag_or_are_texts() -> None:
    text, script = (ROOT / "README.md").read_text(), build_script()
    assert len(relative_links(text)) > 20
    linked = script.description(text, FILLED.repository, "v1.0.0")
    assert relative_links(linked) == []
    targets = re.findall(rf"\]\({FILLED.repository}/(blob|raw)/v1\.0\.0/([^()#\s]+)", linked)
    assert len(targets) >= len(relative_links(text))
    assert [path for _, path in targets if not (ROOT / path).exists()] == []
    assert {path for kind, path in targets if kind == "raw"} == {"docs/dashboard.png"}
    bare = script.description(text, "", "v1.0.0")
    assert relative_links(bare) == []
    assert "![" not in bare
    assert "(the gateway)" in re.sub(r"\s+", " ", bare)
    assert "    ./run\n" in bare, "code is as it was"


def test_files_that_repeat_a_fact_have_the_one_of_publication_toml() -> None:
    stale = [name for name, text in documents(facts()).items() if (ROOT / name).read_text() != text]
    assert stale == [], "run make publication"


@pytest.mark.slow
def test_the_bill_of_materials_has_every_package_of_an_installation_and_is_valid(pure: Path) -> None:
    document = bill(pure, FILLED, built_s=1_700_000_000)
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)
    names = {component["name"]: component for component in document["components"]}
    requirement_names = {
        re.split(r"[<>=;\[ ]", line)[0] for line in metadata(pure).get_all("Requires-Dist", []) if "extra" not in line
    }
    assert {name.lower() for name in requirement_names} <= set(names)
    assert "torch" not in names, "extras are not part of it"
    assert names["numpy"]["purl"] == f"pkg:pypi/numpy@{names['numpy']['version']}"
    assert [name for name, component in names.items() if not component.get("licenses")] == []
    references = {document["metadata"]["component"]["bom-ref"], *(part["bom-ref"] for part in names.values())}
    assert {row["ref"] for row in document["dependencies"]} == references
    assert {ref for row in document["dependencies"] for ref in row["dependsOn"]} <= references
    assert bill(pure, FILLED, built_s=1_700_000_000) == document


BARE = re.compile(
    r"""(?:pip|pipx|uv|uvx)\b[^\n|;&`]*?\b(?:install|run|add|inject)\b[^\n|;&`]*?[\s'"`(]quantd(?:\[[^\]]*\])?(?=['"`\s)]|$)"""
)


def test_no_page_and_no_message_installs_the_bare_name() -> None:
    """quantd is on no index: whoever registers the name would get the machines of those who follow such a line."""
    assert facts().index == "", "once the index has the name, this test has no reason"
    texts = {page.path: page.text for page in pages()}
    for top in (*BUILDINGS, "src", "examples"):
        for path in (ROOT / top).rglob("*.py"):
            texts[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    assert len(texts) > 500
    assert {path: match[0] for path, text in texts.items() if (match := BARE.search(text))} == {}


def source_distribution(folder: Path, umask: int) -> Path:
    """The archive of the source of this checkout."""
    words = [str(ROOT / "scripts" / "publication" / "make-sdist"), str(folder)]
    subprocess.run(words, check=True, env=os.environ | {"PY": sys.executable}, timeout=240, umask=umask)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, made under a narrow umask."""
    return source_distribution(tmp_path_factory.mktemp("archive") / "made", 0o077)


@pytest.mark.slow
def test_the_source_distribution_has_the_time_of_the_commit_and_makes_the_wheel_of_the_checkout(
    pure: Path, archive: Path, tmp_path: Path
) -> None:
    """Times, owners and modes are fixed, so that two archives are equal."""
    assert archive.name == f"quantd-{VERSION}.tar.gz"
    with tarfile.open(archive) as entries:
        stamps = {
            (entry.mtime, entry.uid, entry.gid, entry.uname + entry.gname, entry.mode & 0o066) for entry in entries
        }
    assert stamps == {(commit_s(), 0, 0, "", 0o044)}
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(archive),
    ]
    subprocess.run(words, check=True, env=os.environ | {"QUANTD_PURE_WHEEL": "1"}, timeout=240)
    (wheel_of_archive,) = tmp_path.glob("*.whl")
    sums = [
        {
            entry.filename: entry.CRC
            for entry in zipfile.ZipFile(path).infolist()
            if not entry.filename.endswith("/RECORD")
        }
        for path in (pure, wheel_of_archive)
    ]
    assert sums[0] == sums[1]
