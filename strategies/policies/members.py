"""Policies made of policies: loading the members, asking them, and keeping what each remembers apart.

A member's book is the composite's own unless the composite says otherwise. A member that raises or answers nonsense
does not fail the composite while another answers: it is left out, and the composite says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from quantd.strategies.policies.params import ParamsError, nearest
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import HOLD, Hold, Memory, Noted, View

MAX_DEPTH: Final = 4
"""Composites within composites: deeper is a mistake, or a policy that names itself."""


RULED: Final = "policy"
"""Where in an agent's memory that of the policy inside its sizing or rebalancing rules stands."""


class Load(Protocol):
    """Finds a member: a registered name, the folder of an artifact, or a user's file. Raises ValueError."""

    def __call__(self, name: str, params: Mapping[str, object]) -> Policy: ...


class MemberFailed(ValueError):
    """A member's failure told in one line; its text begins with what kind it was."""


class MemberError(ParamsError):
    """A member that cannot be loaded; `path` leads to it, from the composite's params on."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text


class Member(Struct, frozen=True, forbid_unknown_fields=True):
    """One member as params name it: `policy` as an agent names one, with params of its own."""

    policy: str
    params: dict[str, object] = {}
    name: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A member and what people call it."""

    name: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Said:
    """What one member answered. `failed` is empty, or why it has no say; `note` and `warns` are its word for people."""

    weights: Floats | Hold
    memory: Memory
    note: str = ""
    warns: bool = False
    failed: str = ""


P = TypeVar("P", bound=Struct)


def params_of(policy: str, params: Mapping[str, object], kind: type[P]) -> P:
    """`params` of a composite as the frozen class `kind`; ParamsError names the path of what is wrong in it."""
    for key in params:
        if key not in kind.__struct_fields__:
            raise ParamsError(f"{policy} has no parameter {key!r}; {nearest(key, kind.__struct_fields__)}")
    try:
        return msgspec.convert(_plain(params), kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).replace("`", "").partition(" - at $")
        raise ParamsError(f"{policy}: params{place}: {reason[0].lower()}{reason[1:]}") from None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value


def load_member(member: Member, path: str, load: Load) -> Loaded:
    """`member` found by `load`; MemberError names `path` (params.members[1]) and what below it is wrong."""
    try:
        return Loaded(member.name or member.policy, load(member.policy, member.params))
    except MemberError as error:
        raise MemberError(f"{path}.{error.path}", error.text) from None
    except ParamsError as error:
        raise MemberError(f"{path}.params", str(error)) from None
    except ValueError as error:
        raise MemberError(f"{path}.policy", str(error)) from None


def load_members(members: Sequence[Member], load: Load) -> tuple[Loaded, ...]:
    """All of params.members, each under a name of its own: two of one name are numbered."""
    found = [load_member(each, f"params.members[{k}]", load) for k, each in enumerate(members)]
    names = [each.name for each in found]
    return tuple(
        Loaded(f"{each.name} #{k + 1}" if names.count(each.name) > 1 else each.name, each.policy)
        for k, each in enumerate(found)
    )


def own_memory(memory: Memory, space: str) -> dict[str, Any]:
    """What stands in `memory` under `space`."""
    prefix = f"{space}/"
    return {name[len(prefix) :]: value for name, value in memory.items() if name.startswith(prefix)}


def under(space: str, memory: Memory) -> dict[str, Any]:
    """`memory` as it is kept under `space`."""
    return {f"{space}/{name}": value for name, value in memory.items()}


def leaves_with_memory(policy: Policy, memory: Memory, path: str = "") -> Iterator[tuple[str, Policy, Memory]]:
    """Each of quantd.trading.ports.leaves with its own part of `memory`, and the path of members that leads to it
    (`0/bull`, empty for the policy itself and what only rules stand around). What a policy is made of (`inside`)
    remembers under its
    `spaces`, in the same order; one that has none hands its memory on as it is."""
    inside: tuple[Policy, ...] = getattr(policy, "inside", ())
    if not inside:
        yield path, policy, memory
        return
    spaces: tuple[str, ...] = getattr(policy, "spaces", ("",) * len(inside))
    for each, space in zip(inside, spaces, strict=True):
        named = "/".join(filter(None, (path, "" if space == RULED else space)))
        yield from leaves_with_memory(each, own_memory(memory, space) if space else memory, named)


def ask(member: Loaded, view: View, memory: Memory) -> Said:
    """What `member` says; a failure keeps the memory it was asked with."""
    try:
        given, remembered = member.policy.act(view, memory)
        note, warns = (given.note, given.warns) if isinstance(given, Noted) else ("", False)
        answer = given.weights if isinstance(given, Noted) else given
        if isinstance(answer, Hold):
            return Said(HOLD, remembered, note, warns)
        if answer.shape != view.prices.shape or not np.isfinite(answer).all():
            # no figures: a note that changes every day would be said every day
            return Said(HOLD, memory, failed="answers what are no weights")
        return Said(answer, remembered, note, warns)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of a user's file must not end the daemon
        kind = "" if isinstance(error, MemberFailed) else type(error).__name__
        return Said(HOLD, memory, failed=": ".join(each for each in (kind, str(error)) if each))


def none_answers(members: Sequence[Loaded], said: Sequence[Said]) -> ValueError:
    """The failure of a composite of which no member answers."""
    each = "; ".join(f"{m.name}: {s.failed}" for m, s in zip(members, said, strict=True))
    return ValueError(f"no member answers: {each}")


def noted(answer: Floats | Hold, words: Iterable[tuple[str, bool]]) -> Floats | Hold | Noted:
    """`answer` with its (word, warns) for people, in order; as it is when nobody says anything."""
    kept = [(word, warns) for word, warns in words if word]
    if not kept:
        return answer
    return Noted(answer, "; ".join(word for word, _ in kept), warns=any(warns for _, warns in kept))


def words_of(member: Loaded, said: Said) -> tuple[str, bool]:
    """A member's word under its name. Of a failure only its kind: its text may have figures that move every day."""
    if said.failed:
        return f"{member.name} fails ({said.failed.partition(':')[0]}): it has no say", True
    return (f"{member.name}: {said.note}", said.warns) if said.note else ("", False)


Composite = Callable[[Mapping[str, object], Load], Policy]
"""A composite's parameters and how members are found -> a policy; raises ParamsError for wrong ones."""
