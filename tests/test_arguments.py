"""An argument that is not understood is refused at every door; each list of doors is walked, none is written here."""

import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import pytest
import typer
from mcp import Client

import quantd
from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.cli.program import commands, program
from quantd.daemon.config import ConfigError, read
from quantd.daemon.config.keys import all_keys, document_of
from quantd.research.python_api.arguments import fits
from quantd.server.cli.operate.gate.gate_server import server_of
from quantd.server.cli.operate.gate.gateway import Gateway
from quantd.strategies.policies import RECORDS, ParamsError
from quantd.strategies.policies.record import PolicyRecord
from tests.support.api_world import in_shared_loop, shared
from tests.support.every_key import KNOWN, TEXT

__all__ = ["shared"]

UNKNOWN = "surplus_argument"

VALUES: dict[str, Any] = {
    "boolean": True, "integer": 3, "number": 0.5, "string": "text", "array": [None], "object": {"": None}, "null": None,
}  # fmt: skip
"""JSON type -> a value of it."""


def types_of(schema: Any, schemas: Any) -> set[str]:
    """The JSON types that a schema accepts; an integer is a number."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if "type" not in schema and alternatives:
        return set[str]().union(*(types_of(alternative, schemas) for alternative in alternatives))
    if "type" not in schema:
        return {"string"} if "enum" in schema else set(VALUES)
    return {schema["type"]} | ({"integer"} if schema["type"] == "number" else set())


def wrong(schema: Any, schemas: Any) -> Iterator[dict[str, Any]]:
    """For each field of an object, a document with one value of each JSON type that the field does not accept."""
    for name, inner in schema.get("properties", {}).items():
        yield from ({name: VALUES[kind]} for kind in sorted(VALUES.keys() - types_of(inner, schemas)))
        entries = inner.get("additionalProperties")
        if isinstance(entries, dict):
            yield from ({name: {"SPY": VALUES[kind]}} for kind in sorted(VALUES.keys() - types_of(entries, schemas)))


def example_of(schema: Any) -> dict[str, Any]:
    """A value for each required argument of a tool."""
    types = {name: schema["properties"][name]["type"] for name in schema.get("required", ())}
    return {name: ["SPY"] if kind == "array" else VALUES[kind] for name, kind in types.items()}


@pytest.mark.parametrize("agent", ["guest", ""])
async def test_a_tool_refuses_an_unknown_argument_and_a_wrong_type(agent: str) -> None:
    # nothing listens at port 1: a call that reached the daemon would say so
    async with Client(server_of(Gateway("http://127.0.0.1:1", "token"), agent)) as client:
        tools = (await client.list_tools()).tools
        assert len(tools) >= 6
        for tool in tools:
            schema, given = tool.input_schema, example_of(tool.input_schema)
            assert schema["additionalProperties"] is False, tool.name
            for change in ({UNKNOWN: True}, *wrong(schema, schema.get("$defs", {}))):
                reply = await client.call_tool(tool.name, given | change)
                text = "".join(getattr(block, "text", "") for block in reply.content)
                assert reply.is_error, (tool.name, change)
                assert next(iter(change)) in text, (tool.name, change, text)
                assert "does not answer" not in text, (tool.name, change)
                assert "http" not in text, (tool.name, text)


async def refusal(world: Any, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, str]:
    path = path.replace("{", "").replace("}", "")
    async with world.session.request(method, path, params=query, json=body, headers=world.bearer) as response:
        return response.status, await response.text()


@in_shared_loop
async def test_a_route_refuses_an_unknown_parameter_or_field_and_a_wrong_type(shared: Any) -> None:
    async with shared.session.get("/openapi.json", headers=shared.bearer) as response:
        document = await response.json()
    schemas = document["components"]["schemas"]
    tried, accepted = 0, []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            example = None if content is None else content["example"]
            numbers = [
                parameter["name"]
                for parameter in operation.get("parameters", ())
                if parameter["in"] == "query" and types_of(parameter["schema"], schemas) <= {"integer", "number"}
            ]
            cases: list[tuple[dict[str, str], Any]] = [({UNKNOWN: "1"}, example), *(({k: "x"}, None) for k in numbers)]
            if content is not None:
                cases += [
                    ({}, example | change) for change in ({UNKNOWN: 1}, *changes(content["schema"], schemas, example))
                ]
            for query, body in cases:
                tried += 1
                status, text = await refusal(shared, method, path, query, body)
                if status != 422:
                    accepted.append((method, path, query, body, status, text[:200]))
    assert accepted == []
    assert tried > 500


def changes(schema: Any, schemas: Any, example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The wrong fields of a body, of each of the schemas that it may have."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for alternative in schema.get("anyOf", ()):
        if "$ref" in alternative:
            inner = schemas[alternative["$ref"].rpartition("/")[2]]
            if inner.get("properties", {}).get("command", {}).get("enum") in (None, [example.get("command")]):
                yield from wrong(inner, schemas)
    yield from wrong(schema, schemas)


USAGE_ERROR: Any = typer.BadParameter.__base__


def test_a_command_refuses_an_unknown_option_a_surplus_word_and_a_wrong_number() -> None:
    tried = 0
    for path, command in leaves(typer.main.get_command(program(commands())), ()):
        kinds = {one.opts[0]: one.type.name.split()[0] for one in command.params if one.opts[0].startswith("-")}
        numbers = {name for name, kind in kinds.items() if kind in ("integer", "float")}
        words = [["--surplus-argument"], *([name, "text"] for name in sorted(numbers))]
        words += [[name, "nan"] for name in sorted(numbers) if kinds[name] == "float"]
        if all(own.nargs > 0 for own in command.params):
            words.append(["surplus"] * 20)
        for line in words:
            tried += 1
            with pytest.raises(USAGE_ERROR) as refused:
                command.make_context(" ".join(path), list(line))
            message = refused.value.format_message()
            assert line[0] in message or "Missing" in message, (path, line, message)
    assert tried > 150


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands of a command tree that have no subcommands, with their names."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


FREE = {("agents", "*", "params"), ("study", "goals")}
"""Tables whose keys are those of the agent's policy, and the metrics of the catalogue."""
KEYS = all_keys(document_of(limit_keys())).keys()


