"""Composite policies, made of member policies: loading the members, their answers, and a part of the memory for each.

What can go wrong: a member from a user's file raises, exits or answers numbers that are not finite. Such a member loses
its vote with a warning, and its memory does not change, so that it can continue later. The composite fails only when no
member answers. SystemExit counts as a failure too; only KeyboardInterrupt is passed on.

A member decides for the composite's own book, unless the composite defines another book for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Protocol

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.params import ParamsError
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import HOLD, Hold, Memory, Noted, View, own_memory

MAX_DEPTH: Final = 4
"""Maximum depth of nested composites; a policy that contains itself exceeds it."""


RULED: Final = "policy"
"""Prefix in an agent's memory for the entries of the policy to which sizing or rebalancing rules apply."""


class Load(Protocol):
    """Loads a member of a composite policy: a registered name, the folder of an artifact, or a user's file.

    Raises ValueError for a member that cannot be loaded.
    """

    def __call__(self, name: str, params: Mapping[str, object]) -> Policy: ...


class MemberFailed(ValueError):
    """A member policy failed; the text is one line that begins with the kind of error."""


class MemberError(ParamsError):
    """A member policy cannot be loaded; `path` is its place in the composite's params, such as `params.members[1]`."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text


class Member(Struct, frozen=True, forbid_unknown_fields=True):
    """One member policy in the params of a composite: a `policy`, named as in an agent, with its own params."""

    policy: str
    params: dict[str, object] = {}
    name: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded member of a composite policy, with its display name."""

    name: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Answer:
    """A member policy's answer, with its new memory. `failed` is the reason of a failure, empty without a failure.

    `note` is a message for operators; `warns` marks an answer that deviates from the policy's intention.
    """

    weights: Floats | Hold
    memory: Memory
    note: str = ""
    warns: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Based:
    """A composite policy that adjusts the weights of one policy, `base`."""

    base: Loaded

    spaces: ClassVar = ("base",)

    @property
    def inside(self) -> tuple[Policy, ...]:
        return (self.base.policy,)


@dataclass(frozen=True, slots=True)
class Around:
    """One `policy`, whose answers the outer policy checks or changes."""

    policy: Policy

    @property
    def inside(self) -> tuple[Policy, ...]:
        return (self.policy,)

    @property
    def lookback(self) -> int:
        """The lookback of the policy inside, in samples."""
        return self.policy.lookback


@dataclass(frozen=True, slots=True)
class Ruled(Around):
    """An agent's `policy` together with the sizing or rebalancing rules around it."""

    spaces: ClassVar = (RULED,)


def stateless(policy: Policy) -> bool:
    """Return True where the answers of a policy follow from the view alone: it keeps nothing, and says no notes."""
    return bool(getattr(policy, "stateless", False)) or getattr(policy, "act_rows", None) is not None


class Question(NamedTuple):
    """What a composite policy passes to one component; `space` is the component's name and its prefix in the memory."""

    space: str
    policy: Policy
    view: View
    memory: Memory


Questions = Callable[[View, Memory], Sequence[Question]]


def load_member(member: Member, path: str, load: Load) -> Loaded:
    """Load `member`. Raises MemberError whose text begins with `path` (`params.members[1]`) and names the mistake."""
    try:
        return Loaded(member.name or member.policy, load(member.policy, member.params))
    except MemberError as error:
        raise MemberError(f"{path}.{error.path}", error.text) from None
    except ParamsError as error:
        raise MemberError(f"{path}.params", str(error)) from None
    except ValueError as error:
        raise MemberError(f"{path}.policy", str(error)) from None


def load_members(members: Sequence[Member], load: Load) -> tuple[Loaded, ...]:
    """Load params.members. Several members of one name get numbers: `momentum #2`."""
    loaded = [load_member(member, f"params.members[{k}]", load) for k, member in enumerate(members)]
    names = [member.name for member in loaded]
    return tuple(
        Loaded(f"{member.name} #{k + 1}" if names.count(member.name) > 1 else member.name, member.policy)
        for k, member in enumerate(loaded)
    )


