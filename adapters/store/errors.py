"""What a store can tell its caller when it cannot do its work. Each has one remedy."""


class StoreError(Exception):
    """The store did not do what was asked; nothing of the batch was kept."""


class StoreFull(StoreError):
    """No space left. The same batch can be committed again once there is."""


class StoreFailing(StoreError):
    """A write failed for another reason than space. The same batch can be tried again."""


class StoreDamaged(StoreError):
    """What is on disk is not what was written. Restore a backup, or start afresh with `--fresh`."""


class StoreLocked(StoreError):
    """Another process writes to this state folder."""


class StoreVersion(StoreError):
    """The store was made by another version of quantd, and cannot be opened as it is."""


class Held(StoreError):
    """Another process leads this account, or writes to this store."""


class Fenced(StoreError):
    """Another process took the lease while this one slept: nothing of this one is committed any more."""
