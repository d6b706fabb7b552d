"""Events about trained policies: retraining, loading, and exchange by hand. They are members of `events.External`."""

from typing import Literal

from msgspec import Struct


class Retrained(Struct, frozen=True, tag=True, omit_defaults=True):
    """The result of retraining a shadow's policy on data up to the date `until`.

    `failed` is the reason when there is no new version. No agent trades the new version yet. With `promoted`, the
    policy's folder resolves to `version` from the next start on. `digest` is the new manifest's digest and `current`
    that of the compared version. `sessions` is the length of the comparison, `gain` the annual excess in the measure of
    `rule`, `p` its p-value.
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
    """An operator loaded an artifact as the policy of `agent`, which decides with it from here on.

    `path` is the folder, as `policy` of [[agents]] would name it, and `version` its name among versions. `digest` is
    the manifest's. `configured` identifies what config.toml names for the agent at this time.
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
    """An operator exchanged the policies of a shadow and of the agent that it challenges, without a test.

    "promote" gives the agent the shadow's own policy, "demote" gives both their own again.
    """

    ts: int
    shadow: str
    command: Literal["promote", "demote"]
    reason: str
    who: str
