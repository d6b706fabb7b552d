"""POST /api/v1/predict and /api/v1/allocate: the weights that a model or an allocation method would hold.

Nothing is journalled or traded. One answer to such a question is computed at a time, in a thread. Answers are cached by
the model's digest and the hash of the input.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypedDict, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.daemon.assembly.loaded_artifacts import NoArtifact, named
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.policies.learned_answers import (
    Confidence,
    Given,
    Lacking,
    Observation,
    answer_at,
    answer_to,
    entries_for,
    input_hash,
    observed_at,
)
from quantd.daemon.policies.loading import artifact_folder, graphs_of, load
from quantd.daemon.policies.model_facts import learned_in
from quantd.daemon.policies.price_allocation import (
    MOST_CLOSES,
    MOST_PRICE,
    MOST_SYMBOLS,
    BadPrices,
    allocated,
    held_of,
    table_of,
)
from quantd.daemon.policies.seats import artifacts_in
from quantd.daemon.runtime.version import code_version
from quantd.models.artifacts.folder import MANIFEST_BYTES, digest_of, read_bytes
from quantd.models.artifacts.loader import load_artifact
from quantd.models.artifacts.manifest import MANIFEST
from quantd.models.artifacts.occlusion import Learned
from quantd.models.forests.params import NAME as LEARNED_ALLOCATION
from quantd.models.isolation.session import PolicyFailed
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post, named_by
from quantd.server.api.run_reader import RunReader
from quantd.server.requests.control import AgentName, ArtifactName, NotDone, check_agent
from quantd.server.requests.model_loads import view_of
from quantd.strategies.allocators.allocation import Allocation, allocation
from quantd.strategies.policies import COMPOSITES, POLICIES, nearest
from quantd.strategies.policies.members import leaves_asked
from quantd.trading.display_text import instant_text
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.statistics import RISK_FREE_ANNUAL
from quantd.trading.view import EMPTY_MEMORY

BODY_BYTES: Final = 1 << 20
"""Largest body of a question, in bytes."""

KEPT: Final = 256
"""Most answers that are cached."""

ARTIFACTS: Final = 8
"""Most artifacts that are loaded for questions, besides the artifacts of the agents."""

ESTIMATE: Final = (
    f"mean and standard deviation of these weights held through the last samples, times 252 and its root; Sharpe ratio "
    f"in excess of {RISK_FREE_ANNUAL:.0%} a year; the past, no forecast"
)

A = TypeVar("A", bound="Prediction | Allocated")

Number = Annotated[float, Meta(ge=-1e30, le=1e30)]


class Predict(Struct, frozen=True, forbid_unknown_fields=True):
    """A question to a learned policy: to the policy of an `agent`, or to the `artifact` in a folder.

    `observation` has the values of the input in the order of `entries` in GET /api/v1/models/AGENT. Instead, `features`
    maps symbol to name to value, and `shared` maps the names without a symbol to values. Without all three, the present
    state is the input.
    """

    agent: AgentName = ""
    artifact: ArtifactName = ""
    observation: list[Number] | None = None
    features: dict[str, dict[str, Number]] | None = None
    shared: dict[str, Number] = {}


class Estimated(Struct, frozen=True, kw_only=True):
    """Weights by symbol with an estimate of their return and risk; `estimate` says how it is computed."""

    digest: str
    weights: dict[str, float]
    cash: float
    expected_return: float | None
    expected_risk: float | None
    sharpe: float | None
    samples: int
    estimate: str
    input_hash: str
    cached: bool
    time: str


class Prediction(Estimated, frozen=True, kw_only=True):
    """The weights of a learned policy, before the agent's rules and limits.

    `confidence` and its kind are computed from this answer alone. `value` is the largest action value; it is null if
    the network has none.
    """

    agent: str
    model: str
    confidence: Confidence
    value: float | None


Price = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MOST_PRICE})]
Closes = Annotated[list[Price], Meta(extra_json_schema={"minItems": 2, "maxItems": MOST_CLOSES})]
"""Closes of one symbol. The bounds are for the OpenAPI document; the handler checks them and names the symbol."""


class Allocate(Struct, frozen=True, forbid_unknown_fields=True):
    """A question to an allocation method: `prices` has closes by symbol, oldest first.

    `method` is a registered policy or the folder of an artifact; instead, `agent` means the policy of this agent.
    `params` are parameters of the method. `held` has the present weights by symbol.
    """

    prices: Annotated[dict[str, Closes], Meta(extra_json_schema={"minProperties": 1, "maxProperties": MOST_SYMBOLS})]
    method: ArtifactName = ""
    agent: AgentName = ""
    params: dict[str, Any] = {}
    held: dict[str, Number] = {}


class Allocated(Estimated, frozen=True, kw_only=True):
    """Weights by symbol, before any agent's rules and limits. `hold` true: the method leaves the positions unchanged.

    `probability_positive` is the probability that the mean return is above 0, if it is normally distributed with the
    standard error of the returns.
    """

    method: str
    hold: bool
    note: str
    probability_positive: float | None


class PredictionRoutes:
    """The handlers of predictions and allocations of one running service."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._service = run.service
        self._turn = asyncio.Lock()
        self._cache: OrderedDict[tuple[object, ...], Prediction | Allocated] = OrderedDict()
        self._artifacts: OrderedDict[str, Policy] = OrderedDict()

    async def predict(self, asked: Predict, sender: str) -> Prediction:
        """The answer of a learned policy, which is the only one (the leaf) inside the policy of an agent or artifact.

        An equal question is answered from the cache. Raises Refused and NotDone.
        """
        service, names = self._service, self._service.shell.state.rules.names()
        check_agent(service, asked.agent)
        if not (asked.agent or asked.artifact):
            raise _command_fault("agent", "neither agent nor artifact was sent; name an agent, or an artifact's folder")
        if asked.observation is not None and asked.features is not None:
            raise _command_fault("observation", "both observation and features were sent; send one of them")
        if not service.shell.state.sample:
            raise Refused(409, "conflict", "no sample was taken yet; ask again after the first close")
        async with self._turn:
            # an artifact gets the view of the first agent, with a book of cash
            agent_index = names.index(asked.agent) if asked.agent else 0
            policy = await self._policy(asked.artifact) if asked.artifact else service.shell.seats(agent_index)
            leaves = learned_in(policy)
            if len(leaves) != 1:
                raise _command_fault("agent", f"{asked.agent} has {len(leaves)} learned policies; name one as artifact")
            leaf = leaves[0]
            observed, symbols = self._observed(leaf, asked)
            sample = service.shell.state.sample
            observation_hash = b"" if observed is None else input_hash(observed).encode()
            # the present state changes with every entry; a sent observation is judged at the newest sample
            state_number = service.journal.seq if observed is None else sample
            key = ("predict", leaf.digest, asked.agent, asked.artifact, observation_hash, symbols, state_number)
            return await self._cached(key, lambda: self._predicted(asked, leaf, policy, observed, symbols, agent_index))

    async def allocate(self, asked: Allocate, sender: str) -> Allocated:
        """The weights of a method. Raises Refused and NotDone."""
        check_agent(self._service, asked.agent)
        if bool(asked.method) == bool(asked.agent):
            raise _command_fault("method", "not exactly one of method and agent was sent; send one of them")
        try:
            symbols, closes = await asyncio.to_thread(table_of, asked.prices)
            held_weights = held_of(asked.held, symbols)
        except BadPrices as why:
            raise _command_fault(why.field, str(why)) from None
        async with self._turn:
            method, params = self._method(asked)
            digest, policy_factory = await self._method_policy(method, params)
            names = "\n".join(symbols).encode()
            inputs_hash = input_hash(names, closes, held_weights)
            now = self._service.shell.state.sample

            async def computed() -> Allocated:
                """Compute the weights in a thread; this runs only where the cache has no answer."""
                try:
                    # an artifact (its name has a slash) stays loaded for later requests
                    weights, figures, note, hold = await asyncio.to_thread(
                        lambda: allocated(
                            policy_factory(), method, symbols, closes, held_weights, now, keep="/" in method
                        )
                    )
                except BadPrices as why:
                    raise _command_fault(why.field, str(why)) from None
                except ValueError as why:
                    raise _command_fault("method", str(why)) from None
                return Allocated(
                    method=method,
                    digest=digest,
                    weights=dict(zip(symbols, weights.tolist(), strict=True)),
                    cash=_cash_weight(weights),
                    hold=hold,
                    note=note,
                    expected_return=figures.expected_return,
                    expected_risk=figures.expected_risk,
                    sharpe=_sharpe(figures),
                    probability_positive=figures.probability_positive,
                    samples=figures.samples,
                    estimate=ESTIMATE,
                    input_hash=inputs_hash,
                    cached=False,
                    time=instant_text(now) if now else "",
                )

            return await self._cached(("allocate", digest, inputs_hash, now), computed)

    async def _cached(self, key: tuple[object, ...], computed: Callable[[], Awaitable[A]]) -> A:
        """The cached answer with this key; `computed` computes it if there is none."""
        earlier_answer: Any = self._cache.get(key)
        self._run.predictions["miss" if earlier_answer is None else "hit"] += 1
        if earlier_answer is not None:
            self._cache.move_to_end(key)
            cached_answer: A = replace(earlier_answer, cached=True)
            return cached_answer
        new_answer = await computed()
        self._cache[key] = new_answer
        while len(self._cache) > KEPT:
            self._cache.popitem(last=False)
        return new_answer

    # a prediction

    def _observed(self, leaf: Learned, asked: Predict) -> tuple[Observation | None, tuple[str, ...]]:
        """Return (observation float32[entries], or None for the present state; its symbols).

        Raises Refused for values that do not fit the model's observation.
        """
        symbols = self._run.parts.universe.symbols
        if asked.observation is None and asked.features is None:
            if asked.shared:
                raise _command_fault(
                    "shared", "shared was sent without features; send both, or neither for the present state"
                )
            return None, symbols
        try:
            if asked.features is not None:
                symbols = tuple(asked.features) or symbols
            names = entries_for(leaf, symbols)
        except Lacking as why:
            raise _command_fault("observation", str(why)) from None
        if asked.observation is not None:
            values = asked.observation
            if len(values) != len(names):
                text = f"it has {len(values)} values; send {len(names)}, in this order: {', '.join(names)}"
                raise _command_fault("observation", text)
        else:
            values = _values(names, asked.features or {}, asked.shared)
        return np.array(values, dtype=np.float32), symbols

    async def _predicted(
        self,
        asked: Predict,
        leaf: Learned,
        policy: Policy,
        observed: Observation | None,
        symbols: tuple[str, ...],
        agent_index: int,
    ) -> Prediction:
        """Compute the answer of a learned policy, the leaf, in a thread. Raises Refused for an input that is unfit."""
        service = self._service
        await service.settled()
        state = service.shell.state
        frozen, rules, sample = freeze(state, ended=False), state.rules, state.sample

        def work() -> tuple[Given, str, Allocation | None]:  # (answer, hash of the input, figures of the weights)
            ask = view_of(rules, frozen, agent_index)
            view, memory = ask.view, ask.memory
            if not asked.agent:  # an artifact has no book: the answer assumes that all is cash
                view, memory = view.held_by(np.zeros(len(view.prices))), EMPTY_MEMORY
            if asked.artifact:
                memory = EMPTY_MEMORY
            if observed is None:  # the present state is asked about
                # (path, leaf, view, memory), with what the policy around the leaf would pass to it
                question = next(candidate for candidate in leaves_asked(policy, view, memory) if candidate[1] is leaf)
                answer, hashed = (
                    answer_at(leaf, question[2], question[3]),
                    input_hash(observed_at(leaf, question[2], question[3])),
                )
            else:
                answer, hashed = answer_to(leaf, observed, symbols), input_hash(observed)
            column_by_symbol = view.universe.index
            if not set(answer.symbols) <= set(column_by_symbol):
                return answer, hashed, None
            weights = np.zeros(len(view.prices))
            weights[view.universe.columns(answer.symbols)] = answer.weights
            # the figures are of a year of sessions at most
            return answer, hashed, allocation(view, weights, strategy="", method="", lookback=min(252, rules.lookback))

        try:
            answer, hashed, figures = await asyncio.to_thread(work)
        except (Lacking, PolicyFailed, ValueError) as why:
            raise Refused(422, "unfit", str(why)) from None
        return Prediction(
            agent=asked.agent,
            model=leaf.artifact.manifest.name,
            digest=leaf.digest,
            weights=dict(zip(answer.symbols, answer.weights.tolist(), strict=True)),
            cash=_cash_weight(answer.weights),
            confidence=answer.confidence,
            value=answer.value,
            expected_return=None if figures is None else figures.expected_return,
            expected_risk=None if figures is None else figures.expected_risk,
            sharpe=None if figures is None else _sharpe(figures),
            samples=0 if figures is None else figures.samples,
            estimate=ESTIMATE if figures is not None else "this run has no history of these symbols",
            input_hash=hashed,
            cached=False,
            time=instant_text(sample),
        )

    # policies

    async def _policy(self, artifact: str) -> Policy:
        """Return the policy of an artifact; its path is relative to the folder of config.toml.

        Raises NotDone for a missing artifact, and for one that cannot be used.
        """
        config = self._run.config

        def work() -> tuple[str, Policy]:
            folder = artifact_folder(named(config, artifact), config.source.folder)
            # the digest is part of the name: an artifact that was replaced is loaded again
            name = f"{folder} {digest_of(read_bytes(folder / MANIFEST, MANIFEST_BYTES))}"
            return name, self._artifacts.get(name) or load_artifact(folder, {}, graphs_of(self._run.parts.isolation))

        try:
            name, policy = await asyncio.to_thread(work)
        except NoArtifact as error:
            raise NotDone("artifact", str(error)) from None
        except ValueError as error:
            raise NotDone("unfit", str(error)) from None
        self._artifacts[name] = policy
        self._artifacts.move_to_end(name)
        while len(self._artifacts) > ARTIFACTS:
            self._artifacts.popitem(last=False)
        return policy

    def _method(self, asked: Allocate) -> tuple[str, Mapping[str, object]]:
        """Return (allocation method, its parameters) of the request, or of the agent that the request names, as in
        config.toml.
        """
        if asked.method:
            return asked.method, asked.params
        state = self._service.shell.state
        table = self._run.config.seats[state.rules.names().index(asked.agent)]
        if asked.agent in state.loaded:
            return state.loaded[asked.agent].path, {}
        return table.policy, {**table.params, **asked.params}

    async def _method_policy(self, method: str, params: Mapping[str, object]) -> tuple[str, Callable[[], Policy]]:
        """Return (digest, function that makes the policy) of an allocation method. Raises Refused and NotDone."""
        # the first look for a name that is not built in reads the entry points of all packages
        if ".py" in method or await asyncio.to_thread(COMPOSITES.__contains__, method):
            raise _command_fault("method", f"{method[:80]} is a file or a composite; name an allocator or an artifact")
        if "/" in method:
            if params:
                raise _command_fault("params", "params were sent with an artifact, which has none; leave them out")
            policy = await self._policy(method)
            return artifacts_in(policy), lambda: policy
        if method not in (*POLICIES, LEARNED_ALLOCATION):
            raise Refused(404, "not_found", f"there is no policy {method[:80]!r}; {nearest(method, POLICIES)}".rstrip())
        parts, folder = self._run.parts, self._run.config.source.folder
        text = msgspec.json.encode([code_version(), method, dict(params)], order="sorted", enc_hook=str)
        return input_hash(text), lambda: load(method, params, folder, parts.isolation)


