"""The files that repeat facts of publication.toml: whole ones, and blocks between two marks."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quantd.daemon.runtime.version import VERSION
from scripts.publication.facts import ROOT, Facts

DESCRIPTION: Final = "Weights for a basket, rebalanced live, within limits: a trading daemon with a pre-trade risk gate"


def documents(facts: Facts, root: Path = ROOT) -> Mapping[str, str]:
    """Path in the checkout -> the text that it should have."""
    blocks = {
        "SECURITY.md": ("security", security(facts)),
        "CODE_OF_CONDUCT.md": ("conduct", conduct(facts)),
        "docs/doors/home.md": ("start", start(facts)),
        "README.md": ("start", start(facts)),
    }
    return {
        "CITATION.cff": citation(facts),
        ".github/ISSUE_TEMPLATE/config.yml": contact_links(facts),
        **{name: _block((root / name).read_text(encoding="utf-8"), *block) for name, block in blocks.items()},
    }


def citation(facts: Facts) -> str:
    """CITATION.cff, in version 1.2.0 of the Citation File Format."""
    lines = [
        "# written by `make publication` from publication.toml",
        "cff-version: 1.2.0",
        "message: If you use quantd in a publication, please cite it as below.",
        "type: software",
        "title: quantd",
        f"abstract: {json.dumps(DESCRIPTION)}",
        f"version: {json.dumps(VERSION)}",
        "license: MIT",
        "authors:",
        *(f"  - name: {json.dumps(author)}" for author in facts.authors),
    ]
    if facts.repository:
        lines.append(f"repository-code: {json.dumps(facts.repository)}")
    if facts.documentation:
        lines.append(f"url: {json.dumps(facts.documentation)}")
    return "\n".join(lines) + "\n"


def contact_links(facts: Facts) -> str:
    """The links beside the forms of issues: a vulnerability gets no public issue."""
    lines = ["# written by `make publication` from publication.toml", "blank_issues_enabled: false"]
    if facts.repository:
        lines += [
            "contact_links:",
            "  - name: A vulnerability",
            f"    url: {facts.repository}/security/policy",
            "    about: Report it in private, as SECURITY.md describes.",
        ]
    return "\n".join(lines) + "\n"


def security(facts: Facts) -> str:
    """Where a vulnerability is reported, and when its report is answered."""
    forge = "the form for private reports of the service that hosts this repository"
    if facts.security_address:
        where = f"Write to <{facts.security_address}>, or use {forge}."
    else:
        where = f"Use {forge}. There is no e-mail address for reports yet."
    return f"{where}\nYou get an answer within {facts.answer_days} days."


def conduct(facts: Facts) -> str:
    """Where a breach of the rules of conduct is reported."""
    if facts.conduct_address:
        return f"Report a breach to <{facts.conduct_address}>."
    return "Report a breach to a maintainer in private. There is no e-mail address for reports yet."


def start(facts: Facts) -> str:
    """The line that installs and starts quantd: from the index once it is there, from the repository, or a checkout."""
    if facts.index:
        command = "pip install quantd && quantd init && quantd run"
        return f"These commands install quantd, and trade recorded markets with simulated money:\n\n    {command}"
    if facts.repository:
        folder = facts.repository.rsplit("/", 1)[1]
        return (
            "These commands need Python 3.11 or newer. They fetch quantd, make a Python environment, and trade recorded"
            "\nmarkets with simulated money:\n\n"
            f"    git clone {facts.repository} && cd {folder} && ./run"
        )
    return (
        "This command needs a checkout of quantd and Python 3.11 or newer. It makes a Python environment, and trades"
        "\nrecorded markets with simulated money:\n\n    ./run"
    )


def _block(text: str, name: str, content: str) -> str:
    """The text with what stands between the marks of a block replaced. Raises ValueError where the marks are gone."""
    first, last = f"<!-- {name}: written by make publication -->\n", "<!-- end -->"
    marked = re.compile(f"(?<={re.escape(first)}).*?(?={re.escape(last)})", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"the block {name!r} has lost its marks")
    return marked.sub(lambda _: f"\n{content}\n\n", text, count=1)
