"""The policies of a run by seat: the configured ones, and the artifacts that operators loaded in their place.

The state has what was loaded, so that a recovered or replayed run decides with the same artifacts.

What can go wrong: the folder of a loaded artifact has other content at the next start. The digest of the load is in the
journal, and an artifact with another one is refused. A load is prepared before its event, because making a policy may
fail, and it decides only once the state has it. So each seat keeps two policies at most: the one that
decides, and the one that was prepared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from quantd.daemon.config import Agent
from quantd.daemon.policies.loading import PolicyError
from quantd.trading.display_text import instant_text
from quantd.trading.model_events import ModelLoaded
from quantd.trading.ports import Policy, leaves

Make = Callable[[int, str], Policy]
"""Makes the policy of a seat from an artifact of that name. Raises ValueError."""


class Seats:
    """The policy of each seat, by number. `loaded` gives what was loaded, by the names of the seats."""

    def __init__(
        self,
        configured: Sequence[Policy],
        names: Sequence[str],
        make: Make,
        loaded: Callable[[], Mapping[str, ModelLoaded]],
        methods: Sequence[str] = (),
    ) -> None:
        """`methods` are the policies of the seats as config.toml names them."""
        self._configured = configured
        self._names = names
        self._methods = methods
        self._make = make
        self._loaded = loaded
        self._made: dict[tuple[int, str, str], Policy] = {}
        """(seat, path, digest) -> the policy: for each seat the one that decides, and the one that was prepared."""

    def __call__(self, policy_number: int) -> Policy:
        """The policy that decides for a seat. Raises PolicyError for an artifact that is not the loaded one."""
        loaded = self._loaded()
        artifact = loaded.get(self._names[policy_number]) if loaded else None
        return self._configured[policy_number] if artifact is None else self._of(policy_number, artifact)

    def method(self, policy_number: int) -> str:
        """The name of the policy that decides for a seat now: the loaded artifact, else what config.toml names."""
        artifact = self._loaded().get(self._names[policy_number])
        return self._methods[policy_number] if artifact is None else artifact.path

    def all(self) -> tuple[Policy, ...]:
        """The policies of all seats."""
        return tuple(self(policy_number) for policy_number in range(len(self._configured)))

    def check(self, names: Iterable[str]) -> None:
        """Load the artifacts of these agents now. Raises PolicyError for one that cannot be loaded."""
        for name in names:
            self(self._names.index(name))

    def prepared(self, policy_number: int, path: str) -> Policy:
        """Return the policy of a seat from the artifact in `path`. Raises ValueError for one that cannot be loaded."""
        return self._make(policy_number, path)

    def take(self, policy_number: int, path: str, policy: Policy) -> None:
        """Use a prepared policy once the state has its artifact as loaded."""
        now = self._loaded().get(self._names[policy_number])
        kept = None if now is None else (policy_number, now.path, now.digest)
        for old in [key for key in self._made if key[0] == policy_number and key != kept]:
            del self._made[old]
        self._made[policy_number, path, artifacts_in(policy)] = policy

    def verify(self, loaded: ModelLoaded) -> None:
        """Raise PolicyError unless the folder has the artifact that was loaded. An agent that is gone needs none."""
        if loaded.agent in self._names:
            self._make_again(self._names.index(loaded.agent), loaded)

    def _of(self, policy_number: int, loaded: ModelLoaded) -> Policy:
        key = policy_number, loaded.path, loaded.digest
        if key not in self._made:
            policy = self._make_again(policy_number, loaded)
            for old in [other_key for other_key in self._made if other_key[0] == policy_number]:
                del self._made[old]
            self._made[key] = policy
        return self._made[key]

    def _make_again(self, policy_number: int, loaded: ModelLoaded) -> Policy:
        what = f"agent {loaded.agent} decides with {loaded.path}, which {loaded.who} loaded {instant_text(loaded.ts)}"
        remedy = "restore that artifact, or name another policy in config.toml"
        try:
            policy = self._make(policy_number, loaded.path)
        except ValueError as error:
            raise PolicyError(f"{what}; it cannot be used: {error}; {remedy}") from error
        if (now := artifacts_in(policy)) != loaded.digest:
            raise PolicyError(f"{what}; the journal has the digest {loaded.digest}, the folder now {now}; {remedy}")
        return policy


def no_artifact(policy_number: int, path: str) -> Policy:
    """Raise PolicyError: a shell without configured policies loads no artifact."""
    raise PolicyError(f"{path}: this run has no policies of its own")


def artifacts_in(policy: Policy) -> str:
    """The digests of the artifacts of a policy, joined by +; empty for none."""
    return "+".join(filter(None, (getattr(leaf, "digest", "") for leaf in leaves(policy))))


def configured_as(agent: Agent) -> str:
    """Identifies the policy of an agent in config.toml: the policy, with a digest of its parameters where it has any.

    A loaded artifact decides until this changes.
    """
    if not agent.params:
        return agent.policy
    text = msgspec.json.encode(dict(agent.params), order="sorted", enc_hook=_plain)
    return f"{agent.policy} {blake2b(text, digest_size=8).hexdigest()}"


def as_loaded(agents: Iterable[Agent], loaded: Mapping[str, ModelLoaded]) -> list[Agent]:
    """The agents with the names of their loaded artifacts as policies."""
    return [a.model_copy(update={"policy": loaded[a.name].path}) if a.name in loaded else a for a in agents]


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def continuing(agents: Iterable[Agent], loaded: Mapping[str, ModelLoaded]) -> tuple[str, ...]:
    """The agents whose loaded artifact decides under a configuration: those for which it names what it named then."""
    return tuple(a.name for a in agents if a.name in loaded and loaded[a.name].configured == configured_as(a))
