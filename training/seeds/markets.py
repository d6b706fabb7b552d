"""The market data of a plan: a part to train on, and a part to choose by. The test part is read once only, at the end.

What can go wrong. A policy would be fitted or chosen with later data: so the bars are read only up to the end of the
validation part, and access to the test part raises `Sealed`. A decision at the end of a part would have its outcome in
the next part: so a decision whose outcome lies outside its part is left out, and the embargo separates the parts.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import torch

from quantd.bundled import absent
from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import rate_of, read_panel
from quantd.models.history.series_files import SeriesError
from quantd.models.history.splits import Split
from quantd.models.observation.sight import observed_by
from quantd.models.observation.table import Observed
from quantd.trading.cash_rate import CashRateError
from quantd.training.market.tensors import Market, market_of
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import Plan
from quantd.training.plans.plan_check import purged, span_text, warmup_fault


class Sealed(Exception):
    """The test part was requested during training or tuning."""


@dataclass(frozen=True, slots=True)
class Markets:
    """The training and validation market of a plan, without any data after the validation part."""

    plan: Plan
    panel: Panel
    train: Market
    """float32, for training, on the plan's device."""
    in_sample: Market
    """float64, the same sessions, for evaluation. One account is evaluated on the CPU, whatever the plan's device."""
    validation: Market
    """float64, on the CPU."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the markets, in the order of their columns."""
        return self.train.symbols

    @property
    def test(self) -> Market:
        """Raise Sealed: the test part is not available while policies are fitted."""
        part = self.plan.splits.test
        raise Sealed(
            f"the test part ({part.first} to {part.last}) is sealed while policies are fitted, chosen and tuned; "
            "quantd.training.seeds.validation.judge opens it once, when all of this is done"
        )


def check_device(device: str) -> None:
    """Raise PlanError for a device that PyTorch does not find on this machine."""
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise PlanError(f'device = {device!r}: PyTorch finds no such device on this machine; write "cpu"')


def markets_of(plan: Plan) -> Markets:
    """Read the data of `plan` up to the end of its validation part. Raises PlanError for unsuitable data, OSError."""
    splits = plan.splits
    check_device(plan.device)
    panel = _read(plan, splits.validation.last)
    observed = _observed(plan, panel)
    validation_rows = _rows(plan, panel, splits.validation)
    training_rows = _rows(plan, panel, splits.train)
    train = _purged(splits.train, training_rows, validation_rows.start, plan)
    validation = _purged(splits.validation, validation_rows, validation_rows.stop, plan)
    if len(train) - 1 < plan.market.episodes.length and not plan.market.episodes.block:
        raise PlanError(
            f"splits.train: {len(train)} sessions from {splits.train.first} to {splits.train.last}, fewer than an "
            f"episode of {plan.market.episodes.length}; give more history or a smaller market.episodes.length"
        )
    if fault := warmup_fault(plan.data, plan.warmup_days, splits.train, panel.day_ns, observed.warm):
        raise PlanError(fault)
    return Markets(
        plan,
        panel,
        # the training part twice: for training, and in double precision for evaluation
        _market(plan, panel, observed, train, torch.float32, plan.device),
        _market(plan, panel, observed, train, torch.float64),
        _market(plan, panel, observed, validation, torch.float64),
    )


def window_market(plan: Plan, first: date, last: date) -> Market:
    """Return the market, in float64, of all sessions from `first` to `last`, for a final evaluation."""
    panel = _read(plan, last, first)
    observed = _observed(plan, panel)
    return _market(plan, panel, observed, _rows(plan, panel, Split("window", first, last)), torch.float64)


def _read(plan: Plan, last: date, first: date | None = None) -> Panel:
    """Read the panel of a plan up to `last`, with the warm-up days before `first`. Raises PlanError."""
    begins = (first or plan.splits.train.first) - timedelta(days=plan.warmup_days)
    bars, actions = plan.data.files
    for key, path in (("bars", bars), ("actions", actions)):
        if path is not None and not path.is_file():
            raise PlanError(f"data.{key} = {str(path)!r}: {absent(path)}")
    try:
        rate_of(plan.market.cash_rate)
    except CashRateError as error:
        raise PlanError(f"market.cash_rate: {error}") from None
    try:
        data = plan.data
        return read_panel(bars, actions, data.symbols, begins, last, plan.market.cash_rate, data.sources)
    except SeriesError as error:
        raise PlanError(f"data: {error}") from None
    except ValueError as error:
        raise PlanError(f"data.symbols: {error}") from None


def _observed(plan: Plan, panel: Panel) -> Observed:
    try:
        return observed_by(plan.sight, panel)
    except ValueError as error:
        raise PlanError(f"sight: {error}") from None


def _rows(plan: Plan, panel: Panel, split: Split) -> range:
    try:
        return split.rows(panel.day_ns)
    except ValueError as error:
        raise PlanError(f"splits.{error}; {span_text(plan.data)}") from None


def _purged(split: Split, rows: range, following: int, plan: Plan) -> range:
    try:
        return purged(split, rows, following, plan.purge, plan.embargo)
    except ValueError as error:
        raise PlanError(str(error)) from None


def _market(
    plan: Plan, panel: Panel, observed: Observed, rows: range, dtype: torch.dtype, device: str = "cpu"
) -> Market:
    try:
        return market_of(panel, observed, rows, device, dtype)
    except CashRateError as error:
        raise PlanError(f"market.cash_rate: {error}") from None
    except ValueError as error:
        raise PlanError(f"warmup_days {plan.warmup_days}: {error}") from None
