"""The costs of the simulated venue, from [broker] and its file of costs."""

from msgspec import Struct, json
from msgspec.structs import replace

from quantd.daemon.config import Config
from quantd.regular_file import NotRead, read_regular
from quantd.trading.execution import Costs, CostTable
from quantd.trading.exit_codes import CONFIG, ExplainedError


class CostsWrong(ExplainedError, ValueError):
    """The file that `costs` of [broker] names cannot be read; the text has the remedy."""

    exit_code = CONFIG


class CostsFile(Struct, frozen=True):
    """The part of a file of [broker] costs that the simulated venue reads."""

    costs: CostTable


def costs_of(config: Config) -> Costs:
    """Return the costs of the simulated venue, with the table of [broker] costs.

    Raises CostsWrong for an unreadable file, and for a cost outside 0 to 10,000 bp.
    """
    costs, name = config.broker.costs(), config.broker.costs_file
    if not name:
        return costs
    try:
        table = json.decode(read_regular(config.at(name)).data, type=CostsFile).costs
        if any(not (0.0 <= row.fixed_bp <= 1e4 and 0.0 <= row.impact <= 1e4) for row in table.rows):
            raise ValueError("a cost is outside 0 to 10,000 bp")
    except (OSError, NotRead, ValueError) as why:
        raise CostsWrong(f"{name} is no file of costs ({why}); `quantd study costs --out {name}` writes one") from None
    return replace(costs, table=table)