def _values(names: list[str], features: Mapping[str, Mapping[str, float]], shared: Mapping[str, float]) -> list[float]:
    """Return the values of an observation in the order of `names`.

    An entry that begins with "known " says whether a price is known; if it is missing, its value is 1. Raises Refused
    for an unknown name, and for any other entry without a value.
    """
    value_by_name = {
        f"{name} {symbol}": value for symbol, entries in features.items() for name, value in entries.items()
    }
    value_by_name |= shared
    for name in value_by_name:
        if name not in names:
            raise _command_fault(
                _field(name, features), f"{name} is no entry of the input; the entries are {', '.join(names)}"
            )
    values = []
    for name in names:
        if name not in value_by_name and not name.startswith("known "):
            raise _command_fault(_field(name, features), f"{name} is missing; send a value for it")
        values.append(value_by_name.get(name, 1.0))
    return values


def _field(name: str, features: Mapping[str, object]) -> str:
    """The path of an observation entry in the body of a request, for the text of an error."""
    feature, _, symbol = name.rpartition(" ")
    return f"features.{symbol}.{feature}" if feature else f"shared.{name}"


def _cash_weight(weights: Floats) -> float:
    """The cash weight: 1 less the sum of the weights float64[N], rounded to hide the error of the sum."""
    return round(1.0 - float(weights.sum()), 12) + 0.0  # adding 0.0 turns -0.0 into 0.0


