"""Events about trained policies: their retraining, and their loading and exchange by an operator. These events belong
to the union `events.External`. The base of all events that a person's request makes is here too."""

from typing import Literal

from msgspec import Struct


class Act(Struct, frozen=True, tag=True, omit_defaults=True, kw_only=True):
    """Base of the events that a request makes.

    `key` has the sender and the idempotency key of the request, with a space between; it is empty for a request without
    a key. `request` is the digest of its path and body.
    """

    key: str = ""
    request: bytes = b""


class Retrained(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the result of retraining a shadow agent's policy on data up to the date `until`.

    `failed` is the reason why there is no new version; empty where there is one. No agent trades by the new version
    yet. With `promoted`, the policy's folder points to `version`, which is used from the next start on. `digest` is the
    digest of the new version's manifest. The new version was compared with another model, whose manifest has the digest
    `current`. `rule` names the performance measure of the comparison, such as "sharpe". `gain` is the yearly measure of
    the new version less the measure of the other model, and `p` the p-value of the gain. `sessions` is the number of
    sessions compared.
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


class ModelLoaded(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator loaded an artifact as the policy of `agent`, which decides by this policy from now on.

    `path` is the artifact's folder, written as a value of the key `policy` in config.toml. `digest` is the digest of
    its manifest, `version` its name in a folder of versions (empty if it is in none). `configured` is the policy that
    config.toml has for the agent at this time, with a digest of its parameters if it has any. `who` is the operator,
    `reason` the text that the operator gave.
    """

    ts: int
    agent: str
    path: str
    digest: str
    configured: str
    reason: str
    who: str
    version: str = ""


class Exchanged(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator exchanged the policies of a shadow agent and of the agent that it challenges, without a test.

    The command "promote" swaps the two policies, so that the agent trades by the shadow's policy. The command "demote"
    returns both to their configured policies. `who` is the operator, `reason` the text that the operator gave.
    """

    ts: int
    shadow: str
    command: Literal["promote", "demote"]
    reason: str
    who: str
