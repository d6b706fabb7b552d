"""Pages of metrics, limits, events, topics and exit codes, each from the records that the program uses."""

import ast
from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from quantd.adapters.bus.schemas import COMMANDS, TOPICS
from quantd.adapters.store.incidents.alert_kinds import kinds_table
from quantd.daemon.monitoring.metrics import BUCKETS, COUNTERS, GAUGES, HISTOGRAMS
from quantd.daemon.runtime.version import python_files
from quantd.risk.limits.catalogue import LIMITS, Limits
from quantd.trading import events, exit_codes
from scripts.site.pages import ROOT
from scripts.site.reference.tables import cell, code, first_line, table

CODES: Final = {
    "DONE": "The command did what was asked.",
    "CHECK_FAILED": "The command ran, and what it checks does not hold; or a foreseen failure, which it names.",
    "USAGE": "The command line is not accepted: an unknown option, name or value.",
    "TRY_LATER": "Nothing is wrong with the command: no daemon runs, another one does, or it has no answer yet.",
    "CONFIG": "The configuration, a plan, an artifact or the store is not accepted. A restart repeats the failure.",
    "INTERRUPTED": "Ctrl-C, or SIGINT.",
}
"""Name of an exit code -> what it means to the caller."""


def codes() -> dict[str, int]:
    """Every exit code by name, in the order of their numbers."""
    numbers = {name: value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    return dict(sorted(numbers.items(), key=lambda item: item[1]))


def exit_code_page() -> str:
    """The page of exit codes with the failures that carry each of them."""
    raised: dict[str, list[str]] = {name: [] for name in codes()}
    for name, error, about in _failures():
        raised[name].append(f"- `{error}`: {about}")
    parts = ["# Exit codes\n\nA command ends with an exit code that says what became of it. What to do at each of "
             "them: [runbooks]"
             "(../operate/runbooks.md#exit-codes).\n"]  # fmt: skip
    parts.append(table(["code", "name", "meaning"], ([str(v), code(k), CODES[k]] for k, v in codes().items())))
    for name, value in codes().items():
        if raised[name]:
            lines = "\n".join(sorted(raised[name]))
            parts.append(f"## {value}: {name}\n\nFailures that end a command with it:\n\n{lines}\n")
    return "\n".join(parts)


def _failures() -> Iterator[tuple[str, str, str]]:
    """Code, name and first line of each class that declares its exit code."""
    for top in ("trading", "strategies", "risk", "models", "adapters", "daemon", "server", "training", "research"):
        for path in sorted(python_files(ROOT / top)):
            text = path.read_text(encoding="utf-8")
            if "exit_code = " not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                for statement in node.body if isinstance(node, ast.ClassDef) else ():
                    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "exit_code":
                        about = first_line(ast.get_docstring(node)) if isinstance(node, ast.ClassDef) else ""
                        yield ast.unparse(statement.value), getattr(node, "name", ""), about


def metrics_page() -> str:
    """The page of metrics."""
    parts = [
        "# Metrics\n\nThis page lists every metric that a daemon exports at `/metrics`. Each has the label `name`, "
        "the name of the instance, beside those of its row. [Monitoring](../deploy/monitoring.md) has the rules and "
        "dashboards that read them.\n"
    ]
    for kind, rows in (("Counters", COUNTERS), ("Gauges", GAUGES), ("Histograms", HISTOGRAMS)):
        suffix = "_total" if kind == "Counters" else ""
        lines = [
            [code(f"quantd_{name}{suffix}"), cell(text), ", ".join(map(code, labels))]
            + ([", ".join(f"{bound:g}" for bound in BUCKETS[name])] if kind == "Histograms" else [])
            for name, (text, *labels) in rows.items()
        ]
        head = ["metric", "about", "labels"] + (["buckets"] if kind == "Histograms" else [])
        parts.append(f"## {kind}\n\n" + table(head, lines))
    return "\n".join(parts)


def limits_page() -> str:
    """The page of limits with their formulas."""
    plain = Limits()
    parts = [
        "# Limits\n\nThis page lists every limit with its formula, as its record in the code has it. "
        "[Limits](../risk/limits.md) defines the symbols of the formulas, and says what each limit guarantees.\n"
    ]
    for section in dict.fromkeys(limit.section for limit in LIMITS.values()):
        rows = []
        for limit in LIMITS.values():
            if limit.section == section:
                profiles = ", ".join(f"{name} {_profile(value)}" for name, value in limit.profiles.items())
                about = limit.about or limit.words(plain)
                reasons = "; ".join(refusal.text for refusal in limit.refusals)
                rows.append([code(limit.key), cell(about), cell(limit.formula), cell(limit.equity),
                             code(limit.example), cell(profiles), cell(reasons)])  # fmt: skip
        head = ["limit", "what is measured", "formula", "of which equity", "example", "profiles", "refusal"]
        parts.append(f"## Section {section}\n\n" + table(head, rows))
    return "\n".join(parts)


def _profile(value: Any) -> str:
    if isinstance(value, Struct):
        return str(msgspec.to_builtins(value))
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, int | float)
        else str(value)
    )


def event_kinds() -> list[type[Struct]]:
    """Every event of the journal, in the order of its union."""
    return list(get_args(events.JournalEvent))


def events_page() -> str:
    """The page of the journal's events."""
    parts = [
        "# Events\n\nEverything that enters the engine is one of these events, and the journal stores each of them. "
        "[Extending quantd](../develop/extending.md#an-event) adds one. Times are nanoseconds since 1970, prices and "
        "sizes whole numbers of 1e-9.\n"
    ]
    for kind in event_kinds():
        docstring = (kind.__doc__ or "").strip()
        about = " ".join(docstring.split("\n\n")[0].split()) if docstring else ""
        parts.append(f"## {kind.__name__}\n\n{about}\n\n" + _fields(kind))
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")


def _fields(kind: type[Struct]) -> str:
    rows = []
    for field in msgspec.structs.fields(kind):
        default = "" if field.required else "empty" if field.default is msgspec.NODEFAULT else repr(field.default)
        rows.append([code(field.name), code(_type(field.type)), code(default) if default else "required"])
    return table(["field", "type", "default"], rows)


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("quantd.adapters.bus.payloads.", "")


def topics_page() -> str:
    """The page of MQTT topics with the fields of their payloads, and the kinds of alerts."""
    parts = [
        "# Topics\n\nThe daemon publishes messages below the topic `<prefix>/<name>`, which is `quantd/paper` "
        "by default. A payload is one JSON document. [Alerts](../operate/alerts.md) describes delivery.\n"
    ]
    for name, kind in (TOPICS | COMMANDS).items():
        parts.append(f"## {name}\n\n{_escaped(first_line(kind.__doc__))}\n\n" + _fields(kind))
    parts.append("## Kinds of alerts\n\n" + kinds_table() + "\n")
    return "\n".join(parts)
