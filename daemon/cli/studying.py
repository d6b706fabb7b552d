"""`quantd study`: questions about a policy that a backtest does not answer."""

from pathlib import Path

from daemon.cli.configuration import read
from daemon.cli.failures import CHECK_FAILED, DONE
from daemon.cli.output import print_json, progress, say
from research.lookahead import lines, lookahead


def study_lookahead(
    config: Path, state: Path | None, sets: tuple[str, ...], policy: str, *, cuts: int, as_json: bool
) -> int:
    """Whether `policy` looks ahead; exit code 1 when it does, or when it cannot be said."""
    found = read(config, sets)
    folder = state if state is not None else found.at(found.quantd.state)
    name, colon, attribute = policy.partition(":")
    if name.endswith(".py"):
        policy = f"{Path(name).resolve()}{colon}{attribute}"  # typed here, not written in the configuration
    with progress("look-ahead", shown=not as_json) as bar:
        result = lookahead(found, policy, cuts=cuts, cache=folder / "cache", progress=bar)
    if as_json:
        print_json({"clean": result.clean, "result": result})
    else:
        for line in lines(result):
            say(line)
    return DONE if result.clean else CHECK_FAILED
