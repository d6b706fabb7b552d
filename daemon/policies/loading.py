"""Finds policies by their configured names, and calls them safely.

An exception, an invalid answer or a write into the view has no effect outside the policy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np

from quantd.daemon.policies.user_file import load_user_policy, place_of
from quantd.models.isolation.session import OpenGraph
from quantd.strategies.policies import COMPOSITES, MAX_DEPTH, POLICIES, Load, MemberFailed, nearest
from quantd.strategies.policies.members import Around
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import HOLD, MEMORY_BYTES, Hold, Memory, Noted, View

MAX_LEVERAGE: Final = 10.0
"""Maximum sum of absolute weights. A larger sum is taken for a mistake of units, and the answer fails."""

NOTE: Final = 300
"""Maximum length of a note in characters."""

_FLOAT64: Final = np.dtype("<f8")

PackedMemory = dict[str, tuple[tuple[int, ...], bytes]]
"""Name -> (shape, little-endian float64 bytes) of an array in memory."""

OnFailure = Callable[[Ask, str, BaseException], None]
"""Receives a failed question, the text about the failure, and the exception."""


class PolicyError(ExplainedError, ValueError):
    """A policy cannot be loaded; the text names it, its file and line if any, and the remedy."""

    exit_code = CONFIG


class Apart(Protocol):
    """Makes policies that run in separate processes."""

    def file(self, path: Path, attribute: str, params: Mapping[str, object]) -> Policy:
        """Return the policy of a user's file. Raises ParamsError for a file or parameters that cannot be used."""
        ...

    def registered(self, name: str, params: Mapping[str, object], policy: Policy) -> Policy:
        """The registered `policy`, created again in a separate process."""
        ...

    def graphs(self) -> OpenGraph:
        """Return a function that opens the graphs of one trained policy in a separate process."""
        ...

    def reading(self, folders: Sequence[Path]) -> "Apart":
        """A maker of isolated policies like this one, whose policy files can also read `folders`."""
        ...


def load(
    name: str,
    params: Mapping[str, object],
    folder: Path,
    isolation: Apart | None = None,
    unused: frozenset[str] = frozenset(),
) -> Policy:
    """Return the policy `name` of a configuration in `folder`.

    `name` is a registered name, the folder of an artifact (beside the configuration or bundled), or a user's
    `file.py:act`. With `isolation`, users' files, graphs and policies with `worker = True` run in separate processes. A
    policy that can do so leaves out the `unused` series of [feed] series. Raises PolicyError for an unknown name, wrong
    parameters, and a file or artifact that cannot be loaded.
    """
    try:
        return _load_member(name, params, folder, 0, isolation, unused)
    except PolicyError:
        raise
    except ValueError as error:
        raise PolicyError(str(error)) from error


def _load_member(
    name: str,
    params: Mapping[str, object],
    folder: Path,
    depth: int,
    isolation: Apart | None,
    unused: frozenset[str],
) -> Policy:
    """The policy `name`: registered, composite, an artifact or a file. Raises ValueError, so that a composite policy
    can name the wrong member.

    `depth` counts the composites around this policy.
    """
    if name in POLICIES:
        policy = POLICIES[name](params)
        if unused and (without_series := getattr(policy, "without_series", None)) is not None:
            policy = without_series(unused)
        return (
            isolation.registered(name, params, policy)
            if isolation is not None and getattr(policy, "worker", False)
            else policy
        )
    if name in COMPOSITES:
        if depth == MAX_DEPTH:
            text = f"{name!r} is nested more than {MAX_DEPTH} composites deep; move its members one level up"
            raise PolicyError(text)
        return COMPOSITES[name](params, members_in(folder, depth + 1, isolation, unused))
    if ".py" in name:
        path, _, attribute = name.partition(":")
        make = load_user_policy if isolation is None else isolation.file
        return make(folder / path, attribute or "act", params)
    # imported here because the process of a policy file does not need them
    from quantd.models.artifacts.loader import load_artifact
    from quantd.models.forests.allocation import make_learned_allocation
    from quantd.models.forests.params import NAME as LEARNED_ALLOCATION

    if name == LEARNED_ALLOCATION:
        return make_learned_allocation(params, lambda called: artifact_folder(called, folder), graphs_of(isolation))
    artifact = artifact_folder(name, folder)
    if (artifact / "manifest.json").is_file():
        return load_artifact(artifact, params, graphs_of(isolation))
    if (folder / name).is_dir() or "/" in name:
        raise PolicyError(
            f"policy {name!r}: no manifest.json in {folder / name}; name the folder of a trained artifact"
        )
    raise PolicyError(
        f"there is no policy {name!r}; {nearest(name, [*POLICIES, *COMPOSITES, LEARNED_ALLOCATION])} "
        "Write 'my_policy.py:act' for a file of your own, or the folder of a trained policy"
    )


