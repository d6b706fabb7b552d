"""Sends the hostile calls of `quantd redteam` to a copy of an account, and judges what came of each.

A row is not held if an answer is a fault of the server (5xx), if a secret or another agent's text comes back, if a call
that must be refused is not, or changes what is traded, and if positions with all open orders break a limit in force.
"""

import asyncio
import json
from collections.abc import Sequence
from string import Template
from typing import Any, Final

import aiohttp
import numpy as np
from msgspec import Struct

from quantd.daemon.assembly.names import Secrets
from quantd.daemon.config import secret
from quantd.daemon.engine.planning.gate_account import market_context
from quantd.daemon.engine.state import State
from quantd.extras import lack
from quantd.risk.limits.catalogue import value_of
from quantd.server.api.access.keyring import CHECK_S
from quantd.server.api.route_groups import routes_of
from quantd.server.api.route_records import Post
from quantd.server.cli.setup.redteam_cases import CASES, Case
from quantd.server.cli.setup.redteam_copy import NEIGHBOUR, Copy
from quantd.server.cli.setup.redteam_judge import books, bound_text, broken, in_force, orders_of, traded
from quantd.server.requests.tokens import Scope, created, revoked
from quantd.trading.instruments import MICRO
from quantd.trading.orders import order_id, price_text, quantity_text

CANARY: Final = "canary-of-another-agent"
"""Id and reason of a proposal of another agent, which no answer may have."""

MOST_CALLS: Final = 400
"""Most calls of one row."""

OWN: Final = 80
"""Tokens of the agent in the copy: each row has its own rate."""

NO_LIMIT: Final = "no such limit is set"

ALWAYS: Final = {"cash": "no negative cash", "duplicate_window": "one order of several"}
"""Limits that every account has -> what they permit."""

ABSENT: Final = {
    "other": "there is no other outside agent",
    "trader": "there is no other agent",
    "absent": "the book holds every symbol",
    "second": "no second symbol has a price yet",
    "restricted": NO_LIMIT,
    "foreign": "no other outside agent has decided",
    "plan": "no proposal waits for a person",
    "waiting": "the agent needs no approval; such a shell may also halt and resume: run the agent as another user",
}
"""A word that has no value -> why its row cannot be tried."""

BY_SHELL: Final = (
    "a program with a shell of this user needs no person: it reads the owner's token and approves, resumes and halts. "
    'Set approval = "device", and run the agent as another user or on another machine'
)
"""What it means that the owner's token approves."""

Answer = tuple[int, str]
"""Status and text; a tool has 200 or 400 where its text has no status."""


class Row(Struct, frozen=True):
    """One row of the table; `held` is None where the account has no such limit, or the row could not be tried."""

    what: str
    door: str
    expected: str
    happened: str
    held: bool | None


class Untried(Exception):
    """A row that this account cannot have; the text is the reason."""


