"""Events about trained policies: retraining, loading, and exchange by hand. They belong to the union
`events.External`."""

from typing import Literal

from msgspec import Struct


class Retrained(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the result of retraining a shadow agent's policy on data up to the date `until`.

    `failed` is the reason if there is no new version. No agent trades by the new version yet. With `promoted`, the
    policy's folder points to `version` from the next start on. `digest` is the digest of the new version's manifest,
    `current` the digest of the version that it was compared with. `sessions` is the length of the comparison in
    sessions, `gain` the annual excess in the measure of `rule`, `p` the p-value of the gain.
    """

    ts: int
    agent: str
    until: str = ""
    version: str = ""
    digest: str = ""
    current: str = ""
    promoted: bool = False
    reason: str = ""
    rule: str = ""
    sessions: int = 0
    gain: float = 0.0
    p: float = 1.0
    failed: str = ""


class ModelLoaded(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator loaded an artifact as the policy of `agent`, which decides by this policy from now on.

    `path` is the folder, as `policy` of [[agents]] would name it, and `version` the artifact's name among the versions.
    `digest` is the digest of its manifest. `configured` identifies the policy that config.toml names for the agent at
    this time.
    """

    ts: int
    agent: str
    path: str
    digest: str
    configured: str
    reason: str
    who: str
    version: str = ""


class Exchanged(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator exchanged the policies of a shadow agent and of the agent that it challenges, without a test.

    "promote" gives each the other's policy, so that the agent trades by the shadow's policy. "demote" gives both their
    configured policies again.
    """

    ts: int
    shadow: str
    command: Literal["promote", "demote"]
    reason: str
    who: str