def _sharpe(figures: Allocation) -> float | None:
    """The Sharpe ratio of the return in excess of the risk-free rate; None if a figure is unknown or the risk is 0."""
    if figures.expected_return is None or not figures.expected_risk:
        return None
    return (figures.expected_return - RISK_FREE_ANNUAL) / figures.expected_risk


def _command_fault(field: str, text: str) -> Refused:
    return Refused(422, "command", text, errors=[FieldFault(field, text)])


class Input(TypedDict, total=False):
    """A learned policy, and the fields of its input that `Predict` describes."""

    agent: str
    artifact: str
    observation: list[float] | None
    features: dict[str, dict[str, float]] | None
    shared: dict[str, float]


class Method(TypedDict, total=False):
    """An allocation method: either `method` or `agent`, with parameters of the method and the weights held."""

    method: str
    agent: str
    params: dict[str, Any]
    held: dict[str, float]


ROUTES: Final = RouteGroup(
    "predictions",
    170,
    lambda context: PredictionRoutes(context.run),
    routes=(
        Post(
            "/api/v1/predict", PredictionRoutes.predict, "What a learned policy would hold.", '{"agent": "learned"}',
            "read", body=named_by(Predict, "agent", "artifact"), body_bytes=BODY_BYTES, call="predict",
            form={"about": "What the policy of an `agent` or `artifact` would hold; by default in the present state.",
                  "spread": ("input", Input), "question": True},
        ),
        Post(
            "/api/v1/allocate", PredictionRoutes.allocate, "What a method would hold for given prices.",
            '{"method": "equal_weight", "prices": {"SPY": [100.0, 101.0], "TLT": [90.0, 89.5]}}', "read",
            body=named_by(Allocate, "agent", "method", how="oneOf"), body_bytes=BODY_BYTES, call="allocate",
            form={"about": "What a `method`, or that of an `agent`, would hold after closes by symbol, oldest first.",
                  "spread": ("by", Method), "question": True},
        ),
    ),
)  # fmt: skip
