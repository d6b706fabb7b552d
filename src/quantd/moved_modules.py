"""The modules that have moved, and the sentence for an import in another's code that has the old path.

No old path works again: a second name of a module would be a second module to Python, and the classes of the two would
not be equal. A plug-in or a policy file with an old path is refused at the start, with the new one.

Who moves a module adds its line to `MOVED`. A line of a package holds for the modules below it, and a line of a module
for the names in it. Where single names have left a module that stays, their lines are `module:name`.
"""

import ast
import linecache
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Final, NamedTuple

FACE: Final = "quantd"

MOVED: Final[Mapping[str, str]] = {
    "quantd.adapters.brokers.errors": "quantd.adapters.brokers.venue_errors",
    "quantd.adapters.exchange.errors": "quantd.adapters.exchange.exchange_errors",
    "quantd.adapters.feeds.errors": "quantd.adapters.feeds.feed_errors",
    "quantd.adapters.feeds.tables": "quantd.adapters.feeds.table_files",
    "quantd.adapters.store.errors": "quantd.adapters.store.store_errors",
    "quantd.adapters.store.job_runs": "quantd.adapters.store.journal.job_runs",
    "quantd.daemon.api": "quantd.server.api",
    "quantd.daemon.api.access.protection": "quantd.daemon.access.protection",
    "quantd.daemon.api.routes.performance_routes": "quantd.research.routes.performance_routes",
    "quantd.daemon.api.routes.research_routes": "quantd.research.routes.research_routes",
    "quantd.daemon.api.stored_backtests": "quantd.research.routes.stored_backtests",
    "quantd.daemon.cli.client": "quantd.server.cli.client",
    "quantd.daemon.cli.learn.artifact_files": "quantd.training.cli.learn.artifact_files",
    "quantd.daemon.cli.learn.artifacts": "quantd.training.cli.learn.artifacts",
    "quantd.daemon.cli.learn.bench": "quantd.research.cli.learn.bench",
    "quantd.daemon.cli.learn.bench_api": "quantd.server.cli.setup.bench_api",
    "quantd.daemon.cli.learn.bench_inference": "quantd.training.cli.learn.bench_inference",
    "quantd.daemon.cli.learn.evaluate": "quantd.research.cli.learn.evaluate",
    "quantd.daemon.cli.learn.forests": "quantd.training.cli.learn.forests",
    "quantd.daemon.cli.learn.models": "quantd.training.cli.learn.models",
    "quantd.daemon.cli.learn.plan_options": "quantd.training.cli.learn.plan_options",
    "quantd.daemon.cli.learn.retrain": "quantd.training.cli.learn.retrain",
    "quantd.daemon.cli.learn.train": "quantd.training.cli.learn.train",
    "quantd.daemon.cli.learn.tune": "quantd.research.cli.learn.tune",
    "quantd.daemon.cli.look.alerts": "quantd.server.cli.look.alerts",
    "quantd.daemon.cli.look.orders": "quantd.server.cli.look.orders",
    "quantd.daemon.cli.look.plan": "quantd.server.cli.look.plan",
    "quantd.daemon.cli.look.positions": "quantd.server.cli.look.positions",
    "quantd.daemon.cli.look.report": "quantd.research.cli.look.report",
    "quantd.daemon.cli.look.risk": "quantd.server.cli.look.risk",
    "quantd.daemon.cli.look.schedule": "quantd.server.cli.look.schedule",
    "quantd.daemon.cli.look.serve": "quantd.server.cli.look.serve",
    "quantd.daemon.cli.look.status": "quantd.server.cli.look.status",
    "quantd.daemon.cli.operate.cancel": "quantd.server.cli.operate.cancel",
    "quantd.daemon.cli.operate.cash": "quantd.server.cli.operate.cash",
    "quantd.daemon.cli.operate.flatten": "quantd.server.cli.operate.flatten",
    "quantd.daemon.cli.operate.gate": "quantd.server.cli.operate.gate",
    "quantd.daemon.cli.operate.halt": "quantd.server.cli.operate.halt",
    "quantd.daemon.cli.operate.mcp": "quantd.server.cli.operate.mcp",
    "quantd.daemon.cli.operate.order": "quantd.server.cli.operate.order",
    "quantd.daemon.cli.operate.portfolio": "quantd.server.cli.operate.portfolio",
    "quantd.daemon.cli.operate.reconcile": "quantd.server.cli.operate.reconcile",
    "quantd.daemon.cli.operate.reduce": "quantd.server.cli.operate.reduce",
    "quantd.daemon.cli.operate.remote": "quantd.server.cli.operate.remote",
    "quantd.daemon.cli.operate.resume": "quantd.server.cli.operate.resume",
    "quantd.daemon.cli.operate.review": "quantd.server.cli.operate.review",
    "quantd.daemon.cli.operate.settle": "quantd.server.cli.operate.settle",
    "quantd.daemon.cli.operate.switch": "quantd.server.cli.operate.switch",
    "quantd.daemon.cli.operate.token": "quantd.server.cli.operate.token",
    "quantd.daemon.cli.setup.doctor": "quantd.server.cli.setup.doctor",
    "quantd.daemon.cli.setup.doctor_checks": "quantd.server.cli.setup.doctor_checks",
    "quantd.daemon.cli.setup.doctor_live": "quantd.server.cli.setup.doctor_live",
    "quantd.daemon.cli.setup.init": "quantd.research.cli.setup.init",
    "quantd.daemon.cli.setup.readiness": "quantd.server.cli.setup.readiness",
    "quantd.daemon.cli.setup.rehearsal": "quantd.server.cli.setup.rehearsal",
    "quantd.daemon.cli.trade.ablate": "quantd.research.cli.trade.ablate",
    "quantd.daemon.cli.trade.ablation_output": "quantd.research.cli.trade.ablation_output",
    "quantd.daemon.cli.trade.backtest": "quantd.research.cli.trade.backtest",
    "quantd.daemon.cli.trade.crises_output": "quantd.research.cli.trade.crises_output",
    "quantd.daemon.cli.trade.outside_run": "quantd.research.cli.trade.outside_run",
    "quantd.daemon.cli.trade.policy_answers": "quantd.research.cli.trade.policy_answers",
    "quantd.daemon.cli.trade.preset_output": "quantd.research.cli.trade.preset_output",
    "quantd.daemon.cli.trade.replay": "quantd.research.cli.trade.replay",
    "quantd.daemon.cli.trade.signal_output": "quantd.research.cli.trade.signal_output",
    "quantd.daemon.cli.trade.study": "quantd.research.cli.trade.study",
    "quantd.daemon.cli.trade.sweep": "quantd.research.cli.trade.sweep",
    "quantd.daemon.cli.trade.walk": "quantd.research.cli.trade.walk",
    "quantd.daemon.commands.acknowledgement": "quantd.server.requests.acknowledgement",
    "quantd.daemon.commands.api_token": "quantd.daemon.access.api_token",
    "quantd.daemon.commands.cancels": "quantd.server.requests.cancels",
    "quantd.daemon.commands.control": "quantd.server.requests.control",
    "quantd.daemon.commands.manual": "quantd.server.requests.manual",
    "quantd.daemon.commands.manual_answers": "quantd.server.requests.manual_answers",
    "quantd.daemon.commands.model_loads": "quantd.server.requests.model_loads",
    "quantd.daemon.commands.mqtt": "quantd.server.requests.mqtt",
    "quantd.daemon.commands.order_outcomes": "quantd.server.requests.order_outcomes",
    "quantd.daemon.commands.portfolio_answers": "quantd.server.requests.portfolio_answers",
    "quantd.daemon.commands.portfolio_targets": "quantd.server.requests.portfolio_targets",
    "quantd.daemon.commands.proposal_answers": "quantd.server.requests.proposal_answers",
    "quantd.daemon.commands.schedule_now": "quantd.server.requests.schedule_now",
    "quantd.daemon.commands.signals": "quantd.daemon.monitoring.signals",
    "quantd.daemon.commands.tokens": "quantd.server.requests.tokens",
    "quantd.daemon.commands.transfer_limits": "quantd.server.requests.transfer_limits",
    "quantd.daemon.engine.agents.capital_shares": "quantd.daemon.engine.state.capital_shares",
    "quantd.daemon.engine.agents.promotion_rule": "quantd.daemon.engine.state.promotion_rule",
    "quantd.daemon.engine.agents.proposal_log": "quantd.daemon.engine.state.proposal_log",
    "quantd.daemon.engine.core.additions": "quantd.daemon.runtime.host.additions",
    "quantd.daemon.engine.core.exit_columns": "quantd.daemon.runtime.host.exit_columns",
    "quantd.daemon.engine.core.fold_records": "quantd.daemon.runtime.host.fold_records",
    "quantd.daemon.engine.core.limit_columns": "quantd.daemon.runtime.host.limit_columns",
    "quantd.daemon.engine.planning.activity": "quantd.daemon.engine.state.activity",
    "quantd.daemon.engine.planning.live_caps": "quantd.daemon.engine.state.live_caps",
    "quantd.daemon.engine.planning.lots": "quantd.daemon.engine.core.lots",
    "quantd.daemon.engine.planning.parents": "quantd.daemon.engine.state.parents",
    "quantd.daemon.engine.planning.verdict_log": "quantd.daemon.engine.state.verdict_log",
    "quantd.daemon.engine.safety.monitor_state": "quantd.daemon.engine.state.monitor_state",
    "quantd.daemon.engine.settings": "quantd.daemon.engine.state.settings",
    "quantd.daemon.engine.snapshot": "quantd.daemon.engine.state.snapshot",
    "quantd.daemon.engine.snapshot:FrozenFollowUp": "quantd.daemon.engine.state.agent_state:FrozenFollowUp",
    "quantd.daemon.engine.snapshot:FrozenVenue": "quantd.daemon.engine.state.venue_account:FrozenVenue",
    "quantd.daemon.engine.stops.records": "quantd.daemon.engine.state.stop_records",
    "quantd.daemon.engine.stops.venue_stops:Live": "quantd.daemon.engine.planning.stop_conflicts:Live",
    "quantd.daemon.engine.stops.venue_stops:cancel_conflicts": (
        "quantd.daemon.engine.planning.stop_conflicts:cancel_conflicts"
    ),
    "quantd.daemon.engine.stops.venue_stops:cancel_stops": "quantd.daemon.engine.planning.stop_conflicts:cancel_stops",
    "quantd.daemon.engine.stops.venue_stops:reducing_lots": (
        "quantd.daemon.engine.planning.stop_conflicts:reducing_lots"
    ),
    "quantd.daemon.engine.valuation": "quantd.daemon.engine.state.valuation",
    "quantd.daemon.engine.valuation:Gain": "quantd.daemon.engine.state.valuations:Gain",
    "quantd.daemon.engine.valuation:KEPT": "quantd.daemon.engine.state.valuations:KEPT",
    "quantd.daemon.engine.valuation:Unclosed": "quantd.daemon.engine.state.valuations:Unclosed",
    "quantd.daemon.engine.valuation:Valuations": "quantd.daemon.engine.state.valuations:Valuations",
    "quantd.daemon.engine.venue.availability:closing_lots": "quantd.daemon.engine.planning.closing_lots:closing_lots",
    "quantd.daemon.engine.venue.availability:sold_out": "quantd.daemon.engine.planning.closing_lots:sold_out",
    "quantd.daemon.engine.venue.halts:within_limits": "quantd.daemon.engine.planning.price_limits:within_limits",
    "quantd.daemon.engine.venue.open_orders": "quantd.daemon.engine.state.open_orders",
    "quantd.daemon.engine.venue.price_holds": "quantd.daemon.engine.state.price_holds",
    "quantd.daemon.engine.venue.refusals:FIRST_NS": "quantd.daemon.engine.planning.pauses:FIRST_NS",
    "quantd.daemon.engine.venue.refusals:LONGEST_NS": "quantd.daemon.engine.planning.pauses:LONGEST_NS",
    "quantd.daemon.engine.venue.refusals:MOST_WORDS": "quantd.daemon.engine.planning.pauses:MOST_PAUSES",
    "quantd.daemon.engine.venue.refusals:OTHER_WORDS": "quantd.daemon.engine.planning.pauses:OTHER_WORDS",
    "quantd.daemon.engine.venue.refusals:pausing": "quantd.daemon.engine.planning.pauses:pausing",
    "quantd.daemon.engine.venue.refusals:stop_pauses": "quantd.daemon.engine.planning.pauses:stop_pauses",
    "quantd.daemon.engine.venue.refusals:try_at_once": "quantd.daemon.engine.planning.pauses:try_at_once",
    "quantd.daemon.engine.venue.unanswered:WAITING": "quantd.daemon.engine.planning.late_orders:WAITING",
    "quantd.daemon.engine.venue.unanswered:clock_of": "quantd.daemon.engine.planning.late_orders:clock_of",
    "quantd.daemon.engine.venue.unanswered:late_closing": "quantd.daemon.engine.planning.late_orders:late_closing",
    "quantd.daemon.engine.venue.unanswered:waits_for_answer": (
        "quantd.daemon.engine.planning.late_orders:waits_for_answer"
    ),
    "quantd.daemon.engine.venue.waits": "quantd.daemon.engine.state.waits",
    "quantd.daemon.jobs.parity_check": "quantd.research.jobs.parity_check",
    "quantd.daemon.jobs.retrainer": "quantd.training.jobs.retrainer",
    "quantd.daemon.jobs.retraining_worker": "quantd.training.jobs.retraining_worker",
    "quantd.daemon.replica": "quantd.server.replica",
    "quantd.daemon.runtime.fold_host": "quantd.daemon.runtime.host.fold_host",
    "quantd.daemon.runtime.loop:SampleLog": "quantd.daemon.runtime.step_log:SampleLog",
    "quantd.models.export": "quantd.training.export",
    "quantd.models.forests.conversion": "quantd.training.forests.conversion",
    "quantd.models.forests.fit": "quantd.training.forests.fit",
    "quantd.models.learners": "quantd.training.learners",
    "quantd.models.market": "quantd.training.market",
    "quantd.models.networks": "quantd.training.networks",
    "quantd.models.retraining": "quantd.training.retraining",
    "quantd.models.training": "quantd.training",
    "quantd.research.outside.asking:NOBODY": "quantd.research.outside.outside_agents:NO_OUTSIDE_AGENT",
    "quantd.research.outside.asking:asked_agents": "quantd.research.outside.outside_agents:asked_agents",
    "quantd.research.outside.asking:asking": "quantd.research.outside.outside_agents:asking",
    "quantd.research.outside.asking:overrides": "quantd.research.outside.outside_agents:overrides",
    "quantd.research.power.findings": "quantd.training.power.findings",
    "quantd.research.power.plants": "quantd.training.power.plants",
    "quantd.research.runs.sound_bars": "quantd.adapters.feeds.recorded.sound_bars",
    "quantd.research.significance.stationary_bootstrap:stationary_indices": (
        "quantd.trading.bootstrap:stationary_indices"
    ),
    "quantd.strategies.allocators.constraints": "quantd.strategies.allocators.constrained",
    "quantd.strategies.features.batch": "quantd.strategies.features.feature_batch",
    "quantd.strategies.features.stream": "quantd.strategies.features.feature_stream",
    "quantd.strategies.weights.rebalancing": "quantd.strategies.weights.rebalancing_rules",
    "quantd.strategies.weights.sizing": "quantd.strategies.weights.sizing_rules",
    "quantd.training.runs.reference_rule": "quantd.training.power.reference_rule",
}
"""Old path -> new path, both from `quantd.` on."""