def leaves_with_memory(policy: Policy, memory: Memory, path: str = "") -> Iterator[tuple[str, Policy, Memory]]:
    """Yield the path (`0/bull`), policy and memory of each component policy (quantd.trading.ports.leaves).

    The path is empty for the policy itself, also if sizing or rebalancing rules surround it. A policy may list its
    components as `inside`, and for each a prefix of its keys in the memory as `spaces`; without `spaces` they share
    the memory. A policy to which sizing or rebalancing rules apply has the space RULED, which paths omit.
    """
    inside: tuple[Policy, ...] = getattr(policy, "inside", ())
    if not inside:
        yield path, policy, memory
        return
    spaces: tuple[str, ...] = getattr(policy, "spaces", ("",) * len(inside))
    for component, space in zip(inside, spaces, strict=True):
        component_path = "/".join(filter(None, (path, "" if space == RULED else space)))
        yield from leaves_with_memory(component, own_memory(memory, space) if space else memory, component_path)


def leaves_asked(
    policy: Policy, view: View, memory: Memory, path: str = ""
) -> Iterator[tuple[str, Policy, View, Memory]]:
    """Yield the path, policy, view and memory of each component policy that decides at `view`.

    A composite whose components see another book, other columns or other memory has a method `questions`. The
    components of any other composite see its view, and the memory under their `spaces` (prefixes of keys). The path
    (`0/bull`) omits RULED, the space of a policy to which sizing or rebalancing rules apply.
    """
    inside: tuple[Policy, ...] = getattr(policy, "inside", ())
    if not inside:
        yield path, policy, view, memory
        return
    questions: Questions | None = getattr(policy, "questions", None)
    if questions is not None:
        asked = questions(view, memory)
    else:
        spaces: tuple[str, ...] = getattr(policy, "spaces", ("",) * len(inside))
        asked = [
            Question(space, component, view, own_memory(memory, space) if space else memory)
            for component, space in zip(inside, spaces, strict=True)
        ]
    for space, component, component_view, component_memory in asked:
        yield from leaves_asked(
            component, component_view, component_memory, "/".join(filter(None, (path, "" if space == RULED else space)))
        )


def unpacked(answer: Floats | Hold | Noted) -> tuple[Floats | Hold, str, bool]:
    """Return the weights of an answer, its note (empty without one), and True if the note is a warning."""
    return (answer.weights, answer.note, answer.warns) if isinstance(answer, Noted) else (answer, "", False)


def ask(member: Loaded, view: View, memory: Memory) -> Answer:
    """Return the answer of `member`, a member policy of a composite. A failure leaves the member's memory unchanged.

    The answer after a failure is HOLD, with the reason in `failed`: an exception, or weights of a wrong shape or with
    NaN.
    """
    try:
        answer, remembered = member.policy.act(view, memory)
        weights, note, warns = unpacked(answer)
        if isinstance(weights, Hold):
            return Answer(HOLD, remembered, note, warns)
        if weights.shape != view.prices.shape or not np.isfinite(weights).all():
            # no figures: a note that changes every day would be published every day
            return Answer(HOLD, memory, failed="its weights are invalid")
        return Answer(weights, remembered, note, warns)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit of a user's file must not end the daemon
        kind = "" if isinstance(error, MemberFailed) else type(error).__name__
        return Answer(HOLD, memory, failed=": ".join(text for text in (kind, str(error)) if text))


def ask_one(member: Loaded, view: View, memory: Memory, space: str) -> Answer:
    """Return the answer of `member`, the only one that decides, with its memory under the prefix `space` of `memory`.

    Raises ValueError if the member fails.
    """
    answer = ask(member, view, own_memory(memory, space))
    if answer.failed:
        raise none_answers([member], [answer])
    return answer


def none_answers(members: Sequence[Loaded], answers: Sequence[Answer]) -> ValueError:
    failures = "; ".join(f"{m.name}: {a.failed}" for m, a in zip(members, answers, strict=True))
    return ValueError(f"no member answers: {failures}")


def noted(weights: Floats | Hold, words: Iterable[tuple[str, bool]]) -> Floats | Hold | Noted:
    """Return `weights` with the joined notes of `words`, (note, whether it warns); unchanged if all notes are empty."""
    nonempty = [(word, warns) for word, warns in words if word]
    if not nonempty:
        return weights
    return Noted(weights, "; ".join(word for word, _ in nonempty), warns=any(warns for _, warns in nonempty))


def words_of(member: Loaded, answer: Answer) -> tuple[str, bool]:
    """Return (note, whether it warns) of a member's answer; the note begins with the member's name.

    A failure is named by its kind only, because its text may have figures that change every day.
    """
    if answer.failed:
        return f"{member.name} fails ({answer.failed.partition(':')[0]}): left out", True
    return (f"{member.name}: {answer.note}", answer.warns) if answer.note else ("", False)


Composite = Callable[[Mapping[str, object], Load], Policy]
"""Makes a composite from its parameters and a function that loads members. Raises ParamsError for wrong parameters."""
