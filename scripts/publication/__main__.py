"""`python -m scripts.publication fill` writes the facts of publication.toml into the files that repeat them.

`sbom WHEEL FILE` writes the bill of materials of an installation of a wheel. `digest [--engine compiled|uncompiled]`
compares the digest of the default backtest with the recorded one.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.publication.documents import documents
from scripts.publication.facts import ROOT, facts


def main() -> int:
    """The exit code of one command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.publication", description="what a release publishes")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fill", help="write the facts of publication.toml into the files that repeat them")
    sbom = commands.add_parser("sbom", help="write the bill of materials of an installation of a wheel")
    sbom.add_argument("wheel", type=Path)
    sbom.add_argument("file", type=Path)
    digest = commands.add_parser("digest", help="compare the digest of the default backtest with the recorded one")
    digest.add_argument("--engine", choices=("compiled", "uncompiled"), help="fail where another engine runs")
    given = parser.parse_args()
    try:
        if given.command == "fill":
            return _fill()
        if given.command == "sbom":
            return _sbom(given.wheel, given.file)
        return _digest(given.engine)
    except ValueError as why:
        print(f"quantd: {why}", file=sys.stderr)
        return 78


def _sbom(wheel: Path, file: Path) -> int:
    from scripts.publication.sbom import bill

    document = bill(wheel, facts(), int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")))
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{file}: {len(document['components'])} packages, CycloneDX {document['specVersion']}")
    return 0


def _digest(engine: str | None) -> int:
    recorded = json.loads((ROOT / "tests/golden/digests.json").read_text(encoding="utf-8"))
    wanted = recorded["backtest config.toml"]["digest"]
    program = [str(Path(sys.executable).with_name("quantd"))]
    version = subprocess.run([*program, "--version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    state = "uncompiled" if "uncompiled" in version else "compiled"
    with TemporaryDirectory() as folder:
        words = [*program, "backtest", "--json", "--no-compare", "--state", folder]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    digest = json.loads(done.stdout)["digest"]
    print(f"{version.strip()}\ndefault backtest {digest}")
    if engine not in (None, state):
        print(f"quantd: the engine is {state}, and {engine} is expected", file=sys.stderr)
        return 1
    if digest != wanted:
        print(f"quantd: the default backtest has the digest {digest}, and {wanted} is recorded", file=sys.stderr)
        return 1
    return 0


def _fill() -> int:
    for name, text in documents(facts()).items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            Path(path.parent).mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