class Trial:
    """The calls against one copy."""

    def __init__(self, copy: Copy, session: aiohttp.ClientSession) -> None:
        self._copy, self._session = copy, session
        config = copy.service.config
        outside = [agent for agent in (*config.agents, *config.shadows) if agent.policy == "external"]
        names = [agent.name for agent in outside if agent.name != copy.agent]
        self._other = NEIGHBOUR if NEIGHBOUR in names else next(iter(names), "")
        self._approval = next((agent.approval for agent in outside if agent.name == copy.agent), "")
        self._tokens = {"owner": (copy.folder / "token").read_text().strip(), "wrong": "x" * 43, "none": ""}
        self._own: list[tuple[str, str]] = []
        self._rows = 0
        self._foreign = self._waiting = self._shown = ""
        self._limits = in_force(self._state, copy.agent)
        self._secrets: set[str] = set()
        self._halt_port = json.loads((copy.folder / "api.json").read_text())["halt_port"]

    @property
    def _state(self) -> State:
        return self._copy.service.shell.state

    async def rows(self, cases: Sequence[Case] = CASES) -> list[Row]:
        """The row of each case, in order."""
        await self._prepare()
        return [await self._row(case) for case in cases]

    async def _prepare(self) -> None:
        """Make the tokens, take back halts in the copy, and have another agent propose with the reason CANARY."""
        folder, agent = self._copy.folder, self._copy.agent
        scopes: tuple[Scope, ...] = ("read", "metrics")
        for scope in scopes:
            self._tokens[scope] = created(folder, scope, scope)[1]
        self._tokens["other"] = created(folder, "other", "propose", agent=self._other or "nobody")[1]
        self._tokens["revoked"] = created(folder, "revoked", "propose", agent=agent)[1]
        revoked(folder, "revoked")
        self._own = [(f"own-{n}", created(folder, f"own-{n}", "propose", agent=agent)[1]) for n in range(OWN)]
        stored = (secret(name) for name in Secrets())
        self._secrets = {text for text in (*self._tokens.values(), *dict(self._own).values(), *stored) if text}
        await asyncio.sleep(CHECK_S + 0.1)
        for name in ("", agent):
            await self._command("resume", name)
        if self._other:
            body = {"id": CANARY, "reason": CANARY, "weights": {self._values(0)["symbol"]: 0.05}}
            path = f"/api/v1/agents/{self._other}/propose"
            answer = await self._rest("POST", path, body, self._tokens["other"])
            self._foreign = json.loads(answer[1]).get("decision", "")

    async def _command(self, command: str, agent: str) -> None:
        body = {"command": command, "agent": agent, "reason": "red team"}
        await self._rest("POST", "/api/v1/commands", body, self._tokens["owner"])

    # what stands for the words of a case

    def _values(self, n: int) -> dict[str, Any]:
        """What stands for the words with `$` in call number `n` of a row; sizes are parts of the agent's equity."""
        _, state, book = books(self._state, self._copy.agent)[0]
        symbols, lot, marks = state.universe.symbols, state.universe.lot_nano, np.nan_to_num(state.lot_values())
        barred = [name for limits in self._limits for name in limits.restricted]
        priced = [k for k in range(len(symbols)) if marks[k] > 0 and symbols[k] not in barred]
        if not priced or not state.sample:
            raise Untried("no symbol has a price yet")
        first, equity, context = priced[0], state.books_micro[book] / MICRO, market_context(state)
        moves = np.nan_to_num(context.window(252, 2).returns).std(axis=0)
        wildest = max(priced, key=lambda k: float(moves[k]))

        def units(k: int, share: float, more: int = 0) -> str:
            return quantity_text(max(1, int(equity * share / marks[k])) + more, lot[k])

        def price(share: float) -> str:
            return price_text(round(int(state.marks_nano[first]) * share / 1e7) * 10**7)  # in hundredths

        volume = int(np.nan_to_num(context.volume_lots[first], posinf=0.0)) + 1
        return self._names(n) | {
            "symbol": symbols[first], "second": symbols[priced[-1]] if priced[1:] else "", "wildest": symbols[wildest],
            "absent": next((symbols[k] for k in reversed(priced) if not state.lots(book)[k]), ""),
            "restricted": next(iter(barred), ""), "one": {symbols[first]: 1.0},
            "every": {symbols[k]: units(k, 2.0 / len(priced)) for k in priced},
            "tenth": units(first, 0.1), "slice": units(first, 0.12, n), "book": units(first, 0.99),
            "double": units(first, 2.0), "book_wildest": units(wildest, 0.99),
            "volume": quantity_text(volume, lot[first]), "value": f"{equity * 0.99:.2f}",
            "price": price(1.0), "beyond": price(3.0), "below": price(0.98),
        }  # fmt: skip

    def _names(self, n: int) -> dict[str, Any]:
        trader = next((rules.name for rules in self._state.rules.agents if rules.name != self._copy.agent), "")
        return {
            "n": str(n + 1), "agent": self._copy.agent, "other": self._other, "trader": trader, "canary": CANARY,
            "id": f"red-{self._rows}-{n}", "foreign": self._foreign, "waiting": self._waiting,
            "secret": self._own[0][1], "plan": self._shown,
        }  # fmt: skip

    def _filled(self, template: Any, values: dict[str, Any]) -> Any:
        """A template with its words filled in. Raises Untried where a word has no value."""
        if isinstance(template, dict):
            return {self._filled(key, values): self._filled(inner, values) for key, inner in template.items()}
        if not isinstance(template, str) or "$" not in template:
            return template
        parts = Template(template)
        for name in parts.get_identifiers():
            if values.get(name) == "":
                raise Untried(ABSENT[name])
        return values[template[1:]] if template[1:] in values else parts.substitute(values)

    # the doors

    async def _rest(
        self, method: str, path: str, body: object, token: str, headers: dict[str, str] | None = None, root: str = ""
    ) -> Answer:
        """The answer of the API to a token, or of the server at `root` to the headers."""
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        address = f"{(root or self._copy.api.url).rstrip('/')}{path}"
        async with self._session.request(method, address, data=data, headers=sent | (headers or {})) as response:
            return response.status, (await response.read()).decode("utf-8", "replace")

    async def _by_address(self, case: Case, method: str, path: str, body: object, name: str, token: str) -> Answer:
        """The answer of the API or the gateway."""
        if path == "*":  # the worst answer of all of them
            posts = [
                route.path
                for route in routes_of(self._copy.api.groups, self._copy.api.context)
                if isinstance(route, Post) and route.scope in ("trade", "admin")
            ]
            paths = [posted.replace("{", "").replace("}", "") for posted in posts]
            answers = [await self._rest("POST", path, {}, self._own[n][1]) for n, path in enumerate(paths)]
            return max(answers, key=lambda answer: (answer[0] >= 500, answer[0] != 403))
        if case.door == "gateway":
            key, secret_text = ("other", self._own[0][1]) if case.key == "mixed" else (name, token)
            pair = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret_text} if secret_text else {}
            return await self._rest(method, path, body, "", pair, self._copy.gateway)
        root = f"http://127.0.0.1:{self._halt_port}" if path == "/halt" else ""
        return await self._rest(method, path, body, token, dict(case.headers), root)

    async def _by_tool(self, words: Sequence[str], given: Any, token: str) -> Answer:
        """The answer of a tool; a first word is the agent of the tools. Raises Untried without the package `mcp`."""
        if text := lack("this row", "mcp", "mcp"):
            raise Untried(text)
        from mcp import Client

        from quantd.server.cli.operate.gate.gate_server import server_of
        from quantd.server.cli.operate.gate.gateway import Gateway

        agent = {1: self._copy.agent}.get(len(words), words[0].replace("operator", ""))
        async with Client(server_of(Gateway(self._copy.api.url, token), agent)) as client:
            reply = await client.call_tool(words[-1], given)
        text = "".join(getattr(block, "text", "") for block in reply.content)
        status = next((word for word in text.split() if word.isdigit() and len(word) == 3), "")
        return (int(status or 400) if reply.is_error else 200), text

    # a row

    async def _row(self, case: Case) -> Row:
        """Try one case, judge it, and undo what it left."""
        self._rows += 1
        expected = f"refused with {case.refused:x<3}" if case.refused else case.limit or "no text of others, no secret"
        agent = self._copy.agent
        try:
            expected = self._bound(case) or expected
            if case.door == "shell":
                await self._wait_for_approval()
            if case.halted:
                await self._command("halt", agent)
            before, orders = traded(self._state, agent), self._orders(case)
            breaks = broken(self._state, agent, self._limits)
            answers = await self._answers(case)
            if not case.refused:
                await self._approve()
        except Untried as why:
            return Row(case.what, case.door, expected, str(why), None)
        new = broken(self._state, agent, self._limits).keys() - breaks.keys()
        fault = self._fault(case, answers) or "; ".join(sorted(new))
        if not fault and case.refused and case.most is None and traded(self._state, agent) != before:
            fault = "it was refused, and changed what is traded"
        if not fault and case.most is not None and (sent := self._orders(case) - orders) > case.most:
            fault = f"{sent} orders went through"
        await self._undo(case)
        if fault and case.door == "shell":
            fault = BY_SHELL
        happened = f"{fault}: {_short(answers[-1])}" if fault else _short(answers[-1])
        return Row(case.what, case.door, expected, happened, not fault)

    def _orders(self, case: Case) -> int:
        # the limits decide about what waits when a person approves it
        return orders_of(self._state, self._copy.agent, waiting=not case.limit)

    def _bound(self, case: Case) -> str:
        """The limits of a row with their owners; empty without one. Raises Untried where the account has none."""
        if not case.limit or case.limit in ALWAYS:
            return ALWAYS.get(case.limit, "")
        names = (book.name for book in books(self._state, self._copy.agent))
        bounds = [
            f"{text} of {name}"
            for name, limits in zip(names, self._limits, strict=True)
            if (text := bound_text(limits, case.limit))
        ]
        if not bounds:
            raise Untried(NO_LIMIT)
        return ", ".join(bounds)

    def _times(self, case: Case) -> int:
        """Number of calls of a row: one more than the limit or the rate permits where the case leaves it open."""
        if case.times:
            return case.times
        if not case.limit:
            return max(1, self._copy.service.config.api.rate.proposals // 3) + 3
        values = [getattr(value, "orders", value) for limits in self._limits if (value := value_of(limits, case.limit))]
        if min(values) >= MOST_CALLS:
            raise Untried(f"more than {MOST_CALLS} orders would be needed")
        return int(min(values)) + 5

    async def _answers(self, case: Case) -> list[Answer]:
        """The answers to the calls of a case."""
        name, token = self._own[self._rows % OWN] if case.key == "own" else (case.key, self._tokens.get(case.key, ""))
        values = [self._values(n) for n in range(self._times(case))]
        filled = [(self._filled(case.ask, numbers).split(), self._filled(case.body, numbers)) for numbers in values]
        if case.door == "MCP":
            calls = [self._by_tool(words, body or {}, token) for words, body in filled]
        else:
            calls = [self._by_address(case, method, path, body, name, token) for (method, path), body in filled]
        if case.at_once:
            return list(await asyncio.gather(*calls))
        return [await call for call in calls]

    def _fault(self, case: Case, answers: list[Answer]) -> str:
        """What is wrong with the answers by themselves; empty for nothing."""
        if bad := next((text for status, text in answers if status >= 500), ""):
            return f"a fault of the server: {bad[:80]}"
        if any(secret in text for _, text in answers for secret in self._secrets):
            return "an answer has a secret"
        hidden = CANARY if case.hides == "$canary" else case.hides
        if hidden and any(hidden in text for _, text in answers):
            return f"an answer has {hidden!r}"
        return "" if str(answers[-1][0]).startswith(case.refused) else "it was not refused so"

    async def _wait_for_approval(self) -> None:
        """Have a proposal of the agent wait for a person. Raises Untried where it needs no approval."""
        if self._approval:
            body = {
                "id": "waits",
                "reason": "red team",
                "orders": {self._values(0)["symbol"]: self._values(0)["tenth"]},
            }
            await self._rest("POST", f"/api/v1/agents/{self._copy.agent}/propose", body, self._own[0][1])
            self._waiting, self._shown = "waits", await self._plan("waits")

    async def _plan(self, id: str) -> str:
        """The plan of a proposal that waits, which an approval names."""
        path = f"/api/v1/agents/{self._copy.agent}/review/preview"
        return str(json.loads((await self._rest("POST", path, {"id": id}, self._tokens["owner"]))[1]).get("plan", ""))

    async def _approve(self) -> None:
        """Approve as a person what the agent proposed, so that the limits decide."""
        if self._approval == "person":
            for proposal in [waiting for waiting in self._state.reviews if waiting.agent == self._copy.agent]:
                plan = await self._plan(proposal.id)
                body = {"id": proposal.id, "approve": True, "reason": "red team", "plan": plan}
                await self._rest("POST", f"/api/v1/agents/{proposal.agent}/review", body, self._tokens["owner"])

    async def _undo(self, case: Case) -> None:
        """Cancel the orders of the agent, decline what waits, resume, and let the market go on."""
        state, agent, owner = self._state, self._copy.agent, self._tokens["owner"]
        if case.halted:
            await self._command("resume", agent)
        _, house, number = books(state, agent)[0]
        for proposal in [waiting for waiting in state.reviews if waiting.agent == agent]:
            body = {"id": proposal.id, "approve": False, "reason": "red team"}
            await self._rest("POST", f"/api/v1/agents/{agent}/review", body, owner)
        run, symbols = self._copy.service.run, house.universe.symbols
        open_orders = [
            order_id(run, work.basket.sample, symbols[work.basket.sym[row]], work.basket.n)
            for work in house.working.values()
            for row, of, _ in work.open_shares()
            if of == number and house is state
        ]
        for order in open_orders:
            await self._rest("POST", "/api/v1/orders/cancel", {"order": order, "reason": "red team"}, owner)
        if open_orders:
            await self._copy.go()


def _short(answer: Answer) -> str:
    """An answer as one line: its status, and the sentence that a person reads."""
    status, text = answer
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    if isinstance(content, dict):
        verdict = content.get("verdict") or {}
        if "outcome" in verdict:
            content = f"{verdict['outcome']}: {verdict.get('text', '')}"
        else:
            content = content.get("detail") or content.get("message") or content.get("status") or sorted(content)
    return f"{status} {' '.join(str(content).split())}"[:160]
