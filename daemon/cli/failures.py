"""From what went wrong to one message and an exit code. No user ever sees a traceback."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Final

from quantd.trading.visible_text import visible

DONE: Final = 0
CHECK_FAILED: Final = 1
USAGE: Final = 2
TRY_LATER: Final = 75
INTERRUPTED: Final = 130
CONFIG: Final = 78


class Failure(Exception):
    """What a command could not do, in words for its user."""

    def __init__(self, text: str, code: int = CHECK_FAILED) -> None:
        super().__init__(text)
        self.code = code


def guarded(command: Callable[[], object]) -> int:
    """Run a command; its exit code. Messages go to standard error."""
    try:
        result = command()
        sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone (`quantd orders | head`): nothing is wrong, and nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else CHECK_FAILED
    except BaseException as error:
        text, code = explained(error)
        _say(text)
        return code


def explained(error: BaseException) -> tuple[str, int]:
    """The message and the exit code of what ended a command; the stack of a fault of ours is kept in a file."""
    known = _explained(_leaf(error))
    if known is not None:
        return known
    handle, path = tempfile.mkstemp(prefix="quantd-error-", suffix=".txt", text=True)
    with os.fdopen(handle, "w") as file:
        traceback.print_exception(error, file=file)
    leaf = _leaf(error)
    text = " ".join(str(leaf).split()) or "no text"
    text = f"quantd: this is a fault of quantd itself ({type(leaf).__name__}: {text:.300}). Details are in {path}"
    return text, CHECK_FAILED


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr)  # noqa: T201 - the one place where a command says why it failed


def _leaf(error: BaseException) -> BaseException:
    """The first thing in a group of failed tasks that can be explained, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(each) for each in error.exceptions]
    return next((each for each in leaves if _explained(each) is not None), leaves[0])


def _explained(error: BaseException) -> tuple[str, int] | None:
    """(message, exit code) of a failure that was foreseen. Modules that were never imported raised nothing."""
    if isinstance(error, Failure):
        return str(error), error.code
    code = getattr(error, "code", None)
    for module, names in _FORESEEN.items():
        loaded = sys.modules.get(module)
        for name, fixed in names.items():
            kind = getattr(loaded, name, None)
            if isinstance(kind, type) and isinstance(error, kind):
                return str(error), code if isinstance(code, int) else fixed
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}", CHECK_FAILED
    return None


_FORESEEN: Final[dict[str, dict[str, int]]] = {
    "quantd.daemon.config.mistakes": {"ConfigError": CONFIG},
    "quantd.daemon.runtime.schedule": {"ScheduleError": CONFIG},
    "quantd.models.artifacts.manifest": {"ArtifactError": CONFIG},
    "quantd.models.export.quantization": {"TooDifferent": CHECK_FAILED},
    "quantd.models.artifacts.signature": {"KeyFault": CONFIG},
    "quantd.models.learners.record": {"Diverged": CHECK_FAILED},
    "quantd.models.training.seeds.checkpoints": {"CheckpointError": CHECK_FAILED},
    "quantd.models.training.plans.plan": {"PlanError": CONFIG},
    "quantd.models.training.runs.training_run": {"Interrupted": INTERRUPTED, "Unfinished": CONFIG},
    "quantd.models.training.runs.trackers": {"TrackerError": CONFIG},
    "quantd.models.training.runs.seed_pool": {"SeedFailed": CHECK_FAILED},
    "quantd.models.training.runs.workers": {"Unavailable": CONFIG, "WorkerLost": CHECK_FAILED},
    "quantd.models.training.search.study": {"StudyError": CONFIG},
    "quantd.daemon.app": {"CannotStart": CONFIG},
    "quantd.daemon.recovery.continuation": {"NotCarried": CONFIG},
    "quantd.daemon.api.server": {"ApiUnavailable": CONFIG},
    "quantd.daemon.policies.loading": {"PolicyError": CONFIG},
    "quantd.strategies.policies.params": {"ParamsError": CONFIG},
    "quantd.adapters.feeds.errors": {"FeedError": CONFIG},
    "quantd.adapters.feeds.source": {"SourceError": CHECK_FAILED},
    "quantd.adapters.calendars": {"UnknownCalendar": CONFIG},
    "quantd.adapters.bus.publisher": {"BusAddressWrong": CONFIG},
    "quantd.adapters.bus.embedded_broker": {"BrokerUnavailable": CONFIG},
    "quantd.research.comparison": {"Incomparable": CHECK_FAILED},
    "quantd.daemon.runtime.service": {"StoreGaveUp": TRY_LATER},
    "quantd.daemon.runtime.journal": {"ReplayDifference": CHECK_FAILED, "RecordTooLong": CONFIG},
    "quantd.adapters.store.errors": {
        "StoreLocked": TRY_LATER,
        "StoreFull": TRY_LATER,
        "StoreDamaged": CHECK_FAILED,
        "StoreFailing": TRY_LATER,
        "Held": TRY_LATER,
        "Fenced": TRY_LATER,
        "StoreVersion": CONFIG,
    },
}
"""Module -> failures that are explained by their own text, with their exit codes."""
