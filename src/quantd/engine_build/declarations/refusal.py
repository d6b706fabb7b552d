"""A line of a listed module that cannot be compiled with the same results."""

import ast
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """Where and what, and how it is written instead."""

    file: str
    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.remedy}"


@dataclass(slots=True)
class Refusals:
    """The refusals of one module, each once."""

    file: str
    found: set[Refusal] = field(default_factory=set)

    def add(self, node: ast.AST, what: str, remedy: str) -> None:
        self.found.add(Refusal(self.file, getattr(node, "lineno", 1), what, remedy))
