"""Idempotency keys of POST requests: a request that is sent again under its key is not carried out again.

What can go wrong: a request is carried out twice, or is reported as not done although it was carried out. So the key of
a request is part of its event: the journal has both or neither, and the state has the keys of the journal
(`State.acts`). A key that the journal does not have did nothing.

A halt or reduce is the exception. It is in force before it is in the journal, on a full disk too, so that the answer to
a lost one is the switch (GET /api/v1/switches). A request without an event, such as the start of a backtest beside the
run, has its key in the memory of this process only.

The first answers are in memory. Where the answer is no longer there, as after a restart, a repeated request learns from
the journal that it was carried out.
"""

import re
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from quantd.daemon.runtime.service import Service
from quantd.server.api.access.guard import DOORS
from quantd.server.api.commits import CARRIED_OUT, STATUS, of_request
from quantd.server.api.problems import FieldFault, Problem, Refused, error
from quantd.trading.display_text import instant_text

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
"""Header of an answer that is repeated for a key; its request was carried out earlier."""

PATTERN: Final = r"^[!-~]{1,64}$"
"""Pattern of a key: 1 to 64 visible ASCII characters."""

ANSWERS: Final = 1_000
"""Most first answers in memory."""

NOT_BEGUN: Final = frozenset({429, 503})
"""Statuses of requests that did nothing: their keys may be used again."""


class ActNow(Struct, frozen=True):
    """What became of a request: `running`, `done`, with its `answer` while that is in memory, or `refused`.

    `text` is the refusal, or the reason why a request that is `done` has no answer. `status` is the HTTP status of the
    answer, 0 without one.
    """

    key: str
    state: Literal["running", "done", "refused"]
    status: int = 0
    text: str = ""
    answer: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


class Keys:
    """The idempotency keys of POST requests. Any number of requests may run at once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answers: dict[str, tuple[bytes, web.Response | None]] = {}
        """Sender and key -> (digest of the request, its first answer, None while it runs)."""

    async def once(
        self,
        request: web.Request,
        sender: str,
        content: bytes,
        act: Callable[[], Awaitable[web.Response]],
        again: Callable[[], bytes | None],
    ) -> web.Response:
        """Return the answer of `act`, which runs once for each idempotency key of a sender; without a key it always
        runs.

        `again` returns the body of the answer to a key that was carried out earlier; None means the body of the first
        answer. `content` is the body of the request: a known key with another path or content is refused. Raises
        Refused.
        """
        if HEADER not in request.headers:
            return await act()
        keys = request.headers.getall(HEADER)
        name = _name(sender, keys[0] if len(keys) == 1 else "")
        path = "/api/v1/commands" if request.path in DOORS else request.path
        digest = blake2b(path.encode() + b"\n" + content, digest_size=16).digest()
        if (recorded := self._known(name)) is not None:
            return _repeated(*recorded, digest, again)
        self._answers[name] = digest, None
        of_request().act = {"key": name, "request": digest}
        try:
            answer = await act()
        except Refused as why:
            answer = error(why.status, why.code, str(why), why.headers, why.errors)
        finally:
            del self._answers[name]
        if answer.status not in NOT_BEGUN:
            self._answers[name] = digest, answer
            ended = [name for name, (_, answer) in self._answers.items() if answer is not None]
            for oldest in ended[:-ANSWERS]:
                del self._answers[oldest]
        return answer

    def became(self, sender: str, key: str) -> ActNow | None:
        """What became of the request with a sender's idempotency key; None if no request with the key had an effect.

        Raises Refused for a malformed key.
        """
        if (recorded := self._known(_name(sender, key))) is None:
            return None
        if (answer := recorded[1]) is None:
            return ActNow(key, "running")
        if answer.status < 400:
            return ActNow(key, "done", answer.status, answer=msgspec.Raw(_body_of(answer)))
        problem = msgspec.json.decode(_body_of(answer), type=Problem)
        return ActNow(key, "done" if problem.code == CARRIED_OUT else "refused", answer.status, text=problem.detail)

    def _known(self, name: str) -> tuple[bytes, web.Response | None] | None:
        """The digest of the request with a sender and key, and its answer, None while it runs; None without such a
        request.
        """
        act = self._service.shell.unsettled.acts.get(name)
        if name in self._answers or act is None:
            return self._answers.get(name)
        if act.code:
            return act.request, error(STATUS[act.code], act.code, act.text)
        text = f"the request was carried out at {instant_text(act.ts)}, as the journal says; do not send it again"
        return act.request, error(409, CARRIED_OUT, text)


def _repeated(
    first_digest: bytes, first: web.Response | None, digest: bytes, again: Callable[[], bytes | None]
) -> web.Response:
    """The answer to a key that is known. Raises Refused for another path or body, and while the first request runs."""
    if first_digest != digest:
        text = f"{HEADER}: this key was sent with another path or body; send a new key"
        raise Refused(422, "idempotency", text, errors=[FieldFault(HEADER, text)])
    if first is None:
        text = "the request with this key is still carried out; ask again in a second"
        raise Refused(409, "idempotency", text, {"Retry-After": "1"})
    body, status, kind = _body_of(first), first.status, first.content_type
    done = status < 400 or msgspec.json.decode(body, type=Problem).code == CARRIED_OUT
    if done and (body_now := again()) is not None:
        body, status, kind = body_now, 200, "application/json"
    return web.Response(body=body, status=status, content_type=kind, headers={REPLAYED: "true"})


def _body_of(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def _name(sender: str, key: str) -> str:
    """A sender and its key in one text. Raises Refused for a malformed key."""
    if re.fullmatch(PATTERN, key):
        return f"{sender} {key}"
    text = f"{HEADER} is not one valid key; send one key of 1 to 64 visible ASCII characters"
    raise Refused(422, "idempotency", text, errors=[FieldFault(HEADER, text)])
