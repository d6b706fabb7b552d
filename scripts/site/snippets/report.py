"""Runs the snippets, writes their outcomes, and makes the page of those that are not run here."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from scripts.site.pages import ROOT, Page
from scripts.site.reference.tables import cell, table
from scripts.site.snippets.execution import RUNS, Outcome, run_page
from scripts.site.snippets.extraction import Snippet, snippets
from scripts.site.snippets.scenes import entry, reason, scene_of, scenes

NAME: Final = "not-run"
OUTCOMES: Final = ROOT / "build" / "docs" / "snippets.json"
WORKERS: Final = max(1, (os.cpu_count() or 2) // 2)


def execute(pages: Sequence[Page]) -> list[Outcome]:
    """The outcomes of all snippets of these pages that are run here, printed as they end."""
    all_outcomes = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for outcomes in pool.map(lambda page: run_page(page.path, snippets(page)), pages):
            for outcome in outcomes:
                words = outcome.snippet.text.splitlines()[0]
                print(
                    f"{'FAULT' if outcome.fault else 'ok':5} {outcome.seconds:6.1f} s {outcome.snippet.where} "
                    f"{words[:100]}"
                )
                if outcome.fault:
                    print(f"      {outcome.fault}", flush=True)
            all_outcomes += outcomes
    return all_outcomes


def write(outcomes: Sequence[Outcome], pages: Sequence[Page], path: Path = OUTCOMES) -> dict[str, Any]:
    """Write the outcomes with commit and date, and return them."""
    every = [snippet for page in pages for snippet in snippets(page)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    document = {
        "command": "make docs",
        "commit": commit.strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "snippets": sum(snippet.kind in RUNS for snippet in every),
        "executed": sum(not outcome.fault for outcome in outcomes),
        "failed": [f"{outcome.snippet.where}: {outcome.fault}" for outcome in outcomes if outcome.fault],
        "not_run": sum(bool(reason(snippet)) for snippet in every),
        "shorter": sum(
            outcome.ran != outcome.snippet.text and outcome.snippet.kind == "command" for outcome in outcomes
        ),
        "kinds": dict(Counter(snippet.kind for snippet in every)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


def marked(page: Page) -> Page:
    """The page with a visible mark after each block that has a snippet which is not run here."""
    not_run = [(snippet, reason(snippet)) for snippet in snippets(page) if reason(snippet)]
    if not not_run:
        return page
    lines = page.text.split("\n")
    words = scenes().reasons
    after: dict[int, list[str]] = {}
    for snippet, why in not_run:
        after.setdefault(_end_of_block(lines, snippet.line - 1), []).append(words[why])
    for at in sorted(after, reverse=True):
        reasons = "; ".join(dict.fromkeys(after[at]))
        count = len(after[at])
        what = "the command" if count == 1 else f"{count} commands"
        lines[at:at] = ["", f"**Not run here** ({what} above): {reasons}.", ""]
    return replace(page, text="\n".join(lines))


def _end_of_block(lines: list[str], at: int) -> int:
    """The number of lines up to the end of the block of code with a line."""
    fenced = not lines[at].startswith("    ")
    while at < len(lines) and not (
        lines[at].startswith("```") if fenced else lines[at].strip() and lines[at][:2] != "  "
    ):
        at += 1
    return at + 1 if fenced else at


def not_run_page(pages: Sequence[Page]) -> Page:
    """The page of the snippets that are not run here, with their count."""
    rows: list[tuple[Snippet, str]] = [
        (snippet, why) for page in pages for snippet in snippets(page) if (why := reason(snippet))
    ]
    every = sum(snippet.kind in RUNS for page in pages for snippet in snippets(page))
    all_snippets = [snippet for page in pages for snippet in snippets(page)]
    shorter = sum(
        bool(entry(scene_of(snippet.page).short, snippet)) and not reason(snippet) for snippet in all_snippets
    )
    parts = [
        f"# Snippets that are not run\n\nThe documents have {every} commands and pieces of Python. `make docs` "
        f"executes "
        f"{every - len(rows)} of them in an empty home, and compares exit codes, not outputs. {shorter} are executed "
        f"in a "
        f"shorter form, with less training or a shorter market. {len(rows)} are not run; their pages have the mark "
        f"**Not "
        "run here**.\n"
    ]
    for name, words in scenes().reasons.items():
        unrun_snippets = [snippet for snippet, why in rows if why == name]
        parts.append(f"## It {words} ({len(unrun_snippets)})\n")
        lines = (
            [f"[{snippet.page}](../../{snippet.page})", f"`{cell(snippet.text.splitlines()[0])}`"]
            for snippet in unrun_snippets
        )
        parts.append(table(["page", "snippet"], lines) if unrun_snippets else "None.\n")
    return Page(f"docs/reference/{NAME}.md", f"reference/{NAME}.md", "\n".join(parts))
