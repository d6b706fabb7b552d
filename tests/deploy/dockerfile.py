"""Reads a Dockerfile into the steps of its stages, and tells which files of a folder are in its context."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

KNOWN = (
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "SHELL", "STOPSIGNAL", "USER",
    "VOLUME", "WORKDIR",
)  # fmt: skip
HEALTH = {"--interval": "30s", "--timeout": "30s", "--start-period": "0s", "--retries": "3"}


class Unread(Exception):
    """An instruction that this reader does not carry out, with its line."""


@dataclass(frozen=True)
class Step:
    """One instruction: its line, its name, and what follows, with continued lines joined."""

    line: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of an instruction in JSON form, or of its shell form."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


@dataclass
class Stage:
    """`parent` is the name of another stage, or of an image."""

    name: str
    parent: str
    steps: list[Step] = field(default_factory=list)


@dataclass
class Settings:
    """What the instructions before leave for the next one, and for the container."""

    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    health: dict[str, str] = field(default_factory=dict)
    health_command: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    ports: list[str] = field(default_factory=list)

    def apply(self, step: Step) -> bool:
        """Take up an instruction that only sets something; False for RUN and COPY."""
        match step.name:
            case "ENV":
                self.env |= dict(pair.split("=", 1) for pair in shlex.split(filled(step.text, self.env | self.args)))
            case "ARG":
                name, _, value = step.text.partition("=")
                self.args.setdefault(name, value)
            case "WORKDIR":
                self.workdir = os.path.join(self.workdir, step.text)
            case "USER":
                self.user = step.text
            case "SHELL":
                self.shell = step.words
            case "ENTRYPOINT":
                self.entrypoint, self.cmd = step.words, []
            case "CMD":
                self.cmd = step.words
            case "STOPSIGNAL":
                self.stop_signal = step.text
            case "EXPOSE":
                self.ports = [*self.ports, *step.text.split()]
            case "HEALTHCHECK":
                self._check(step)
            case _:
                return False
        return True

    def _check(self, step: Step) -> None:
        options, mark, command = step.text.partition("CMD ")
        self.health = HEALTH | dict(option.split("=", 1) for option in options.split()) if mark else {}
        self.health_command = json.loads(command) if mark else []


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with ${NAME} and $NAME replaced; an unknown name is left."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: values.get(match[1] or match[2], match[0]), text)


def steps(text: str) -> Iterator[Step]:
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not (line.strip() or joined):
            continue
        first = first if joined else number
        joined += line.rstrip()
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        name, _, arguments = joined.strip().partition(" ")
        if name.upper() not in KNOWN:
            raise Unread(f"line {first}: {name} is not an instruction that this script carries out")
        yield Step(first, name.upper(), arguments.strip())
        joined = ""


def stages(text: str, arguments: Mapping[str, str] = {}) -> dict[str, Stage]:
    """Name -> stage, in the order of the file. `arguments` are build arguments, which go before those of the file."""
    by_name: dict[str, Stage] = {}
    outer = dict(arguments)
    for step in steps(text):
        if step.name == "FROM":
            image, _, name = filled(step.text, outer).partition(" AS ")
            by_name[name or str(len(by_name))] = Stage(name or str(len(by_name)), image)
        elif not by_name:
            name, _, value = step.text.partition("=")
            outer.setdefault(name, value)
        else:
            by_name[next(reversed(by_name))].steps.append(step)
    return by_name


def needed(every: Mapping[str, Stage], target: str) -> list[Stage]:
    """The stages that a target is made of, each after those that it needs."""
    stage = every[target]
    before = [stage.parent] if stage.parent in every else []
    before += [
        match[1] for step in stage.steps if step.name == "COPY" and (match := re.match(r"--from=(\S+)", step.text))
    ]
    order: list[Stage] = []
    for name in before:
        order += [ancestor for ancestor in needed(every, name) if ancestor not in order]
    return [*order, stage]


def settings_of(every: Mapping[str, Stage], target: str) -> Settings:
    """The settings of a target's image."""
    settings = Settings()
    lineage = [target]
    while lineage[0] in every:
        lineage.insert(0, every[lineage[0]].parent)
    for name in lineage[1:]:
        for step in every[name].steps:
            settings.apply(step)
    return settings


def ignored(text: str) -> "re.Pattern[str]":
    """What a .dockerignore leaves out, as one expression for the path of a file or of a folder."""
    patterns = []
    for line in text.splitlines():
        if (line := line.strip()) and not line.startswith("#"):
            if line.startswith("!"):
                raise Unread(f".dockerignore: {line} is not carried out")
            deep, name = line.startswith("**/"), line.removeprefix("**/")
            patterns.append(("(?:.*/)?" if deep else "") + translate(name).removesuffix("\\Z").replace(".*", "[^/]*"))
    return re.compile("|".join(patterns) or r"\b\B")


def context(folder: Path) -> Iterator[Path]:
    """The files and links of a folder that a build may copy, relative to it."""
    left_out = ignored((folder / ".dockerignore").read_text(encoding="utf-8"))
    for subfolder, subfolders, files in os.walk(folder):
        place = Path(subfolder).relative_to(folder)
        links = [name for name in subfolders if (Path(subfolder) / name).is_symlink()]
        subfolders[:] = [name for name in subfolders if name not in links and not left_out.fullmatch(str(place / name))]
        yield from (place / name for name in (*files, *links) if not left_out.fullmatch(str(place / name)))
