"""Divides the blocks of code of a page into snippets: commands, Python, TOML, JSON, and what is only shown."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from scripts.site.pages import Page

Kind = Literal["command", "python", "file", "toml", "json", "shown"]
"""command: one command line. file: Python whose first line is its name. shown: an output, a formula, data."""

PROGRAMS: Final = (
    "quantd", r"\.venv/bin/\w+", "make", "python3?", "pip", "pytest", "uv", "curl", "sudo", "umask", "export",
    "grafana", "promtool", "prometheus", "systemctl", "tar", "mosquitto_sub", "mosquitto_pub", "docker", "kubectl",
    "git", "post", "cd", "cp", r"post\(\)", "mkdir", "openssl", "chown", r"\.(?= )",
)  # fmt: skip
_COMMAND: Final = re.compile(rf"(?:[A-Z_]+=\S*\s+)*(?:{'|'.join(PROGRAMS)})(?![\w.:])|[A-Z]+=\S+$|[A-Z]+=\$\(")
_PYTHON: Final = re.compile(
    r"(?:from [\w.]+ import |import [\w., ]+$|def \w+\(|LOOKBACK = |USES_BARS = |quantd\.\w+\(|"
    r"\w+(?:, \w+)* = \w+[\w.]*\(|\w+\.report\(|print\(|class \w+|\"\"\")"
)
_FILE: Final = re.compile(r"# ([\w/]+\.py)\b")
_PROMPT: Final = re.compile(r"(\s*)\$ ")
_ADDED_PROSE: Final = re.compile(r"\s{2,}#\s.*$")


@dataclass(frozen=True)
class Snippet:
    """A part of a page: its first line, its kind and its text; a command is one line without prompt and comment."""

    page: str
    line: int
    kind: Kind
    text: str
    output: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(page: Page) -> list[Snippet]:
    """The snippets of a page, in their order."""
    return [
        Snippet(page.path, number, kind, text, _output(page.text, number) if kind == "command" else ())
        for at, language, lines in blocks(page.text)
        for number, kind, text in _parts(at, language, lines)
    ]


def _output(text: str, number: int) -> tuple[str, ...]:
    """The lines that a page shows below a command with a prompt, up to the next command or an empty line."""
    lines = text.split("\n")[number - 1 :]
    if not _PROMPT.match(lines[0].removeprefix("    ")):
        return ()
    output = []
    for line in lines[1:]:
        if not line.startswith("    ") or _PROMPT.match(line.strip()):
            break
        output.append(line.strip())
    return tuple(output)


def blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """First line, language and lines of each block of code, fenced or indented."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        if lines[at].startswith("```"):
            end = at + 1
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            yield at + 2, lines[at][3:].strip(), lines[at + 1 : end]
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or _goes_on(lines, end)):
                end += 1
            yield at + 1, "", _dedented(lines[at:end])
            at = end
        else:
            at += 1


def _goes_on(lines: list[str], at: int) -> bool:
    following = next((line for line in lines[at:] if line.strip()), "")
    return not lines[at].strip() and following.startswith("    ")


def _dedented(lines: list[str]) -> list[str]:
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[least:] for line in lines]


def _parts(at: int, language: str, lines: list[str]) -> Iterator[tuple[int, Kind, str]]:
    if language == "python":
        yield at, "file" if _FILE.match(lines[0]) and "def " not in lines[1] else "python", "\n".join(lines)
        return
    if language == "toml":
        yield at, "toml", "\n".join(lines)
        return
    for first, part in _paragraphs(lines):
        yield from _of_paragraph(at + first, part)


def _paragraphs(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Parts of a block between empty lines; Python stays whole until a command, and TOML while it parses."""
    first, part = 0, list[str]()
    for number, line in enumerate([*lines, ""]):
        if line.strip() or (part and (_is_python(part) and not _starts_command(lines, number))):
            part.append(line)
        elif part:
            yield first, part
            part = []
        if not part:
            first = number + 1
    if part:
        yield first, part


def _starts_command(lines: list[str], at: int) -> bool:
    following = next((line for line in lines[at:] if line.strip()), "$ ")
    table = following.startswith("[") and following.rstrip().endswith("]")
    return bool(table or _PROMPT.match(following) or _COMMAND.match(following)) and not _PYTHON.match(following)


def _is_python(part: list[str]) -> bool:
    return bool(_PYTHON.match(part[0]) or _FILE.match(part[0]))


def _of_paragraph(at: int, part: list[str]) -> Iterator[tuple[int, Kind, str]]:
    text = "\n".join(part)
    if any(line.startswith(">>> ") for line in part):
        yield at, "python", "\n".join(line[4:] for line in part if line.startswith((">>> ", "... ")))
    elif any(_PROMPT.match(line) for line in part):
        yield from _commands(at, part, prompted=True)
    elif _FILE.match(part[0]):
        yield at, "file", text
    elif _COMMAND.match(part[0]) and not _PYTHON.match(part[0]) and not part[0].startswith("quantd paper"):
        yield from _commands(at, part, prompted=False)
    elif _is_python(part) or _compiles(text):
        yield at, "python", text
    else:
        yield at, _data(text), text


def _compiles(text: str) -> bool:
    """Whether a text is Python that does something: a comparison with TOML and with prose decides."""
    if _data(text) != "shown" or "->" in text:
        return False
    try:
        compile(text, "snippet", "exec")
    except SyntaxError:
        return False
    return "(" in text and " = " in text


def _data(text: str) -> Kind:
    try:
        json.loads(text)
        return "json"
    except ValueError:
        pass
    try:
        tomllib.loads(text)
        return "toml" if "=" in text or text.startswith("[") else "shown"
    except tomllib.TOMLDecodeError:
        return "shown"


def _commands(at: int, part: list[str], *, prompted: bool) -> Iterator[tuple[int, Kind, str]]:
    """Each command of a paragraph: with prompts the other lines are outputs, without them every line is a command."""
    number = 0
    while number < len(part):
        line, first = part[number], number
        if (prompted and not _PROMPT.match(line)) or not line.strip():
            number += 1
            continue
        text = _PROMPT.sub("", line) if prompted else line
        while text.endswith("\\") or text.count("{ curl") > text.count("}"):
            number += 1
            text = text.removesuffix("\\").rstrip() + " " + part[number].strip()
        number += 1
        # more than two spaces and a # begin a remark
        yield at + first, "command", _ADDED_PROSE.sub("", text).strip()
