"""Counts the locals that are named by a word that tells nothing of what they hold.

    python scripts/words.py [--list] [PATH ...]

A local is the noun of what it holds: `order`, `weights`, `unpaid`. A participle, a pronoun or a word of place such as
`found`, `each` or `left` fits every value, so that the reader has to keep its meaning in mind. A binding is an
assignment, a loop, an argument of a function, a name of `with`, `except` or `match`. Attributes and fields are not
counted. Without PATH the product and its tests are read; `--list` prints each binding.

KEPT has the bindings that stay, with their reason: such a word there is the term of a published interface.
"""

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]

PRODUCT: Final = (
    "trading", "risk", "strategies", "models", "adapters", "daemon", "server", "training", "research", "src/quantd",
    "scripts", "benchmarks", "examples",
)  # fmt: skip

PLACES: Final = (*PRODUCT, "tests")

WORDS: Final = (
    "each", "found", "known", "own", "made", "told", "left", "whole", "apart", "seat", "others", "rest",
)  # fmt: skip

KEPT: Final[dict[tuple[str, str], str]] = {
    ("examples/agents/langgraph_agent.py", "each"): "its text is part of the identity of recorded answers",
    ("examples/agents/langgraph_agent.py", "whole"): "its text is part of the identity of recorded answers",
    ("server/cli/setup/bench_api.py", "own"): "argument of a command",
    (
        "tests/plugins/quantd_example_1/quantd_example_1/policy.py",
        "known",
    ): "a plug-in of an earlier version, unchanged",
}
"""(module, word) -> why its bindings stay."""

MAY_BIND: Final = re.compile(rf"\b(?:{'|'.join(WORDS)})\b\s*(?:[^\w\s\"'(.\[]|in\b|if\b|$)", re.MULTILINE)
"""A word with what may follow a binding of it; a source without such a place is not parsed, which saves most of the
time."""


class Binding(NamedTuple):
    """A local with one of the words, by module and line."""

    module: str
    line: int
    word: str

    def text(self) -> str:
        """Return the place and the word, with the reason of a binding that stays."""
        reason = KEPT.get((self.module, self.word), "")
        return f"{self.module}:{self.line}: {self.word}" + (f" ({reason})" if reason else "")


def bindings(source: str, module: str) -> Iterator[Binding]:
    """Yield the bindings of the words in the source of a module."""
    if not MAY_BIND.search(source):
        return
    nodes = list(ast.walk(ast.parse(source)))
    classes = (node for node in nodes if isinstance(node, ast.ClassDef))
    fields = {entry.target for owner in classes for entry in owner.body if isinstance(entry, ast.AnnAssign)}
    for node in nodes:
        if node in fields:
            continue
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                pass
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                pass
            case ast.MatchMapping(rest=str(name)):
                pass
            case _:
                continue
        if name in WORDS:
            yield Binding(module, node.lineno, name)


def modules(places: Sequence[str]) -> Iterator[Path]:
    """Yield the modules of files and folders below ROOT; a folder's links are not followed."""
    for place in places:
        path = ROOT / place
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        yield from (
            file for file in files if not any(part.is_symlink() for part in file.parents if ROOT in part.parents)
        )


def bindings_of(places: Sequence[str]) -> list[Binding]:
    """Return the bindings of the words in files and folders below ROOT."""
    return [
        binding for file in modules(places) for binding in bindings(file.read_text(), file.relative_to(ROOT).as_posix())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("places", nargs="*", metavar="PATH", help="files or folders; default: product and tests")
    parser.add_argument("--list", action="store_true", help="print each binding")
    options = parser.parse_args()
    places = options.places or PLACES
    total: Counter[str] = Counter()
    for place in places:
        listed = bindings_of([place])
        words = Counter(binding.word for binding in listed)
        total += words
        if options.list:
            print(*(binding.text() for binding in listed), sep="\n")
        else:
            print(f"{place:16} {len(listed):5}  {', '.join(f'{word} {words[word]}' for word in WORDS if words[word])}")
    print(f"{'all':16} {total.total():5}  {', '.join(f'{word} {total[word]}' for word in WORDS if total[word])}")


if __name__ == "__main__":
    main()
