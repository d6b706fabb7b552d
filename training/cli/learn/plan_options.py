"""Options that `quantd train` and `quantd tune` share, and the training plan that they describe."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from quantd.bundled import find
from quantd.daemon.cli.command import one_of
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import USAGE
from quantd.training.cli.learn.artifact_files import (
    ACTIONS_FILE,
    BARS_FILE,
    actions_option,
    bars_option,
    symbols_in,
    symbols_option,
)

if TYPE_CHECKING:
    from quantd.training.plans.plan import Plan

PlanFile = Annotated[Path | None, typer.Argument(metavar="[PLAN.toml]", help="A training plan, as in examples/train.")]
Profile = Annotated[str, typer.Option(help="Named settings of the agent, such as prioritized (dqn).")]
Bars = Annotated[Path | None, bars_option(str(BARS_FILE))]
Actions = Annotated[str | None, actions_option(ACTIONS_FILE)]
Symbols = Annotated[str | None, symbols_option("AAPL,BAC,IWM,QQQ,SPY; with other bars all of theirs")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the plan; repeatable.")
]
On = Annotated[Literal["local", "ray"], typer.Option(help="Where seeds and trials run.")]
Workers = Annotated[int, typer.Option(min=1, max=10_000, help="Seeds or trials at once.")]


def learner_of(names: Sequence[str]) -> Any:
    """The option --agent, which accepts the learners `names`."""
    metavar = f"[{'|'.join(names)}]"
    return typer.Option(parser=one_of(names), metavar=metavar, help="The learner.", show_default="the plan's, or ppo")


def plan_of(
    file: Path | None,
    agent: str | None,
    profile: str,
    sets: list[str] | None,
    bars: Path | None,
    actions: str | None,
    symbols: str | None,
    *,
    files: bool = True,
) -> "Plan":
    """The training plan of these options; an option that is None keeps the plan's value. Raises PlanError, Failure.

    Data, splits and sight (the input of the policy) are checked before `plans.plan` is imported, since that import
    loads torch and takes seconds. With `files`, the bars are read. `sets` are texts KEY=VALUE with dotted keys
    (`data.bars`). A file of bars is first read in a child process, because a damaged file may crash the process that
    reads it.
    """
    from quantd.daemon.cli.setup.bar_files import probed
    from quantd.training.plans.data_plan import PlanError, decoded, laid, located
    from quantd.training.plans.own_bars import usual
    from quantd.training.plans.plan_check import mistakes_in

    if file is not None and (agent is not None or profile):
        raise Failure(f"{file} has its own agent and profile: omit --agent and --profile", USAGE)
    market: dict[str, object] = {
        "data.bars": None if bars is None else str(bars),
        "data.actions": actions,
        "data.symbols": None if symbols is None else symbols_in(symbols),
    }
    changes = {**dict(map(setting, sets or ())), **given(market)}
    path = None if file is None else find(file)
    text = "" if path is None else path.read_text(encoding="utf-8")
    head: dict[str, object] = {"agent": agent or "ppo", **({"profile": profile} if profile else {})}
    table = laid(changes, head if path is None else decoded(text, str(path)))
    if bars is not None and files:
        if find(bars).is_file():
            probed(find(bars))
        table = laid(barsettings := usual(bars, table), table)
        changes |= barsettings
    if mistakes := "\n".join(mistakes_in(table, probed if files else None)):
        raise PlanError(mistakes if path is None else located(text, str(path), mistakes))
    from quantd.training.plans.plan import default, parsed, replaced

    return replaced(default(agent or "ppo", profile), changes) if path is None else parsed(text, str(path), changes)


def given(changes: Mapping[str, object]) -> dict[str, object]:
    """The changes whose value is not None: their options are on the command line."""
    return {key: value for key, value in changes.items() if value is not None}


def setting(text: str) -> tuple[str, object]:
    """(key, value) of the text KEY=VALUE; a value that is no TOML is plain text. Raises Failure without a key."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"--set {text}: its key or = is missing; write KEY=VALUE, such as learner.gamma=0.95", USAGE)
    try:
        return key.strip(), msgspec.toml.decode(f"value = {value}")["value"]
    except msgspec.DecodeError:
        return key.strip(), value.strip()


@contextmanager
def signals(handler: Callable[[int], None]) -> Iterator[None]:
    """Call `handler` on SIGINT and SIGTERM inside the block; the previous handlers return after it."""
    previous_handlers = {
        signal_number: signal.signal(signal_number, lambda number, _: handler(number))
        for signal_number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, previous_handler in previous_handlers.items():
            signal.signal(number, previous_handler)
