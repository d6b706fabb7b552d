"""Prints the import plan of the project, from the imports in its source.

    python scripts/import_plan.py [--root FOLDER] [--order 'LEVEL=LOW < MIDDLE, BESIDE < HIGH' ...] [--up]
        [--json FILE] [--beside FILE] [--require-down]

The modules are those below `src/quantd`. A link there is the folder that it leads to, so that paths are those of the
repository: `daemon/app.py`. The modules are parsed and not imported.

There are four levels. `packages` has the folders and modules directly below `quantd`, and `quantd` itself, the module
`src/quantd/__init__.py`. `daemon`, `research` and `engine` (daemon/engine) have the rooms of these folders: their
folders and modules. An import is one file that imports another, however often it does. An arrow is one group that
imports another, in one import or in many. A pair is two groups that import each other. A circle is a set of two or more
groups in which each imports each, at once or by way of others. The circles of files come last.

An import counts wherever it stands. One below `if TYPE_CHECKING` is marked `type-only`, one inside a function
`in a function`; an import that also stands at the top of the file has no mark. A module that a text names (an entry
point, the argument of `import_module`) is not an import.

LEVELS has the order of `packages` and `engine`; `--order` replaces it, or gives one to another level. An arrow goes up
if the imported group stands higher than the importer. Groups between commas are on one floor, and arrows between them
do not go up. A group that the order does not name has no place: its arrows are not judged, and the level names it with
those that import it.

`--up` lists the imports that go up, with their lines. `--json FILE` writes the plan, sorted and without line numbers of
imports, so that the files of two commits can be compared. `--beside FILE` prints what differs from such a file. With
`--require-down` the exit status is 1 if a level has an arrow that goes up or a circle; it is 2 for wrong arguments.
"""

import argparse
import ast
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

FACE: Final = "quantd"
"""The package of which all modules are a part."""

TYPE_ONLY: Final = "type-only"
IN_FUNCTION: Final = "in a function"
AT_TOP: Final = ""
KINDS: Final = (TYPE_ONLY, IN_FUNCTION, AT_TOP)
"""The kinds of imports. An import of several kinds has the last of them."""

FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class Level:
    """The groups of one package: its folders and modules."""

    name: str
    top: str
    """The package."""
    order: str = ""
    """Its groups from the lowest to the highest: `a < b, c < d`. Empty where no order is given."""


LEVELS: Final = (
    Level(
        "packages",
        FACE,
        "engine_build < regular_file, moved_modules, entry_points < bundled, state_folder, extras < trading"
        f" < strategies, risk, adapters < models < daemon < server, training < research < {FACE}",
    ),
    Level("daemon", f"{FACE}.daemon"),
    Level("server", f"{FACE}.server"),
    Level("training", f"{FACE}.training"),
    Level("research", f"{FACE}.research"),
    Level(
        "engine",
        f"{FACE}.daemon.engine",
        "core < state < planning < safety < stops < venue < rounds < market, operator_events, agents < samples"
        " < engine",
    ),
)


class Module(NamedTuple):
    """A file of source."""

    path: str
    """Below the root, without links."""
    lines: int
    is_package: bool


class Import(NamedTuple):
    """A file that imports another, both by their module names."""

    importer: str
    imported: str
    kind: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """All modules by name, and their imports of each other."""

    modules: Mapping[str, Module]
    imports: Sequence[Import]


@dataclass(frozen=True, slots=True)
class Plan:
    """The groups of a level, and the imports between them."""

    level: Level
    modules: Mapping[str, Sequence[Module]]
    """Group -> its files."""
    arrows: Mapping[tuple[str, str], Sequence[Import]]
    """(importing group, imported group) -> the imports."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Groups that import each other."""
        return sorted((low, high) for low, high in self.arrows if low < high and (high, low) in self.arrows)

    @property
    def circles(self) -> list[list[str]]:
        return circles_of(self.arrows)

    @property
    def up(self) -> list[tuple[str, str]]:
        """The arrows that go up."""
        floors = floors_of(self.level.order)
        arrows = [arrow for arrow in sorted(self.arrows) if floors.keys() >= set(arrow)]
        return [(importer, imported) for importer, imported in arrows if floors[imported] > floors[importer]]

    @property
    def without_place(self) -> list[str]:
        """The groups that the order does not name."""
        return sorted(self.modules.keys() - floors_of(self.level.order).keys()) if self.level.order else []

    @property
    def numbers(self) -> dict[str, int]:
        """The line of numbers of the level, without those of arrows up where no order is given."""
        files = [module for group in self.modules.values() for module in group]
        up = {"arrows up": len(self.up), "imports up": self._imports(self.up)} if self.level.order else {}
        return {
            "files": len(files),
            "lines": sum(module.lines for module in files),
            "groups": len(self.modules),
            "arrows": len(self.arrows),
            "imports": self._imports(self.arrows),
            **up,
            "pairs": len(self.pairs),
            "circles": len(self.circles),
        }

    def _imports(self, arrows: Iterable[tuple[str, str]]) -> int:
        return sum(len(self.arrows[arrow]) for arrow in arrows)


