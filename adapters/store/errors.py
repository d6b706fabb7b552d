"""What a store can tell its caller when it cannot do its work. Each has one remedy."""

from quantd.trading.exit_codes import CONFIG, TRY_LATER, ExplainedError


class StoreError(ExplainedError):
    """The store did not do what was asked; nothing of the batch was kept."""


class StoreFull(StoreError):
    """No space left. The same batch can be committed again once there is."""

    exit_code = TRY_LATER


class StoreFailing(StoreError):
    """A write failed for another reason than space. The same batch can be tried again."""

    exit_code = TRY_LATER


class StoreDamaged(StoreError):
    """What is on disk is not what was written. Restore a backup, or start afresh with `--fresh`."""


class StoreLocked(StoreError):
    """Another process writes to this state folder."""

    exit_code = TRY_LATER


class StoreVersion(StoreError):
    """The store was made by another version of quantd, and cannot be opened as it is."""

    exit_code = CONFIG


class Held(StoreError):
    """Another process leads this account, or writes to this store."""

    exit_code = TRY_LATER


class Fenced(StoreError):
    """Another process took the lease while this one slept: nothing of this one is committed any more."""

    exit_code = TRY_LATER
