"""Words that people type for what has another name: commands that quantd had, and options of other programs."""

from typing import Final

GONE: Final = {
    "bench api": "bench --part api",
    "bench inference": "bench FOLDER --part inference",
    "bench portfolio": "bench",
    "config show": "config check --show",
    "data accept": "data check --accept REASON",
    "data list": "data check",
    "data sentiment": "data import HEADLINES --sentiment MODEL",
    "data synthetic": "data fetch --synthetic N",
    "decisions": "why",
    "export": "report --export fills",
    "mcp install": "agent add NAME --mcp",
    "models distil": "models compress FOLDER --distil 64,32 --out NEW",
    "models evaluate": "evaluate ARTIFACT",
    "models export": "models compress FOLDER --onnx --out NEW",
    "models info": "models list FOLDER",
    "models key": "models sign FOLDER --key FILE --new-key FILE",
    "models quantize": "models compress FOLDER --int8 --out NEW",
    "models train-allocation": "train --forest allocation --out FOLDER",
    "models train-correlation": "train --forest correlation --out FOLDER",
    "models train-risk": "train --forest risk --out FOLDER",
    "notebook": "init --notebook all",
    "portfolio show": "portfolio list NAME",
    "retrain": "train ARTIFACT --retrain --out FOLDER",
    "schedule jobs": "schedule list --jobs 20",
    "schedule next": "schedule list --next 10",
    "statement": "report --statement",
    "study ablation": "ablate PLAN",
    "study lite": "ablate PLAN --features",
    "study looks": "report --looks",
    "study parity": "replay --against backtest",
    "study ship": "walk PLAN",
    "token rotate": "token create NAME --rotate",
}
"""Words of a command that went -> its new command line without `quantd`; words in capitals stand for a value."""

_DATA: Final = "`quantd init FOLDER --data FILE` makes a configuration of your prices; then add -c FOLDER/config.toml"
_POLICY: Final = "the policy is an argument, `quantd backtest mine.py:act`; `quantd init --policy mine.py` writes one"

OPTIONS: Final = {
    "--capital": "set the capital by --set broker.cash=50000.00",
    "--cash": "set the capital by --set broker.cash=50000.00",
    "--commission": "set the commission by --set broker.commission_bp=2",
    "--csv": _DATA,
    "--data": _DATA,
    "--end": "the last day is --to DATE",
    "--fees": "set the commission by --set broker.commission_bp=2",
    "--interval": f"bars bring their interval: {_DATA}",
    "--params": "set a parameter of an agent by --set agents.NAME.params.KEY=VALUE",
    "--policy": _POLICY,
    "--slippage": "set the slippage by --set broker.slippage_bp=2",
    "--start": "the first day is --from DATE",
    "--strategy": _POLICY,
    "--symbols": _DATA,
    "--timeframe": f"bars bring their interval: {_DATA}",
}
"""An option that a command with `--config` may lack -> where its value is given."""

CONFIG_FIRST: Final = ("sweep", "walk")
"""Commands whose configuration is their argument, and not the option `--config`."""