@pytest.mark.one_of(3)
@pytest.mark.parametrize("pattern", sorted(KEYS - FREE), ids=".".join)
def test_a_table_refuses_an_unknown_key_and_a_key_refuses_a_table_that_it_does_not_know(pattern: Any) -> None:
    key = all_keys(document_of(limit_keys()))[pattern]
    tables = [{UNKNOWN: 1}], *(() if key.section is not None else ({UNKNOWN: 1},))
    for value in tables if key.many or key.section is None else ({UNKNOWN: 1},):
        refused_table(pattern, value)


def refused_table(pattern: tuple[str, ...], value: Any) -> None:
    """Assert that a configuration is refused with `value` at the place of a key, which the message names."""
    document = tomllib.loads(TEXT)
    place: Any = document
    for part in pattern[:-1]:
        place = place[0] if part == "*" else place.setdefault(part, {})
        if part != "*" and place == []:
            place.append({})
    place[pattern[-1]] = value
    with pytest.raises(ConfigError) as refused:
        read("\n".join(f"{name} = {toml(value)}" for name, value in document.items()), KNOWN)
    assert pattern[-1] in str(refused.value)


def toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(name)} = {toml(inner)}' for name, inner in value.items())} }}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


@pytest.mark.parametrize("policy", RECORDS, ids=[record.name for record in RECORDS])
def test_a_policy_refuses_an_unknown_parameter_a_wrong_type_and_nan(policy: Any) -> None:
    def make(params: dict[str, Any]) -> object:
        return policy.make(params) if isinstance(policy, PolicyRecord) else policy.make(params, None)

    with pytest.raises(ParamsError, match=UNKNOWN):
        make({UNKNOWN: 1})
    _, schemas = msgspec.json.schema_components([policy.params], schema_hook=lambda kind: {"title": "any"})
    for change in wrong(schemas[policy.params.__name__], schemas):
        with pytest.raises(ParamsError):
            make(change)
    for name in policy.params.__struct_fields__:
        with pytest.raises(ParamsError, match=name):
            make({name: float("nan")})


SAMPLES = ("text", {}, date(2020, 1, 2))
FUNCTIONS = [name for name in quantd.__all__ if inspect.isfunction(getattr(quantd, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_python_function_refuses_an_unknown_argument_and_a_wrong_type(name: str) -> None:
    function = getattr(quantd, name)
    with pytest.raises(TypeError, match=f"{name} has no argument {UNKNOWN}") as refused:
        function(**{UNKNOWN: 1})
    assert isinstance(refused.value, quantd.Error)
    parameters = inspect.signature(function).parameters
    single = {key: own for key, own in parameters.items() if own.kind is not own.VAR_POSITIONAL}
    kinds = {key: own.annotation for key, own in single.items() if own.default is own.empty}
    required = {key: next(value for value in SAMPLES if fits(value, kind)) for key, kind in kinds.items()}
    for key, own in single.items():
        for value in (True, 3, 0.5, float("nan"), "text", [object()], {1: 2}, object()):
            if not fits(value, own.annotation):
                with pytest.raises(TypeError, match=f"{name}: {key} = "):
                    function(**required | {key: value})


ELSEWHERE = {
    "cash": 'settings={"broker.cash": ...}', "initial_capital": 'settings={"broker.cash": ...}', "data": "write bars=",
    "fees": 'settings={"broker.commission_bp": ...}', "start": 'settings={"feed.start": ...}', "weights": "write what=",
    "max_drawdown": 'settings={"risk.max_drawdown": ...}', "compar": "did you mean compare?",
    "profile": 'settings={"risk.profile": ...}',
}  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_argument_of_another_package_is_refused_with_the_place_of_its_value(name: str) -> None:
    with pytest.raises(TypeError, match=re.escape(ELSEWHERE[name])):
        quantd.backtest("equal_weight", **{name: 1})
