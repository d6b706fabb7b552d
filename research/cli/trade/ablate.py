"""Train a plan again without each of its parts: `quantd study ablation` by its short name."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.research.cli.trade.ablation_output import study_ablation

COMMAND: Final = Command("Trade", 45, study_ablation)
