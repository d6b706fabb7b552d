"""`python -m scripts.site build` builds the site into build/docs/site; `make docs` runs every snippet, too.

`build` makes pages, reference and links. `run [PAGE...]` executes the snippets of the pages. `figures [--peers]` makes
the figures again. `gallery` executes the notebooks of the examples. `questions` measures the search of a built site.
"""

import sys
import tomllib
from collections.abc import Sequence
from time import monotonic

from scripts.site.builder import BUILD, LinkError, build, everything
from scripts.site.figures import remake
from scripts.site.gallery import write as write_gallery
from scripts.site.pages import ROOT, pages
from scripts.site.search import DRAWN, measure
from scripts.site.snippets.report import execute, write


def main(words: Sequence[str]) -> int:
    """The exit code of one command line."""
    if list(words) == ["build"]:
        return _build()
    if words and words[0] == "run":
        return _run(words[1:])
    if words and words[0] == "figures" and set(words[1:]) <= {"--peers"}:
        return _figures(peers="--peers" in words)
    if list(words) == ["gallery"]:
        print("\n".join(write_gallery()))
        return 0
    if list(words) == ["questions"]:
        return _questions()
    usage = "build | run [PAGE...] | figures [--peers] | gallery | questions"
    print(f"usage: python -m scripts.site {usage}", file=sys.stderr)
    return 2


def _build() -> int:
    began = monotonic()
    site_pages = everything()
    try:
        site = build(site_pages)
    except LinkError as broken:
        print(f"{broken}\nquantd: the site is not built; mend the links above.", file=sys.stderr)
        return 1
    print(f"{len(site_pages)} pages, 0 broken links, {monotonic() - began:.1f} s: {site.relative_to(ROOT)}/index.html")
    return 0


def _questions() -> int:
    index = BUILD / "site" / "search.json"
    if not index.is_file():
        print(f"{index.relative_to(ROOT)} is missing; `make docs-site` builds the site", file=sys.stderr)
        return 2
    for name, drawn in tomllib.loads(DRAWN.read_text(encoding="utf-8")).items():
        print(f"{name}:", *measure(index.read_text(encoding="utf-8"), drawn), sep="\n")
    return 0


def _figures(*, peers: bool) -> int:
    warnings = remake(peers=peers)
    print("\n".join(warnings) or "every figure is as the documents have it")
    return 1 if warnings else 0


def _run(names: Sequence[str]) -> int:
    every = pages()
    chosen_pages = [page for page in every if not names or page.path in names]
    if missing := set(names) - {page.path for page in chosen_pages}:
        print(f"there is no page {', '.join(sorted(missing))}", file=sys.stderr)
        return 2
    outcomes = execute(chosen_pages)
    failed = sum(bool(outcome.fault) for outcome in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} snippets ended as expected")
    if not names:
        write(outcomes, every)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
