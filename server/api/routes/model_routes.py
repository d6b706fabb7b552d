"""The models of agents over HTTP: the policies in force, the load of another artifact, pause, and promotion by hand.

What can go wrong: a promotion causes orders that nobody has seen. So the preview of a promotion exchanges the policies
on a copy of the state, and then asks the new policy for its decision. Loads run one at a time. A POST is answered after
its commit to the journal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine.agents.promotion import unexchangeable
from quantd.daemon.policies.model_facts import Artifact, Described, artifacts_of, described
from quantd.daemon.views.overview import SWITCH
from quantd.daemon.views.preview import PlanNow
from quantd.daemon.views.struct_fields import struct_of
from quantd.server.api.client_calls import change
from quantd.server.api.commits import committed
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post, Read, named_by
from quantd.server.api.run_reader import RunReader
from quantd.server.requests.control import NotDone, check_agent, check_ready, one_line, operator
from quantd.server.requests.model_loads import (
    LoadModel,
    LoadShadow,
    Reasoned,
    challenger_of,
    model_loaded,
)
from quantd.trading.display_text import instant_text
from quantd.trading.events import Event
from quantd.trading.model_events import Exchanged


class LoadedNow(Struct, frozen=True):
    """The record of a load: since then an artifact decides instead of the configured policy."""

    path: str
    version: str
    digest: str
    time: str
    who: str
    reason: str


class Model(Struct, frozen=True):
    """The policy of an agent or shadow.

    `policy` is the present policy, and `configured` the policy in config.toml; they differ after a load. `decides_for`
    is the agent or shadow whose book the policy trades now; after a promotion that is not `agent`. `switch` and
    `suspended` describe `agent`.
    """

    agent: str
    shadow: bool
    challenges: str
    policy: str
    configured: str
    loaded: LoadedNow | None
    decides_for: str
    switch: str
    suspended: bool
    artifacts: list[Artifact]


class Models(Struct, frozen=True):
    """The models of all agents and shadows."""

    run: str
    models: list[Model]


class ModelDetails(Struct, frozen=True):
    """A model with the manifests, evaluation records and model cards of its artifacts."""

    run: str
    model: Model
    artifacts: list[Described]


class ExchangePlan(Struct, frozen=True):
    """What an exchange of policies would cause: the decision of `agent` under its new policy, asked immediately after.

    `plan` has the weights, orders, costs and cuts of that decision. Nothing is exchanged, and nothing is sent.
    """

    shadow: str
    agent: str
    plan: PlanNow


Planning = Callable[[Sequence[Event], str], Awaitable[PlanNow]]


class ModelRoutes:
    """The handlers about models of one running service.

    `plan` steps events on a copy of the state, then asks one agent.
    """

    def __init__(self, run: RunReader, plan: Planning) -> None:
        self._run = run
        self._plan = plan
        self._service = run.service
        self._turn = asyncio.Lock()

    async def models(self, request: web.Request, query: Query) -> Models:
        state = self._service.shell.state
        names, count = state.rules.names(), len(state.agents)  # the names of shadows follow those of the agents
        indices = [*state.in_use(), *range(count, len(names))]
        return Models(self._service.run, [self._model(names[index]) for index in indices])

    async def model(self, request: web.Request, query: Query) -> ModelDetails:
        name = request.match_info["agent"]
        check_agent(self._service, name)
        artifacts = artifacts_of(self._service.shell.seats(self._index(name)), self._service.config.source.folder)
        details = await asyncio.to_thread(lambda: [described(*pair) for pair in artifacts])
        return ModelDetails(self._service.run, self._model(name), details)

    async def load(self, asked: LoadModel, sender: str, agent: str) -> Model:
        """Loads an artifact between two samples. Raises Refused, NotDone and InboxFull."""
        async with self._turn:
            return await self._model_after(agent, *await model_loaded(self._service, asked, sender, agent))

    async def shadow(self, asked: LoadShadow, sender: str, agent: str) -> Model:
        """Loads an artifact into the challenger of an agent; returns the shadow. Raises Refused, NotDone, InboxFull."""
        check_ready(self._service)
        return await self.load(asked, sender, challenger_of(self._service, agent, asked.shadow))

    async def ask(self, asked: Reasoned, sender: str, agent: str, what: Literal["pause", "resume"]) -> Model:
        """Pauses or resumes one agent. Raises Refused, NotDone and InboxFull."""
        if not one_line(asked.reason):
            raise NotDone("reason", f"this {what} has no reason for the journal; send one")
        event = operator(self._service, "resume" if what == "resume" else "reduce", asked.reason, sender, agent)
        return await self._model_after(agent, replace(event, command=what))

    async def exchange(self, asked: Reasoned, sender: str, agent: str, what: Literal["promote", "demote"]) -> Model:
        """Exchanges the policies of a shadow and its champion. Raises Refused, NotDone and InboxFull."""
        exchanged = self._exchange_event(what, asked, sender, agent)
        return await self._model_after(agent, exchanged, refused=f"{agent} is not {what}d: ")

    async def preview(
        self, asked: Reasoned, sender: str, agent: str, what: Literal["promote", "demote"]
    ) -> ExchangePlan:
        """The decision that would follow an exchange, on a copy of the state. Raises Refused and NotDone."""
        exchanged = self._exchange_event(what, asked, sender, agent)
        champion = next(shadow.challenges for shadow in self._service.config.seats if shadow.name == agent)
        return ExchangePlan(agent, champion, await self._plan([exchanged], champion))

    def _exchange_event(
        self, what: Literal["promote", "demote"], asked: Reasoned, sender: str, agent: str
    ) -> Exchanged:
        """Return the event of an exchange of policies that the engine would carry out now.

        Raises NotDone for an unknown agent, without a reason, and for an agent that cannot be exchanged.
        """
        service = self._service
        check_agent(service, agent)
        check_ready(service)
        reason, state = one_line(asked.reason), service.shell.state
        if not reason:
            raise NotDone(
                "reason", f"this {what}, which takes place without a test, has no reason for the journal; send one"
            )
        if why := unexchangeable(state, agent, what):
            raise NotDone("conflict", f"{agent} is not {what}d: {why}")
        return Exchanged(state.now, agent, what, reason, sender)

    async def _model_after(self, agent: str, *events: Event, refused: str = "") -> Model:
        """Commit events, and return the model of an agent as it is immediately after the last event."""
        commit = await committed(self._service, lambda state, _: self._model(agent), *events, refused=refused)
        return commit.answer

    def _index(self, name: str) -> int:
        """The index of an agent or shadow (simulated agent) by its name: agents come first, then shadows."""
        return self._service.shell.state.rules.names().index(name)

    def _model(self, name: str) -> Model:
        """The model of the agent or shadow `name`. Shadows, which are simulated beside the account, follow the agents
        in the index; each has one book."""
        service, index = self._service, self._index(name)
        state, agent_table = service.shell.state, service.config.seats[index]
        loaded = state.loaded.get(name)
        count = len(state.agents)
        agent = state.agents[index] if index < count else state.shadows[index - count].agents[0]
        # position: the book of an agent or shadow; value: the index of the policy that trades this book now
        policy_of_book = [*state.seats, *(shadow.seats[0] for shadow in state.shadows)]
        return Model(
            agent=name,
            shadow=index >= count,
            challenges=agent_table.challenges,
            policy=agent_table.policy if loaded is None else loaded.path,
            configured=agent_table.policy,
            loaded=None if loaded is None else struct_of(LoadedNow, loaded, time=instant_text(loaded.ts)),
            decides_for=state.rules.names()[policy_of_book.index(index)] if index in policy_of_book else "",
            switch=SWITCH[agent.switch.state],
            suspended=agent.suspended,
            artifacts=[
                artifact for artifact, _ in artifacts_of(service.shell.seats(index), service.config.source.folder)
            ],
        )


BECAUSE: Final = '{"reason": ".."}'
"""An example of a body that has a reason alone."""

ROUTES: Final = RouteGroup(
    "models",
    160,
    lambda context: ModelRoutes(context.run, lambda after, agent: context.explaining().plan(after, agent)),
    routes=(
        Read("/api/v1/models", ModelRoutes.models, "The models of the agents and shadows.", call="models"),
        Read("/api/v1/models/{agent}", ModelRoutes.model, "One model, with manifest, record and card.", call="model"),
        Post(
            "/api/v1/models/{agent}/load", ModelRoutes.load, "Load another artifact or version.",
            '{"path": "models/mine", "version": "2026-11", "reason": ".."}', "admin",
            body=named_by(LoadModel, "path", "version"), call="load_model",
        ),
        Post(
            "/api/v1/models/{agent}/shadow", ModelRoutes.shadow,
            "Load an artifact into a shadow that challenges this agent; the comparison begins anew.",
            '{"path": "models/mine", "reason": ".."}', "admin", body=named_by(LoadShadow, "path", "version"),
            call="shadow_model",
        ),
        Post("/api/v1/models/{agent}/pause", partial(ModelRoutes.ask, what="pause"), "Ask it no more.", BECAUSE),
        Post("/api/v1/models/{agent}/resume", partial(ModelRoutes.ask, what="resume"), "Ask it again.", BECAUSE),
        Post(
            "/api/v1/models/{agent}/promote", partial(ModelRoutes.exchange, what="promote"),
            "Let a shadow's policy decide for the agent that it challenges, without a test.", BECAUSE, "admin",
        ),
        Post(
            "/api/v1/models/{agent}/demote", partial(ModelRoutes.exchange, what="demote"),
            "Give a promoted shadow's policy back.", BECAUSE, "admin",
        ),
        Post(
            "/api/v1/models/{agent}/promote/preview", partial(ModelRoutes.preview, what="promote"),
            "The orders that a promotion would bring; nothing is exchanged.", BECAUSE, "admin",
        ),
        Post(
            "/api/v1/models/{agent}/demote/preview", partial(ModelRoutes.preview, what="demote"),
            "The orders that giving a policy back would bring; nothing is exchanged.", BECAUSE, "admin",
        ),
    ),
    calls=(
        change(
            "change_model", "/models/{agent}/{do}", Reasoned, Model,
            "Pause or resume an agent, or promote or demote a shadow without a test.",
            types={"do": Literal["pause", "resume", "promote", "demote"]},
        ),
        change(
            "preview_exchange", "/models/{agent}/{do}/preview", Reasoned, ExchangePlan,
            "The orders that a promotion or demotion would bring; nothing is exchanged.",
            types={"do": Literal["promote", "demote"]}, question=True,
        ),
    ),
)  # fmt: skip