def floors_of(order: str) -> dict[str, int]:
    """Group -> its floor, 0 the lowest. Raises ValueError for an empty name and for a name that stands twice."""
    floors: dict[str, int] = {}
    for floor, groups in enumerate(order.split("<") if order else ()):
        for group in map(str.strip, groups.split(",")):
            if not group or group in floors:
                raise ValueError(f"{order!r} has {group} twice" if group else f"{order!r} has an empty name")
            floors[group] = floor
    return floors


def circles_of(arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The sets of two or more nodes in which each leads to each."""
    successors: dict[str, set[str]] = defaultdict(set)
    for start, end in arrows:
        successors[start].add(end)
    reach = {node: _reach(node, successors) for node in list(successors)}
    circles = {
        frozenset(other for other in nodes if node in reach.get(other, ()))
        for node, nodes in reach.items()
        if node in nodes
    }
    return sorted(sorted(circle) for circle in circles)


def _reach(node: str, successors: Mapping[str, set[str]]) -> set[str]:
    """The nodes to which a way of one or more arrows leads."""
    reach: set[str] = set()
    queue = [node]
    while queue:
        news = successors.get(queue.pop(), set()) - reach
        reach |= news
        queue += news
    return reach


def source_of(root: Path) -> Source:
    """Read all modules below `src/quantd`. Raises FileNotFoundError without any."""
    root = root.resolve()
    trees = dict(sorted(_trees(root)))
    if not trees:
        raise FileNotFoundError(f"{root / 'src' / FACE} has no modules")
    modules = {name: module for name, (module, _) in trees.items()}
    imports = [entry for name, (_, tree) in trees.items() for entry in imports_of(name, tree, modules)]
    return Source(modules, imports)


def _trees(root: Path) -> Iterator[tuple[str, tuple[Module, ast.Module]]]:
    """Each module by name, and its syntax."""
    top = root / "src" / FACE
    folders = [place for place in top.iterdir() if place.is_dir()] if top.is_dir() else []
    places = [(FACE, path) for path in top.glob("*.py")]
    places += [
        (".".join((FACE, folder.name, *path.relative_to(folder.resolve()).parent.parts)), path)
        for folder in folders
        for path in _files(folder.resolve())
    ]
    for package, path in places:
        text = path.read_text(encoding="utf-8")
        is_package = path.name == "__init__.py"
        name = package if is_package else f"{package}.{path.stem}"
        yield name, (Module(_shown(path, root), text.count("\n"), is_package), ast.parse(text, str(path)))


def _files(folder: Path) -> Iterator[Path]:
    """The modules below a folder; links inside it are not followed."""
    for here, _, names in os.walk(folder):
        yield from (Path(here, name) for name in names if name.endswith(".py"))


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def imports_of(name: str, tree: ast.Module, modules: Mapping[str, Module]) -> list[Import]:
    """The imports of other modules in one module."""
    kinds: dict[str, set[str]] = defaultdict(set)
    lines: dict[str, set[int]] = defaultdict(set)
    for statement, kind in _statements(tree.body, AT_TOP):
        for imported in _targets(statement, name, modules):
            kinds[imported].add(kind)
            lines[imported].add(statement.lineno)
    return [
        Import(name, imported, max(kinds[imported], key=KINDS.index), tuple(sorted(lines[imported])))
        for imported in sorted(kinds.keys() - {name})
    ]


def _statements(body: Iterable[ast.AST], kind: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Each import statement in these statements, with its kind."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, kind
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _statements(node.body, TYPE_ONLY)
            yield from _statements(node.orelse, kind)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and kind == AT_TOP:
            yield from _statements(node.body, IN_FUNCTION)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _statements(ast.iter_child_nodes(node), kind)


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _targets(statement: ast.Import | ast.ImportFrom, name: str, modules: Mapping[str, Module]) -> Iterator[str]:
    """The modules of the project that a statement in the module `name` imports."""
    if isinstance(statement, ast.Import):
        targets = [alias.name for alias in statement.names]
    else:
        base = _base(statement, name, modules[name].is_package)
        targets = [f"{base}.{alias.name}" for alias in statement.names]
    for target in targets:
        if target.split(".")[0] == FACE:
            yield _module_of(target, modules)


def _base(statement: ast.ImportFrom, name: str, is_package: bool) -> str:
    """The package or module from which a statement imports, by its whole name."""
    if not statement.level:
        return statement.module or ""
    parts = name.split(".")
    parts = parts[: len(parts) - statement.level + is_package]
    return ".".join([*parts, *filter(None, [statement.module])])


def _module_of(target: str, modules: Mapping[str, Module]) -> str:
    """The target itself, or the longest beginning of it that is a module."""
    while target not in modules and "." in target:
        target = target.rpartition(".")[0]
    return target


def plan_of(source: Source, level: Level) -> Plan:
    """The plan of one level."""
    groups = {name: group for name in source.modules if (group := group_of(name, level))}
    modules: dict[str, list[Module]] = defaultdict(list)
    for name, group in groups.items():
        modules[group].append(source.modules[name])
    arrows: dict[tuple[str, str], list[Import]] = defaultdict(list)
    for entry in source.imports:
        arrow = groups.get(entry.importer, ""), groups.get(entry.imported, "")
        if all(arrow) and arrow[0] != arrow[1]:
            arrows[arrow].append(entry)
    return Plan(level, modules, arrows)


def group_of(name: str, level: Level) -> str:
    """The group of a module; empty outside the level."""
    if name == level.top:
        return level.top.rpartition(".")[2]
    if not name.startswith(f"{level.top}."):
        return ""
    return name.removeprefix(f"{level.top}.").split(".")[0]


def summary(plan: Plan) -> str:
    """The numbers of a level, its groups, pairs and circles."""
    numbers = ", ".join(f"{name} {number:,d}" for name, number in plan.numbers.items())
    lines = [f"{plan.level.name}: {numbers}"]
    width = max(5, *map(len, plan.modules))
    lines.append(f"  {'group':{width}s}  files    lines")
    for name, group in sorted(plan.modules.items()):
        lines.append(f"  {name:{width}s}  {len(group):5,d}  {sum(module.lines for module in group):7,d}")
    for low, high in plan.pairs:
        counts = len(plan.arrows[low, high]), len(plan.arrows[high, low])
        lines.append(f"  pair: {low} -> {high} ({counts[0]}), {high} -> {low} ({counts[1]})")
    lines += [f"  circle: {', '.join(circle)}" for circle in plan.circles]
    lines += [f"  no place: {name} ({_neighbours(name, plan)})" for name in plan.without_place]
    return "\n".join(lines)


def _neighbours(name: str, plan: Plan) -> str:
    """The groups that import a group, and those that it imports."""
    imports = sorted(imported for importer, imported in plan.arrows if importer == name)
    importers = sorted(importer for importer, imported in plan.arrows if imported == name)
    return f"imported by {', '.join(importers) or 'none'}, imports {', '.join(imports) or 'none'}"


def upward(plan: Plan, modules: Mapping[str, Module]) -> str:
    """Each arrow that goes up, with a line for each of its imports."""
    lines = []
    for arrow in plan.up:
        lines.append(f"{plan.level.name}, up: {arrow[0]} -> {arrow[1]} ({len(plan.arrows[arrow])})")
        lines += [f"  {_with_lines(entry, modules)}" for entry in plan.arrows[arrow]]
    return "\n".join(lines)


def _with_lines(entry: Import, modules: Mapping[str, Module]) -> str:
    notes = [*map(str, entry.lines), *filter(None, [entry.kind])]
    return f"{modules[entry.importer].path} -> {modules[entry.imported].path} ({', '.join(notes)})"


def file_circles(source: Source) -> list[list[str]]:
    """The circles of files, by path."""
    modules = source.modules
    return circles_of((modules[entry.importer].path, modules[entry.imported].path) for entry in source.imports)


def layout(source: Source, plans: Iterable[Plan]) -> dict[str, Any]:
    """The plan as JSON."""
    levels = {plan.level.name: _layout_of_level(plan, source.modules) for plan in plans}
    return {"levels": levels, "circles of files": file_circles(source)}


def _layout_of_level(plan: Plan, modules: Mapping[str, Module]) -> dict[str, Any]:
    return {
        "order": plan.level.order,
        "numbers": plan.numbers,
        "groups": {name: {module.path: module.lines for module in group} for name, group in plan.modules.items()},
        "arrows": {
            f"{importer} -> {imported}": {"count": len(imports), "imports": _pairs_of_files(imports, modules)}
            for (importer, imported), imports in plan.arrows.items()
        },
        "up": [f"{importer} -> {imported}" for importer, imported in plan.up],
        "pairs": [f"{low} <-> {high}" for low, high in plan.pairs],
        "circles": [", ".join(circle) for circle in plan.circles],
    }


def _pairs_of_files(imports: Iterable[Import], modules: Mapping[str, Module]) -> list[str]:
    """Each import with its mark and without lines."""
    return sorted(
        f"{modules[entry.importer].path} -> {modules[entry.imported].path}{f' ({entry.kind})' if entry.kind else ''}"
        for entry in imports
    )


def read_layout(path: Path) -> dict[str, Any]:
    """Read a file of `--json`. Raises ValueError for another file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not content.keys() >= {"levels", "circles of files"}:
        raise ValueError(f"{path} is not a file of --json")
    return content


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two layouts."""
    old, new = before["levels"], after["levels"]
    lines = []
    for name in sorted(old.keys() | new.keys()):
        lines += [f"{name}: {line}" for line in _level_lines(old.get(name, {}), new.get(name, {}))]
    circles = [[", ".join(circle) for circle in side["circles of files"]] for side in (before, after)]
    return "\n".join([*lines, *_gone_and_new("circle of files", *circles)]) or "nothing differs"


def _level_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What differs in a level; a level without contents is one that the layout lacks."""
    yield from _changed(before.get("numbers", {}), after.get("numbers", {}))
    for key, title in (("groups", "group"), ("arrows", "arrow")):
        yield from _gone_and_new(title, before.get(key, ()), after.get(key, ()))
    old, new = ({arrow: entry["count"] for arrow, entry in side.get("arrows", {}).items()} for side in (before, after))
    yield from (f"arrow {line}" for line in _changed(old, new))
    for key, title in (("up", "arrow up"), ("pairs", "pair"), ("circles", "circle")):
        yield from _gone_and_new(title, before.get(key, ()), after.get(key, ()))


def _changed(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """The numbers of both sides that differ."""
    names = [name for name in after if name in before and before[name] != after[name]]
    return [f"{name} {before[name]:,d} -> {after[name]:,d}" for name in names]


def _gone_and_new(title: str, before: Iterable[str], after: Iterable[str]) -> list[str]:
    old, new = set(before), set(after)
    gone = [f"{title} gone: {name}" for name in sorted(old - new)]
    return gone + [f"{title} new: {name}" for name in sorted(new - old)]


def levels_of(orders: Iterable[str]) -> list[Level]:
    """LEVELS with the orders of the command line. Raises ValueError for an order of another form."""
    levels = {level.name: level for level in LEVELS}
    for text in orders:
        name, _, order = text.partition("=")
        if name not in levels:
            raise ValueError(f"{text!r}: LEVEL=ORDER is expected, LEVEL one of {', '.join(levels)}")
        floors_of(order)
        levels[name] = replace(levels[name], order=order.strip())
    return list(levels.values())


def options_of(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prints the import plan of the project.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout")
    parser.add_argument("--order", action="append", default=[], metavar="LEVEL=ORDER", help="from low to high")
    parser.add_argument("--up", action="store_true", help="list the imports that go up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan")
    parser.add_argument("--beside", type=Path, metavar="FILE", help="print what differs from a file of --json")
    parser.add_argument("--require-down", action="store_true", help="exit status 1 with an arrow up or a circle")
    options = parser.parse_args(words)
    try:
        options.levels = levels_of(options.order)
        options.source = source_of(options.root)
        options.before = read_layout(options.beside) if options.beside else None
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return options


def main(words: Sequence[str]) -> int:
    options = options_of(words)
    source: Source = options.source
    plans = [plan_of(source, level) for level in options.levels]
    plans = [plan for plan in plans if plan.modules]
    print("\n\n".join(map(summary, plans)))
    circles = file_circles(source)
    print("", f"circles of files: {len(circles)}", *(f"  circle: {', '.join(circle)}" for circle in circles), sep="\n")
    if options.up:
        print("", *filter(None, (upward(plan, source.modules) for plan in plans)), sep="\n")
    after = layout(source, plans)
    if options.json:
        options.json.write_text(json.dumps(after, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if options.before is not None:
        print("", differences(options.before, after), sep="\n")
    return FAILED if options.require_down and any(plan.up or plan.circles for plan in plans) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
