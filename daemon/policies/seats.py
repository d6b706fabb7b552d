"""The policies of a run by seat: the configured policies, and the artifacts that operators loaded in their place.

A seat is the index of a configured policy. The state names the loaded artifacts, so that a recovered or replayed run
decides with the same artifacts.

What can go wrong: the folder of a loaded artifact has other content at the next start. So the digest at the load is in
the journal, and an artifact with another digest is refused. The policy of an artifact is made before the event of its
load, because making it may fail, and it decides only once the state names the artifact. So each seat has two policies
at most: the one that decides, and the one that was prepared.
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
"""Makes the policy of a seat from the path of an artifact. Raises ValueError."""


class Seats:
    """The policy of each seat (index of a configured policy).

    `loaded` returns the artifacts that operators loaded and that are in force, by the names of the seats' agents.
    """

    def __init__(
        self,
        configured: Sequence[Policy],
        names: Sequence[str],
        make: Make,
        loaded: Callable[[], Mapping[str, ModelLoaded]],
        methods: Sequence[str] = (),
    ) -> None:
        """`configured` are the policies and `names` the agents of the seats; `make` loads the policy of an artifact.

        `methods` are the policies of the seats as config.toml names them.
        """
        self._configured = configured
        self._names = names
        self._methods = methods
        self._make = make
        self._loaded = loaded
        self._policies: dict[tuple[int, str, str], Policy] = {}
        """(seat, path, digest) -> the policy: for each seat the one that decides, and the one that was prepared."""

    def __call__(self, policy_index: int) -> Policy:
        """The policy that decides for a seat (a configured policy). Raises PolicyError if its artifact changed."""
        loaded = self._loaded()
        artifact = loaded.get(self._names[policy_index]) if loaded else None
        return self._configured[policy_index] if artifact is None else self._artifact_policy(policy_index, artifact)

    def method(self, policy_index: int) -> str:
        """The name of the policy that decides for a seat: the loaded artifact, else the configured policy."""
        artifact = self._loaded().get(self._names[policy_index])
        return self._methods[policy_index] if artifact is None else artifact.path

    def all(self) -> tuple[Policy, ...]:
        """The policies that decide now, one for each seat (configured policy)."""
        return tuple(self(policy_index) for policy_index in range(len(self._configured)))

    def check(self, names: Iterable[str]) -> None:
        """Load the artifacts of these agents now. Raises PolicyError for an artifact that cannot be loaded."""
        for name in names:
            self(self._names.index(name))

    def prepared(self, policy_index: int, path: str) -> Policy:
        """Make the policy of a seat (configured policy) from the artifact in `path`. Raises ValueError on failure."""
        return self._make(policy_index, path)

    def take(self, policy_index: int, path: str, policy: Policy) -> None:
        """Store a prepared policy; it decides once the state names its artifact as loaded.

        Other policies prepared for this seat (configured policy) are dropped; the policy that decides now stays.
        """
        deciding = self._loaded().get(self._names[policy_index])
        deciding_key = None if deciding is None else (policy_index, deciding.path, deciding.digest)
        for old in [key for key in self._policies if key[0] == policy_index and key != deciding_key]:
            del self._policies[old]
        self._policies[policy_index, path, artifacts_in(policy)] = policy

    def verify(self, loaded: ModelLoaded) -> None:
        """Raise PolicyError unless the folder still has the artifact that was loaded.

        An agent that is no longer configured needs no artifact.
        """
        if loaded.agent in self._names:
            self._make_again(self._names.index(loaded.agent), loaded)

    def _artifact_policy(self, policy_index: int, loaded: ModelLoaded) -> Policy:
        key = policy_index, loaded.path, loaded.digest
        if key not in self._policies:
            policy = self._make_again(policy_index, loaded)
            for old in [other_key for other_key in self._policies if other_key[0] == policy_index]:
                del self._policies[old]
            self._policies[key] = policy
        return self._policies[key]

    def _make_again(self, policy_index: int, loaded: ModelLoaded) -> Policy:
        """The policy of an artifact that the state names as loaded, read from its folder.

        Raises PolicyError if it cannot be used, or if its digest is not the one in the journal.
        """
        load_text = (
            f"agent {loaded.agent} decides with {loaded.path}, which {loaded.who} loaded {instant_text(loaded.ts)}"
        )
        remedy = "restore that artifact, or name another policy in config.toml"
        try:
            policy = self._make(policy_index, loaded.path)
        except ValueError as error:
            raise PolicyError(f"{load_text}; it cannot be used: {error}; {remedy}") from error
        if (digest := artifacts_in(policy)) != loaded.digest:
            raise PolicyError(
                f"{load_text}; the journal has the digest {loaded.digest}, the folder now {digest}; {remedy}"
            )
        return policy


def no_artifact(policy_index: int, path: str) -> Policy:
    """Raise PolicyError: a shell (runner of one engine) without configured policies loads no artifact."""
    raise PolicyError(f"{path}: an artifact cannot be loaded in a run without configured policies")


def artifacts_in(policy: Policy) -> str:
    """The digests of the artifacts of a policy, joined by +; empty for none."""
    return "+".join(filter(None, (getattr(leaf, "digest", "") for leaf in leaves(policy))))


def configured_as(agent: Agent) -> str:
    """Identifies the policy of an agent in config.toml: the policy, with a digest of its parameters where it has any.

    A loaded artifact decides until this text changes.
    """
    if not agent.params:
        return agent.policy
    text = msgspec.json.encode(dict(agent.params), order="sorted", enc_hook=_plain)
    return f"{agent.policy} {blake2b(text, digest_size=8).hexdigest()}"


def as_loaded(agents: Iterable[Agent], loaded: Mapping[str, ModelLoaded]) -> list[Agent]:
    return [
        agent.model_copy(update={"policy": loaded[agent.name].path}) if agent.name in loaded else agent
        for agent in agents
    ]


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def continuing(agents: Iterable[Agent], loaded: Mapping[str, ModelLoaded]) -> tuple[str, ...]:
    """The names of the agents whose loaded artifact still decides.

    The loaded artifact decides while the agent's policy in config.toml is the same as it was at the load.
    """
    return tuple(
        agent.name for agent in agents if agent.name in loaded and loaded[agent.name].configured == configured_as(agent)
    )
