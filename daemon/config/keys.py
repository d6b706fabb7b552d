"""Every key of the configuration, collected from the schema, for suggestions of names, overrides and digests."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Field, create_model

from quantd.daemon.config.agent_tables import Agent, Manual, Portfolios
from quantd.daemon.config.risk_tables import LimitKey, Limits, Risk
from quantd.daemon.config.schema import Document
from quantd.daemon.config.values import Reload, Section, Written

Pattern = tuple[str, ...]
"""A path with `*` for an index or a free name: ("agents", "*", "capital")."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table, with its attribute in the schema.

    `section` is the schema of its table, None for a plain value. `text` is true for a value that is text, and `many`
    for a list. `choices` are the permitted texts. `reload` says how a reload may change the value.
    """

    attribute: str
    section: type[Section] | None = None
    text: bool = False
    many: bool = False
    choices: tuple[str, ...] = ()
    reload: Reload | None = None


@cache
def keys_of(section: type[Section]) -> dict[str, Key]:
    """Return the keys of one table of config.toml, by their names in the file."""
    return {f.alias or name: _key(name, f.annotation, f.metadata) for name, f in section.model_fields.items()}


@cache
def document_of(limits: tuple[LimitKey, ...]) -> type[Document]:
    """Return the schema of the whole file, with the limits that other packages add; an omitted limit is off."""
    if not limits:
        return Document
    fields: dict[str, Any] = {
        limit.attribute: (limit.annotation | None, Field(default=None, alias=limit.key)) for limit in limits
    }
    limits_model = create_model("Limits", __base__=Limits, **fields)
    risk = create_model("Risk", __base__=Risk, **fields)
    agent: Any = create_model("Agent", __base__=Agent, limits=(limits_model, limits_model()))
    manual: Any = create_model("Manual", __base__=Manual, limits=(limits_model, limits_model()))
    places: Any = create_model("Portfolios", __base__=Portfolios, limits=(limits_model, limits_model()))
    tables = {
        "risk": (risk, risk()),
        "agents": (tuple[agent, ...], ...),  # the last ... means: required
        "manual": (manual | None, None),
        "portfolios": (places | None, None),
    }
    return create_model("Document", __base__=Document, **tables)  # type: ignore[call-overload]


@cache
def all_keys(document: type[Document] = Document) -> dict[Pattern, Key]:
    """Return every key of config.toml, tables included, by its pattern (`*` for an index)."""
    return dict(_walk(document, ()))


def pattern_of(path: tuple[str | int, ...]) -> Pattern:
    """Return the pattern of a path; an index, and every key inside `params`, becomes `*`."""
    pattern = tuple("*" if isinstance(part, int) else part for part in path)
    return (*pattern[:3], *("*" for _ in pattern[3:])) if pattern[:3] == ("agents", "*", "params") else pattern


def _walk(section: type[Section], above: Pattern) -> Iterator[tuple[Pattern, Key]]:
    """Yield (pattern, key) of every key in a table and in its inner tables; `above` is the table's own pattern."""
    for name, key in keys_of(section).items():
        path = (*above, name)
        yield path, key
        if key.section is not None:
            yield from _walk(key.section, (*path, "*") if key.many else path)


def _key(attribute: str, annotation: Any, metadata: list[Any]) -> Key:
    """Return the key of one attribute of the schema, from its annotation.

    `many` is True for a list, `text` for a value that is text. A key whose value is a table has its `section`.
    """
    annotation, inner_metadata = _bare(annotation)
    marks = [*metadata, *inner_metadata]
    many = get_origin(annotation) is tuple
    if many:
        annotation, _ = _bare(get_args(annotation)[0])
    section = annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None
    choices = tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()
    text = not many and (annotation is str or bool(choices) or any(isinstance(m, Written) for m in marks))
    reload = next((mark for mark in marks if isinstance(mark, Reload)), None)
    return Key(attribute, section, text, many, choices, reload)


def _bare(annotation: Any) -> tuple[Any, list[Any]]:
    """Return an annotation without Optional and Annotated, and the metadata of Annotated."""
    marks: list[Any] = []
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *inner_metadata = get_args(annotation)
            marks += inner_metadata
        elif origin in (Union, UnionType):
            alternatives = [alternative for alternative in get_args(annotation) if alternative is not NoneType]
            if len(alternatives) != 1:
                return annotation, marks
            annotation = alternatives[0]
        else:
            return annotation, marks
