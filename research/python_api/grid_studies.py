"""A grid of values over one configuration, ready to run: what a sweep and a walk-forward do alike."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.daemon.assembly.first_session import period_notes
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import Config, ConfigError, read
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.functions import CallerPolicy, SentPoints, chosen
from quantd.research.python_api.run_config import AGENT, PLACE, Settings, sets_of, setting_text, text_around
from quantd.research.runs.failures import DecisionFailed
from quantd.research.runs.looks import trial_digest
from quantd.research.studies.grid import Grid
from quantd.research.studies.sweep import Progress, SweepFailed
from quantd.research.studies.sweep_points import (
    Base,
    Market,
    Point,
    Run,
    Work,
    base_of,
    grid_history,
    require_values,
    run_points,
)
from quantd.research.studies.sweep_points import run_point as run_one
from quantd.strategies.policies import POLICIES, ParamsError
from quantd.training.runs.workers import Executor, Here, executor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class How:
    """Where the points of a grid run, the family of their looks, and whether equal weight runs beside a walk."""

    compare: bool = True
    workers: int = 1
    on: str = "local"
    address: str = ""
    progress: Progress = lambda share: None
    family: str = ""


def is_file(what: object) -> bool:
    """Return whether `what` names a TOML file."""
    return isinstance(what, str | os.PathLike) and str(what).endswith(".toml")


def _needs_values(policy: str, params: Mapping[str, object]) -> bool:
    """Return whether a policy refuses `params` alone, because a swept parameter has no default."""
    try:
        POLICIES[policy](dict(params))
    except ParamsError:
        return True
    except KeyError:  # a file or a function of the caller
        return False
    return False


def grid_of(what: object, over: Mapping[str, Iterable[object]], points: int | None = None, seed: int = 0) -> Grid:
    """Return the grid of the values `over`, or `points` of it drawn with `seed`.

    A name without a dot is a parameter of the policy `what`.

    Raises Misused for a name without a dot where `what` is a file, because it may have several agents.
    """
    keys = {key: key if "." in key else f"agents.{AGENT}.params.{key}" for key in over}
    if is_file(what) and (names := [key for key in over if "." not in key]):
        raise Misused(f"{names[0]!r} is no dotted key of the configuration; write agents.NAME.params.{names[0]}")
    axes = {keys[key]: [setting_text(value) for value in values] for key, values in over.items()}
    return Grid(axes, points, seed)


class GridStudy:
    """A grid with its market, and the input that all its points share.

    `assembly` has the longest history of any point, so that all points begin at the same sample. `market` is the digest
    of the configuration, the bars and the policy. `notes` name rows of a table of weights outside the bars.
    """

    def __init__(
        self,
        config: Config,
        text: str,
        sets: tuple[str, ...],
        grid: Grid,
        state: Path,
        frame: BarFrame | None = None,
        caller: CallerPolicy | None = None,
    ) -> None:
        """`text` is the text of `config`, `sets` its overrides, and `state` the state folder.

        `frame` has the bars in memory, if there are any. `caller` loads the policy, if it is an object of the caller.
        """
        self.grid, self.state, self.frame, self.caller = grid, state, frame, caller
        base = base_of(config, text, sets, state / "cache")
        require_values(base, grid, caller)
        self.base = replace(base, history=grid_history(base, grid, caller))
        self.assembly = assemble(config, cache=state / "cache", isolation=caller, bars=frame, history=self.base.history)
        sessions = self.assembly.sessions[self.assembly.universe.calendar]
        unused = () if caller is None else caller.unused_rows(self.assembly)
        self.notes = (*period_notes(self.assembly.feed, sessions, config), *unused)
        # a caller's object has no file whose text the digest could contain: its source stands for it
        digest = trial_digest(self.assembly)
        self.market = digest if caller is None else f"{self.assembly.market} {caller.known_as[2]}"

    @classmethod
    def of(
        cls,
        what: object,
        bars: object,
        grid: Grid,
        params: Mapping[str, object] | None,
        settings: Settings | None,
        call: str,
    ) -> "GridStudy":
        """Prepare the grid of a policy over `bars`, or of the configuration file `what`.

        `call` is the call that a message shows. Raises Misused for a policy without bars, and ConfigError for a wrong
        configuration or a missing file.
        """
        policy, policy_params, caller = chosen(what, params)
        frame = None if bars is None else bar_frame(bars)
        if is_file(what):
            path = Path(str(what))
            text, folder = path.read_text(encoding="utf-8"), path.parent
        elif frame is None:
            raise Misused(f"a policy needs bars: {call}, or name a config.toml")
        else:
            path, text, folder = Path(PLACE), text_around(frame, policy, policy_params), Path()
        sets = sets_of(settings)
        given = {*(text.partition("=")[0] for text in sets), *(f"agents.{AGENT}.params.{key}" for key in params or ())}
        if twice := sorted(given & set(grid.axes)):
            raise Misused(f"{twice[0]} is in over, and in settings or params too; leave one of the two out")
        if not is_file(what) and _needs_values(policy, policy_params):
            # the market is read with the first values; a policy with defaults keeps these, as in the command
            swept_params = [key for key in grid.axes if key.startswith(f"agents.{AGENT}.params.")]
            sets = (*sets, *(f"{key}={grid.axes[key][0]}" for key in swept_params))
        config = read(text, known_names(), file=str(path), folder=folder, environ=os.environ, sets=sets)
        if mistakes := config.missing_files() if frame is None else ():
            raise ConfigError(mistakes)
        return cls(config, text, sets, grid, config.state_folder(None), frame, caller)

    def run(self, folder: Path, how: How, study: Callable[[Base, Executor, Run], T], *, stop: bool = False) -> T:
        """Return what `study` makes of the shared input, an executor and the function that runs points.

        A caller's function runs here or is sent to the workers; other policies are loaded by the workers, which read
        bars in memory from a file in `folder`. With `stop`, the failed decision of a function that runs here is raised
        itself, with its cause.
        """
        where = executor(how.on, how.workers, how.address)
        if self.caller is not None and isinstance(where, Here):
            inline = _InProcess(self.caller, self.frame, stop=stop)
            try:
                return study(self.base, where, inline)
            except SweepFailed:
                if inline.failed is not None:
                    raise inline.failed from inline.failed.__cause__
                raise
        base, run = self.base, run_points if self.caller is None else SentPoints(self.caller, stop=stop)
        if self.frame is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.frame.frame.write_parquet(folder / "bars.parquet")
            base = replace(base, bars=str((folder / "bars.parquet").resolve()))
        return study(base, where, run)


class _InProcess:
    """Runs the points of a caller's function in this process, over the bars in `frame`."""

    def __init__(self, caller: CallerPolicy, frame: BarFrame | None, *, stop: bool) -> None:
        self._caller, self._frame, self._stop = caller, frame, stop
        self._open: tuple[Base, Market] | None = None
        self.failed: DecisionFailed | None = None
        """The failed decision that ended the study."""

    def __call__(self, work: Work, tell: Callable[[Point], bool]) -> int:
        """Run the points of `work`, and give each result to `tell`. Returns their number.

        The market stays open for further work with the same shared input (`work.base`).
        """
        if self._open is None or self._open[0] != work.base:
            self._open = work.base, Market.open(work.base, self._caller, self._frame)
        for number, values in work.points:
            try:
                tell(run_one(self._open[1], work.base, work.keys, number, values, stop=self._stop))
            except DecisionFailed as error:
                self.failed = error
                raise
        return len(work.points)
