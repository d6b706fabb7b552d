"""Create, rotate, list or revoke tokens of the API; a running daemon applies it within a second."""

import time
from pathlib import Path
from typing import Annotated, Final, cast, get_args

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions, one_of
from quantd.daemon.cli.failures import Failure, note
from quantd.daemon.cli.output import answer, iso, print_json, records, say
from quantd.daemon.cli.places import token_file
from quantd.server.requests.tokens import Scope, Token, created, owner_of, revoked, rotated, stored
from quantd.trading.exit_codes import USAGE

LONGEST_NS: Final = 3_650 * 86_400 * 10**9
"""Longest duration of an option: 3,650 days, in ns."""


def span(text: str) -> int:
    """Parse a text such as 90d into ns; "" and "0" are 0. Raises typer.BadParameter for any other text."""
    from quantd.daemon.config.values import duration_ns

    try:
        span_ns = 0 if text in ("", "0") else duration_ns(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a duration; write 90d, 12h or 10m") from None
    if span_ns > LONGEST_NS:
        raise typer.BadParameter(f"{text} is too long; write 3650d at most")
    return span_ns


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token, for the journal.")]
Scoped = Annotated[
    str | None,
    typer.Option(
        "--scope", parser=one_of(get_args(Scope)), metavar="SCOPE", help="read, metrics, propose, trade or admin."
    ),
]
Expires = Annotated[
    int, typer.Option("--expires", parser=span, metavar="SPAN", help="End of validity from now: 90d. Default: none.")
]
ForAgent = Annotated[
    str, typer.Option("--agent", metavar="AGENT", help="With --scope propose: the outside agent that it is for.")
]
Overlap = Annotated[
    int, typer.Option("--overlap", parser=span, metavar="SPAN", help="How long the old secret stays valid: 10m.")
]


def create(
    name: Name,
    scope: Scoped = None,
    expires: Expires = "0",  # type: ignore[assignment]
    agent: ForAgent = "",
    rotate: Annotated[bool, typer.Option("--rotate", help="A new secret for a token; `owner`: this folder's.")] = False,
    overlap: Overlap = "0",  # type: ignore[assignment]
    chosen: RunOptions = DEFAULTS,
    as_json: Json = False,
) -> None:
    """Create a token, or with --rotate a new secret for one. The secret is printed once and stored nowhere."""
    if rotate == (scope is not None) or (agent and rotate) or (overlap and not rotate):
        raise Failure("name --scope for a new token; --rotate keeps scope and agent, and may have --overlap", USAGE)
    folder, ends = chosen.place().unchanged().folder, time.time_ns() + expires if expires else 0
    token, secret = (
        rotated(folder, name, overlap, token_file(chosen.config, chosen.sets), ends)
        if rotate
        else created(folder, name, cast(Scope, scope), ends, agent)
    )
    row = {key: value for key, value in _row(token, 0).items() if key != "used"}
    if agent:
        _note_unknown(agent, chosen)
    if as_json:
        print_json(row | {"secret": secret})
        return
    # on standard output the secret only, so that it can go into a file or a pipe
    note(f"token {token.name}, scope {row['scope']}, expires {row['expires']}; the secret is shown only now:")
    say(secret)


def _note_unknown(agent: str, chosen: RunOptions) -> None:
    """Say that the configuration, where it can be read, has no outside agent of this name."""
    from quantd.daemon.config.agent_tables import EXTERNAL
    from quantd.daemon.config.mistakes import ConfigError

    try:
        config = chosen.read()
    except ConfigError:
        return
    names = [other.name for other in (*config.agents, *config.shadows) if other.policy == EXTERNAL]
    if agent not in names:
        has = f"the outside agents {', '.join(names)}" if names else "no outside agent"
        note(f"{chosen.config} has {has}: until `quantd agent add {agent}` the token proposes nothing")


def revoke(name: Name, chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    """Revoke a token. Its requests are refused and its event streams closed within a second."""
    count = revoked(chosen.place().unchanged().folder, name)
    answer(as_json, {"name": name, "revoked": count}, f"{name}: {count} {'secrets' if count > 1 else 'secret'} revoked")


def every(chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    """List the tokens, without their secrets."""
    folder: Path = chosen.place().unchanged().folder
    owner, now_ns = owner_of(folder / token_file(chosen.config, chosen.sets)), time.time_ns()
    rows = [_row(token, now_ns) for token in (*([owner] if owner is not None else []), *stored(folder))]
    none = "there are no tokens; `quantd run` makes the owner's token, `quantd token create` makes others"
    answer(as_json, {"tokens": rows}, (lambda: records(rows, list(rows[0]))) if rows else none)


def _row(token: Token, now_ns: int) -> dict[str, str]:
    """A token as a row of the list, without its secret."""
    expires_ns = token.expires_ns
    return {
        "name": token.name,
        "id": token.id,
        "scope": f"{token.scope} {token.agent}".rstrip(),
        "created": _second_text(token.created_ns),
        "expires": "never"
        if not expires_ns
        else f"{_second_text(expires_ns)}{' (expired)' if token.expired(now_ns) else ''}",
        "used": _second_text(token.used_ns),
    }


def _second_text(ts_ns: int) -> str:
    """An instant as text, without fractions of a second; empty for 0."""
    return iso(ts_ns // 10**9 * 10**9) if ts_ns else ""


COMMAND: Final = Command("Operate", 80, {"create": create, "list": every, "revoke": revoke})
