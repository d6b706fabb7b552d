"""Errors of the store. Each class has one remedy."""

from typing import Final

from quantd.trading.exit_codes import CONFIG, TRY_LATER, ExplainedError

NO_RUN: Final = "the store has no run yet; `quantd run` begins one"

REMEDY: Final = "Restore a backup with `quantd restore`, or start a new run in another folder with --state."


class StoreError(ExplainedError):
    """A store operation failed, and nothing of the batch was stored."""


class StoreMismatch(StoreError):
    """A request that does not fit what is stored: no store or backup at a path, a path in use, an unknown run, order or
    decision. The same request fails again."""


class StoreUnavailable(StoreError):
    """An error that may pass: the same command can succeed later."""

    exit_code = TRY_LATER


class StoreFull(StoreUnavailable):
    """The disk is full. The same batch can be committed again once space is available."""


class StoreFailing(StoreUnavailable):
    """A write failed for a reason other than space. The same batch can be tried again."""


class StoreDamaged(StoreError):
    """The data on disk differ from the written data. The message ends with a remedy: a specific one, or the text
    REMEDY."""

    def __str__(self) -> str:
        text = super().__str__().rstrip(".")
        # a message with a remedy of its own says what to restore
        return text if "restore" in text.lower() else f"{text}. {REMEDY}"


class StoreLocked(StoreUnavailable):
    """Another process writes to this state folder."""


class StoreVersion(StoreError):
    """Another version of quantd created the store, and this version cannot open it unchanged."""

    exit_code = CONFIG


class Held(StoreUnavailable):
    """Another process holds the lease (the right to write) of this account, or writes to this store."""


class Fenced(StoreUnavailable):
    """Another process took the lease, for example during a suspension; this process can commit nothing more."""