def graphs_of(isolation: Apart | None) -> OpenGraph | None:
    """The function that opens the graphs of one trained policy: that of `isolation`, else the default (None)."""
    return None if isolation is None else isolation.graphs()


def fit(policy: Policy, universe: Universe) -> None:
    """Checks that the universe has every symbol that a policy needs. Raises PolicyError for a missing one."""
    for leaf in leaves(policy):
        try:
            getattr(leaf, "fit", any_universe)(universe)
        except ValueError as error:
            raise PolicyError(str(error)) from error


def any_universe(universe: Universe) -> None:
    """Accept any universe: the default of a policy that needs no particular symbols."""


def members_in(
    folder: Path, depth: int = 1, isolation: Apart | None = None, unused: frozenset[str] = frozenset()
) -> Load:
    """The function by which a composite policy of a configuration in `folder` loads its members."""
    return lambda name, params: Inner(_load_member(name, params, folder, depth, isolation, unused))


@dataclass(frozen=True, slots=True)
class Inner(Around):
    """A policy inside another policy: its answers are checked like an agent's before the outer policy uses them."""

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """The answer of the inner policy (`Policy.act`), with its weights checked for type, shape, finite values and
        leverage.

        Raises MemberFailed, with the line in the user's code, for any exception of the policy but KeyboardInterrupt.
        """
        try:
            weights, remembered = self.policy.act(view, memory)
            remembered = memory if remembered is None else remembered
            if isinstance(weights, Noted):
                return Noted(_row_or_hold(weights.weights, view), weights.note, warns=weights.warns), remembered
            return _row_or_hold(weights, view), remembered
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise MemberFailed(place_of(error, self.policy)) from error


def _row_or_hold(weights: object, view: View) -> Floats | Hold:
    return HOLD if isinstance(weights, Hold) else _checked_row(weights, view).astype(np.float64, copy=False)


def artifact_folder(name: str, folder: Path) -> Path:
    """The folder of the artifact `name`, or of its current version where `name` is a folder of versions.

    `name` is relative to the configuration's `folder`, or a bundled artifact. Raises ArtifactError where the version
    that is named as current does not exist.
    """
    from quantd.bundled import find
    from quantd.models.artifacts.versions import resolved

    artifact = resolved(find(name, folder))
    return artifact if (artifact / "manifest.json").is_file() else folder / name


def answer(policy: Policy, ask: Ask, on_failure: OnFailure | None = None) -> Decided:
    """The checked answer of `policy` to `ask`; raises only KeyboardInterrupt, and what `on_failure` raises.

    An exception, a wrong shape, a NaN or infinity, leverage above MAX_LEVERAGE and memory above 64 KiB are failures.
    After a failure the memory stays as it was at the call.
    """
    try:
        weights, memory = policy.act(ask.view, ask.memory)
        remembered = ask.memory if memory is None else memory
        packed = pack(remembered) if remembered else {}
        note, warns = "", False
        if isinstance(weights, Noted):
            note, warns = "".join(char if char.isprintable() else " " for char in weights.note[:NOTE]), weights.warns
            weights = weights.weights
        row = None if isinstance(weights, Hold) else _checked_row(weights, ask.view).tobytes()
        return Decided(ask.round, ask.agent, row, "", packed, note, warns)  # "": no failure
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a SystemExit in a user's file must not end the daemon
        text = place_of(error, policy)
        if on_failure is not None:
            on_failure(ask, text, error)
        return Decided(ask.round, ask.agent, None, text, pack(ask.memory))  # None: no weights


