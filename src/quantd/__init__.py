"""An event-driven trading daemon with a pre-trade risk gate that cannot be skipped.

The names below are the Python API, loaded at their first use:

    import quantd
    result = quantd.backtest("risk_parity", bars=frame)    # a polars or pandas frame of bars
    print(result)

`quantd.load` reads a configuration, `quantd.open_run` a stored run, `quantd.Client` a running daemon.
docs/research/python.md describes them and says what is public. The packages are the folders at the top of the
repository: `quantd.risk` is `risk/`, and so on.
"""

from importlib import import_module
from inspect import isfunction
from typing import TYPE_CHECKING, Any, Final

from quantd.engine_build import hook

if TYPE_CHECKING:
    from quantd.client_types import Client
    from quantd.daemon.config import Config, ConfigError
    from quantd.research.python_api.backtests import Backtest, backtest
    from quantd.research.python_api.bar_frame import example_bars, read_bars
    from quantd.research.python_api.comparisons import Comparison, Significance, compare, metrics, significance
    from quantd.research.python_api.leaks import lookahead
    from quantd.research.python_api.learning import Trained, evaluate, train
    from quantd.research.python_api.run_config import load
    from quantd.research.python_api.run_history import Run, Why, open_run
    from quantd.research.python_api.signals import Signals, study_signal
    from quantd.research.python_api.sweeps import sweep
    from quantd.research.python_api.walks import WalkForward, walk_forward
    from quantd.trading.exit_codes import ExplainedError as Error

__all__ = [
    "Backtest", "Client", "Comparison", "Config", "ConfigError", "Error", "Run", "Signals", "Significance", "Trained",
    "WalkForward", "Why", "backtest", "compare", "evaluate", "example_bars", "load", "lookahead", "metrics", "open_run",
    "read_bars", "significance", "study_signal", "sweep", "train", "walk_forward",
]  # fmt: skip

_HOMES: Final = {
    "Backtest": "quantd.research.python_api.backtests:Backtest",
    "Client": "quantd.server.api.client_side.python_client:Client",
    "Comparison": "quantd.research.python_api.comparisons:Comparison",
    "Config": "quantd.daemon.config:Config",
    "ConfigError": "quantd.daemon.config:ConfigError",
    "Error": "quantd.trading.exit_codes:ExplainedError",
    "Run": "quantd.research.python_api.run_history:Run",
    "Signals": "quantd.research.python_api.signals:Signals",
    "Significance": "quantd.research.python_api.comparisons:Significance",
    "Trained": "quantd.research.python_api.learning:Trained",
    "WalkForward": "quantd.research.python_api.walks:WalkForward",
    "Why": "quantd.research.python_api.run_history:Why",
    "backtest": "quantd.research.python_api.backtests:backtest",
    "compare": "quantd.research.python_api.comparisons:compare",
    "evaluate": "quantd.research.python_api.learning:evaluate",
    "example_bars": "quantd.research.python_api.bar_frame:example_bars",
    "read_bars": "quantd.research.python_api.bar_frame:read_bars",
    "load": "quantd.research.python_api.run_config:load",
    "lookahead": "quantd.research.python_api.leaks:lookahead",
    "metrics": "quantd.research.python_api.comparisons:metrics",
    "open_run": "quantd.research.python_api.run_history:open_run",
    "significance": "quantd.research.python_api.comparisons:significance",
    "sweep": "quantd.research.python_api.sweeps:sweep",
    "study_signal": "quantd.research.python_api.signals:study_signal",
    "train": "quantd.research.python_api.learning:train",
    "walk_forward": "quantd.research.python_api.walks:walk_forward",
}
"""Name -> its module and attribute: `import quantd` alone loads none of them."""

hook.install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from quantd.daemon.runtime.version import VERSION

        return VERSION
    if name not in _HOMES:
        raise AttributeError(f"module 'quantd' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    member = getattr(import_module(module), attribute)
    if isfunction(member):
        member = import_module("quantd.research.python_api.arguments").checked(member)
    globals()[name] = member
    return member


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