class OldImport(NamedTuple):
    """An import by an old path."""

    line: int
    old: str
    new: str


def new_path(old: str) -> str:
    """The new path of a module or of `module:name`; empty for one that has not moved."""
    if old in MOVED:
        return MOVED[old]
    module, _, name = old.partition(":")
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (home := MOVED.get(".".join(parts[:length]))) is not None:
            return ".".join([home, *parts[length:]]) + (f":{name}" if name and ":" not in home else "")
    return ""


def old_imports(source: str) -> list[OldImport]:
    """The imports by old paths in the source of a module, in the order of their lines."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    imports = {OldImport(line, old, new) for line, old in _imported(tree) if (new := new_path(old))}
    return sorted(imports)


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and path of each import, `module:name` where the name has a line of its own in the table."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                name = f"{node.module}:{alias.name}"
                yield node.lineno, module if module in MOVED else name if name in MOVED else str(node.module)


def sentences(path: str, source: str) -> str:
    """What to change in a file: each old import with its new path and its line. Empty without an old import."""
    texts = [f"{old} is now {new}: change the import in {path}, line {line}" for line, old, new in old_imports(source)]
    return "; ".join(texts)


def is_ours(error: BaseException) -> bool:
    """Whether an import below `quantd` failed."""
    return isinstance(error, ImportError) and (error.name or "").startswith(f"{FACE}.")


def explained(error: BaseException) -> str:
    """The sentences for the file whose import failed, after the package that it belongs to.

    Empty for another exception, and for an import that failed for another reason.
    """
    if not is_ours(error):
        return ""
    frame = _importer(error.__traceback__)
    if frame is None:
        return ""
    path = frame.f_code.co_filename
    text = sentences(path, "".join(linecache.getlines(path)))
    from importlib.metadata import packages_distributions  # 0.04 s that only a failure needs

    packages = packages_distributions().get(str(frame.f_globals.get("__name__")).partition(".")[0], [])
    package_names = sorted({*packages} - {FACE})
    return f"{', '.join(package_names)}: {text}" if text and package_names else text


def _importer(trace: TracebackType | None) -> FrameType | None:
    """The innermost frame that is not of Python's own imports."""
    frame = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = trace.tb_frame
        trace = trace.tb_next
    return frame
