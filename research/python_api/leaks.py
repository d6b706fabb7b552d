"""The look-ahead study of a policy over bars in memory, or over the market of a configuration."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from quantd.daemon.config import Config
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import bar_frame
from quantd.research.python_api.functions import chosen
from quantd.research.python_api.run_config import Settings, around, loaded, with_adjusted
from quantd.research.python_api.signals import captured_tables, require_cuts
from quantd.research.studies import lookahead as study


class Leaks(study.Lookahead, frozen=True):
    """The result of a look-ahead study: `clean`, `decided`, and the fields of `--json`. `str()` is its text.

    `decided` is True if the policy reads nothing but the market, so that the checks see all of it. `clean` is False
    where a check failed. Else it is True if `decided`, and None if not, as for a policy that reads a table in memory.
    """

    def __str__(self) -> str:
        return "\n".join(study.lines(self))

    def __repr__(self) -> str:
        return str(self)


def lookahead(
    policy: object,
    bars: object,
    settings: Settings | None = None,
    *,
    params: Mapping[str, object] | None = None,
    cuts: int = 40,
    adjusted: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> Leaks:
    """Detect look-ahead: call a policy on markets that end earlier, as `quantd study lookahead`.

    `policy` is a registered name, a file ("mine.py:act"), the folder of an artifact, or a function, class or object of
    the caller. `bars` is a polars or pandas frame, a configuration of `quantd.load`, or the path of a TOML file.
    `settings` replace keys of the configuration, and `adjusted` states that prices are adjusted for splits. `params`
    are the policy's parameters, for bars in a frame.
    `cuts` is the number of shortened markets, 1 or more. `progress` receives the completed share, from 0 to 1.

    A function of the caller cannot be loaded anew for each run, so values that its module keeps between runs stay
    hidden: pass a file to find them. If the function refers to tables in memory, the result names the tables and does
    not call the function free of look-ahead. `failed` counts the failed decisions. Raises Misused, ConfigError or
    another Error.
    """
    require_cuts(cuts)
    settings = with_adjusted(settings, adjusted=adjusted)
    name, policy_params, caller = chosen(policy, params)
    frame = None
    if isinstance(bars, Config | str | os.PathLike):
        if caller is not None:
            raise Misused(
                "a function of the caller needs bars in a frame: quantd.lookahead(act, frame); or write it into a file "
                'and name the file, "mine.py:act"'
            )
        if params is not None:
            raise Misused("params need bars in a frame; in a configuration write them as params of its agent")
        config = loaded(bars, settings)
    else:
        frame = bar_frame(bars)
        config = around(frame, name, policy_params, settings)
    file, colon, attribute = name.partition(":")
    if caller is None and file.endswith(".py"):
        name = f"{Path(file).resolve()}{colon}{attribute}"  # relative to this folder, not to the configuration
    tables_in_memory = () if caller is None else captured_tables(policy)
    cache = config.state_folder(None) / "cache"
    leaks = study.lookahead(
        config, name, cuts=cuts, cache=cache, progress=progress, bars=frame, isolation=caller, captured=tables_in_memory
    )
    return Leaks(**{field: getattr(leaks, field) for field in leaks.__struct_fields__})