def _checked_row(weights: object, view: View) -> Floats:
    """`weights` as little-endian float64[N], one for each symbol. Raises ValueError for invalid weights.

    Invalid are another type or shape, NaN or infinity, and a sum of absolute weights above MAX_LEVERAGE.
    """
    size = len(view.universe.instruments)
    row = weights if type(weights) is np.ndarray else by_column(weights, view)
    if row.dtype is not _FLOAT64 or row.shape != (size,):
        if row.dtype.kind not in "fiu":
            raise ValueError(f"weights are {row.dtype}, not numbers; return numbers, or 'hold' to keep what is held")
        if row.shape != (size,):
            raise ValueError(f"weights have shape {row.shape}; one number for each of the {size} symbols is expected")
        row = row.astype(_FLOAT64, copy=False)
    # for weights w of n symbols, sum |w| <= sqrt(n * sum w^2): one product shows that a usual answer is finite and
    # bounded, without the checks below. vdot gives no warning of an overflow, which dot gives
    if size * float(np.vdot(row, row)) <= MAX_LEVERAGE**2:
        return row
    with np.errstate(over="ignore"):
        gross = float(np.abs(row).sum())
    finite = np.isfinite(row)
    if not finite.all():
        column = int(np.argmin(finite))
        raise ValueError(f"the weight of {view.universe.symbols[column]} is {row[column]}")
    if gross > MAX_LEVERAGE:
        raise ValueError(
            f"weights add up to {gross:.6g} times the book; {MAX_LEVERAGE:g} is the most that is believed "
            "(weights are fractions: 0.25, not 25)"
        )
    return row


def by_column(weights: object, view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Weights from an answer that is not an array: a mapping or series of symbol -> weight, or a sequence by column.

    A symbol that a mapping does not name has weight 0. Raises ValueError for an unknown symbol, for None and for
    "hold". Shape and type of a sequence are not checked here.
    """
    if isinstance(weights, str) and weights == "hold":
        raise ValueError("'hold' is an answer without weights; return it alone, or numbers for all symbols")
    labels = getattr(weights, "index", None)
    # a series of pandas; `index` of a list is a method
    if labels is not None and not callable(labels) and hasattr(weights, "to_dict"):
        weight_by_label = cast(Mapping[object, object], weights.to_dict())
        # labels 0..N-1 in order mean columns, symbols mean names; a sorted or filtered series has lost its columns
        if list(weight_by_label) == list(range(len(view.prices))):
            weights = list(weight_by_label.values())
        elif weight_by_label and not any(isinstance(label, str) for label in weight_by_label):
            raise ValueError("a series of weights has the symbols as its index: pd.Series(w, view.universe.symbols)")
        else:
            weights = weight_by_label
    if isinstance(weights, Mapping):
        row = np.zeros(len(view.prices))
        for symbol, weight in weights.items():
            if symbol not in view.universe.index:
                remedy = nearest(str(symbol), view.universe.index)
                raise ValueError(f"weights name {symbol!r}, which is not traded; {remedy}")
            if isinstance(weight, bool | np.bool_):  # a signal: True would be all the capital
                raise ValueError(f"{symbol} has {weight}; write a number")
            row[view.universe.index[symbol]] = float(weight)
        return row
    if weights is None:
        raise ValueError("act returned nothing; return the weights, or 'hold' to keep what is held")
    return np.asarray(weights)


def pack(memory: Memory) -> PackedMemory:
    """A policy's memory in the journal's format. Raises ValueError above 64 KiB."""
    if not memory:
        return {}
    packed: PackedMemory = {}
    size = 0
    for name, value in memory.items():
        if not isinstance(name, str):
            raise ValueError(f"memory has the name {name!r}, which is no text; write a string")
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"memory {name!r} is {array.dtype}, not numbers")
        size += 8 * (array.size + array.ndim) + len(name.encode())  # 8 bytes for each value and each size of the shape
        if size > MEMORY_BYTES:
            raise ValueError(f"memory is larger than {MEMORY_BYTES // 1024} KiB with {name!r}; store less")
        packed[name] = (array.shape, array.astype(_FLOAT64, copy=False).tobytes())
    return packed


def probe(policy: Policy, view: View) -> str:
    """Calls a policy twice on one view. Returns a sentence about the first difference, empty for equal answers."""
    first, second = (answer(policy, Ask(0, 0, view, {})) for _ in range(2))  # round and agent 0 are not read
    for decided in (first, second):
        if decided.failed:
            return f"it fails: {decided.failed}"
    if (first.weights is None) != (second.weights is None):
        return "two calls on the same view differ: one held, one traded; it draws random numbers or has hidden state"
    # both answers have weights, and these differ
    if first.weights != second.weights and first.weights and second.weights:
        first_weights, second_weights = np.frombuffer(first.weights), np.frombuffer(second.weights)
        column = int(np.argmax(np.abs(first_weights - second_weights)))
        return (
            f"two calls on the same view differ: {view.universe.symbols[column]} {first_weights[column]:.6g} and "
            f"{second_weights[column]:.6g}; "
            "it draws random numbers or has hidden state (store state in memory, seed random numbers)"
        )
    if first.memory != second.memory:
        return "two calls on the same view returned different memory; it draws random numbers or has hidden state"
    return ""
