"""Every key of config.toml changes what is parsed: one row for each, and a key without a row fails here."""

import datetime as dt
import tomllib
from functools import cache

import pytest

from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.config import ConfigError, digest, flat, read
from quantd.daemon.config.document import NOT_TRADING
from quantd.daemon.config.keys import all_keys, document_of, keys_of, pattern_of
from quantd.daemon.config.known import MIN_HISTORY, PROFILES, SHOCKS
from quantd.daemon.config.schema import Broker
from quantd.risk.limits import catalogue
from quantd.risk.limits.catalogue import Limits
from quantd.risk.measures.stress import SHIPPED
from quantd.trading.execution import Costs
from tests.support.checkout import ROOT
from tests.support.every_key import KNOWN, TEXT

DOCUMENT = document_of(limit_keys())
S = 10**9
FEED = ("feed.kind=alpaca",)
LIVE = (*FEED, "broker.kind=alpaca")

LIMITED = ("risk", "agents.0.limits", "manual.limits", "portfolios.limits")
MQTT = ("bus.kind=mqtt", "bus.url=mqtt://host")

# key: another value as --set writes it, what must then be parsed, and what has to be said for it to be allowed
REFUSED = "one value exists"
ROWS = {
    "quantd.name": ("desk", "desk"),
    "quantd.mode": ("live", "live", *LIVE),
    "quantd.state": ("elsewhere", "elsewhere"),
    "quantd.live": ("true", True),
    "quantd.on_stop": ("cancel", "cancel"),
    "universe.symbols": ("SPY,QQQ,IWM", ("SPY", "QQQ", "IWM")),
    "universe.benchmark": ("SPY", "SPY"),
    "universe.benchmark_path": ("spx.csv", "spx.csv", "universe.benchmark=^GSPC"),
    "universe.currency": ("EUR", "EUR"),
    "universe.calendar": ("XLON", "XLON"),
    "universe.members": ("members.csv", "members.csv"),
    "universe.closed": ('["2025-01-09"]', (dt.date(2025, 1, 9),)),
    "universe.instruments.0.symbol": ("SPY", "SPY"),
    "universe.instruments.0.lot": ("0.001", 1_000_000),
    "universe.instruments.0.tick": ("0.5", S // 2),
    "universe.instruments.0.calendar": ("XLON", "XLON"),
    "universe.instruments.0.sector": ("funds", "funds"),
    "universe.instruments.0.was": ("QQQQ", "QQQQ"),
    "universe.instruments.0.asset": ("index", "index"),
    "universe.groups.0.name": ("new", "new", *(f"{table}.group_caps.0.group=other" for table in LIMITED)),
    "universe.groups.0.symbols": ('["QQQ"]', ("QQQ",)),
    "feed.kind": ("ccxt", "ccxt"),
    "feed.fallback": ('["yfinance"]', ("yfinance",), *FEED),
    "feed.venue": ("kraken", "kraken", "feed.kind=ccxt"),
    "feed.url": ("http://127.0.0.1:8080", "http://127.0.0.1:8080", *FEED),
    "feed.mapping": ("vendor.toml", "vendor.toml", *FEED),
    "feed.plan": ("sip", "sip", *FEED),
    "feed.stream": ("false", False, *FEED),
    "feed.path": ("other.parquet", "other.parquet"),
    "feed.actions": ("actions.parquet", "actions.parquet"),
    "feed.adjusted": ("true", True),
    "feed.jumps": ("real", "real"),
    "feed.holes": ("known", "known"),
    "feed.spikes": ("real", "real"),
    "feed.exceptions": ("answers.csv", "answers.csv"),
    "feed.stamps": ("session", "session"),
    "feed.zone": ("America/New_York", "America/New_York"),
    "feed.interval": ("5m", 300 * S),
    "feed.build_from": ("1m", "1m"),
    "feed.start": ("2019-01-02", dt.date(2019, 1, 2)),
    "feed.end": ("2020-01-02", dt.date(2020, 1, 2)),
    "feed.warmup": ("10", 10),
    "feed.pace": ("2.5/s", "2.5/s"),
    "feed.at_end": ("stop", "stop"),
    "feed.grace": ("30s", 30 * S),
    "feed.macro.0.name": ("rate", "rate"),
    "feed.macro.0.path": ("other.csv", "other.csv"),
    "feed.macro.0.available": ("close", "close"),
    "feed.series.0.name": ("mood", "mood"),
    "feed.series.0.path": ("other.csv", "other.csv"),
    "feed.series.0.available": ("close", "close"),
    "feed.series.0.column": ("score", "score"),
    "feed.series.0.valid_days": ("30", 30),
    "feed.series.0.use": ("false", False),
    "broker.kind": ("alpaca", "alpaca", *FEED),
    "broker.venue": ("kraken", "kraken", *FEED, "broker.kind=ccxt"),
    "broker.url": ("http://127.0.0.1:8081", "http://127.0.0.1:8081", *LIVE),
    "broker.timeout": ("5s", 5 * S, *LIVE),
    "broker.settle": ("30s", 30 * S, *LIVE),
    "broker.differences": ("fence", "fence", *LIVE),
    "broker.cash_tolerance": ("0.50", 500_000, *LIVE),
    "broker.reconcile": ("5m", 300 * S, *LIVE),
    "broker.cash": ("2000.01", 2_000_010_000),
    "broker.commission_bp": ("1.5", 1.5),
    "broker.slippage_bp": ("1.5", 1.5),
    "broker.spread_bp": ("1.5", 1.5),
    "broker.slippage_noise": ("0.5", 0.5),
    "broker.commission_min": ("1.00", 1_000_000),
    "broker.costs": ("fitted.json", "fitted.json"),
    "broker.impact": ("0.1", 0.1),
    "broker.participation": ("0.2", 0.2),
    "broker.borrow_bp_annual": ("25", 25.0),
    "broker.latency": ("250ms", S // 4),
    "broker.seed": ("7", 7),
    "account.cash_rate": ("0.03", 0.03),
    "risk.profile": ("balanced", "balanced"),
    "risk.follow_ups": ("3", 3),
    "risk.max_failures": ("5", 5),
    "risk.rearm": ("never", "never"),
    "risk.volume_lookback": ("60", 60),
    "risk.shocks.0.name": ("other", "other", *(f'{table}.stress.scenarios=["2020"]' for table in LIMITED)),
    "risk.shocks.0.moves.0.of": ("SPY", "SPY"),
    "risk.shocks.0.moves.0.by": ("-0.3", -0.3),
    "risk.flatten_on": ('["drawdown"]', ("drawdown",)),
    "risk.regime.above": ("0.35", 0.35),
    "risk.regime.exposure": ("0.5", 0.5),
    "risk.regime.lookback": ("60", 60),
    "risk.regime.margin": ("0.2", 0.2),
    "risk.history.portfolio": ("100", 100),
    "risk.history.risk": ("100", 100),
    "risk.history.allocations": ("100", 100),
    "risk.monitor_interval": ("60s", 60 * S),
    "risk.max_loop_lag": ("1s", S),
    "risk.max_clock_jump": ("500ms", S // 2),
    "risk.max_missed_bars": ("1", 1),
    "execution.style": ("close", "close"),
    "execution.over": ("1h", 3_600 * S, "execution.style=twap", "feed.interval=1m"),
    "execution.slices": ("12", 12, "execution.style=twap", "feed.interval=1m"),
    "execution.participation": ("0.2", 0.2, "execution.style=participation", "feed.interval=1m"),
    "execution.profile": ("[2.0, 1.0, 2.0]", (2.0, 1.0, 2.0), "execution.style=vwap", "feed.interval=1m"),
    "execution.chase.every": ("2m", 120 * S, "execution.style=chase", "feed.interval=1m"),
    "execution.chase.step_bp": ("10", 10.0, "execution.style=chase", "feed.interval=1m"),
    "execution.chase.most": ("3", 3, "execution.style=chase", "feed.interval=1m"),
    "agents.0.name": ("other", "other"),
    "agents.0.policy": ("equal_weight", "equal_weight"),
    "agents.0.capital": ("0.25", 0.25),
    "agents.0.profile": ("aggressive", "aggressive"),
    "agents.0.shadow": ("true", True),
    "agents.0.challenges": ("two", "two", "agents.0.shadow=true"),
    "agents.2.approval": ("person", "person"),
    "approvals.devices": (f"phone:{'a' * 64}", (f"phone:{'a' * 64}",)),
    "agents.2.cut": ("true", True),
    "agents.2.live": ("true", True),
    "agents.2.within": ("15m", 900 * S),
    "capital.method": ("equal_risk", "equal_risk"),
    "capital.lookback": ("63", 63),
    "capital.shrink": ("0.25", 0.25),
    "capital.floor": ("0.1", 0.1),
    "capital.ceiling": ("0.75", 0.75),
    "capital.max_step": ("0.05", 0.05),
    "capital.tilt": ("1.5", 1.5, "capital.method=performance"),
    "capital.volatility_of": ("benchmark", "benchmark", "universe.benchmark=SPY"),
    "capital.regimes.0.name": ("quiet", "quiet"),
    "capital.regimes.0.above": ("0.15", 0.15),
    "capital.regimes.0.shares.0.agent": ("one", "one"),
    "capital.regimes.0.shares.0.share": ("0.75", 0.75),
    "retrain.bars": ("other.parquet", "other.parquet"),
    "retrain.actions": ("other.csv", "other.csv"),
    "retrain.stale": ("2d", 2 * 86_400 * S),
    "retrain.within": ("30m", 1_800 * S),
    "retrain.nice": ("19", 19),
    "retrain.expanding": ("true", True),
    "retrain.measure": ("mean", "mean"),
    "retrain.confidence": ("0.9", 0.9),
    "retrain.min_gain": ("0.1", 0.1),
    "retrain.max_drawdown_ratio": ("1.2", 1.2),
    "study.benchmarks": ('["SPY", "momentum"]', ("SPY", "momentum")),
    "study.goals": ("{ sharpe = 1.5 }", {"sharpe": 1.5}),
    "promotion.samples": ("252", 252),
    "promotion.confidence": ("0.99", 0.99),
    "promotion.measure": ("mean", "mean"),
    "promotion.min_gain": ("0.5", 0.5),
    "promotion.max_drawdown_ratio": ("1.2", 1.2),
    "promotion.looks": ("4", 4),
    "promotion.block": ("10", 10),
    "promotion.resamples": ("2000", 2000),
    "agents.0.min_trade": ("0.01", 0.01),
    "agents.0.reads": ("bars", ("bars",), "agents.0.policy=mine.py:act"),
    "agents.0.params": ("{ lookback = 3 }", {"lookback": 3}),
    "agents.0.sizing.regime.model": ("markov", "markov"),
    "agents.0.sizing.regime.of": ("SPY", "SPY"),
    "agents.0.sizing.regime.bull": ("1.2", 1.2),
    "agents.0.sizing.regime.bear": ("0.3", 0.3),
    "agents.0.sizing.regime.volatile": ("0.2", 0.2),
    "agents.0.sizing.regime.spread": ("0.8", 0.8),
    "agents.0.sizing.regime.dwell": ("10", 10),
    "agents.0.sizing.risk_budget.0.symbol": ("QQQ", "QQQ"),
    "agents.0.sizing.risk_budget.0.volatility": ("0.08", 0.08),
    "agents.0.sizing.risk_lookback": ("63", 63),
    "agents.0.sizing.kelly": ("0.5", 0.5),
    "agents.0.sizing.kelly_method": ("bets", "bets", "agents.0.sizing.kelly=0.4"),
    "agents.0.sizing.kelly_lookback": ("126", 126, "agents.0.sizing.kelly=0.4"),
    "agents.0.sizing.risk_free": ("0.01", 0.01, "agents.0.sizing.kelly=0.4"),
    "agents.0.sizing.volatility_target": ("0.12", 0.12),
    "agents.0.sizing.volatility_lookback": ("21", 21, "agents.0.sizing.volatility_target=0.1"),
    "agents.0.sizing.max_gross": ("0.8", 0.8),
    "agents.0.sizing.momentum_filter": ("126", 126),
    "agents.0.rebalance.when": ("calendar", "calendar"),
    "agents.0.rebalance.every": ("two_weeks", "two_weeks", "agents.0.rebalance.when=calendar"),
    "agents.0.rebalance.drift": ("0.1", 0.1, "agents.0.rebalance.when=threshold"),
    "agents.0.rebalance.risk_drift": ("0.1", 0.1, "agents.0.rebalance.when=threshold"),
    "agents.0.rebalance.events": ('["regime"]', ("regime",), "agents.0.rebalance.when=event"),
    "agents.0.rebalance.wait": ("10", 10, "agents.0.rebalance.when=event"),
    "agents.0.rebalance.lookback": ("63", 63),
    "agents.0.rebalance.short": ("10", 10, "agents.0.rebalance.when=event"),
    "agents.0.rebalance.volatility_ratio": ("3", 3.0, "agents.0.rebalance.when=event"),
    "agents.0.rebalance.correlation_change": ("0.5", 0.5, "agents.0.rebalance.when=event"),
    "agents.0.rebalance.band": ("0.02", 0.02),
    "agents.0.rebalance.max_change": ("0.2", 0.2),
    "agents.0.rebalance.max_trades": ("10", 10),
    "agents.0.rebalance.max_turnover": ("0.5", 0.5),
    "agents.0.rebalance.min_notional": ("100.00", 100_000_000),
    "agents.0.rebalance.cost_aware.risk_aversion": ("3", 3.0),
    "agents.0.rebalance.cost_aware.horizon": ("42", 42),
    "agents.0.rebalance.cost_aware.cost_bp": ("5", 5.0),
    "agents.0.rebalance.cost_aware.fixed": ("1.00", 1_000_000),
    "manual.capital": ("0.2", 0.2),
    "manual.profile": ("conservative", "conservative"),
    "portfolios.places": ("3", 3),
    "portfolios.profile": ("conservative", "conservative"),
    "portfolios.min_trade": ("0.01", 0.01),
    "live.max_account_notional": ("25000.00", 25_000_000_000),
    "live.max_order_notional": ("2500.00", 2_500_000_000),
    "live.max_orders_per_day": ("20", 20),
    "live.ramp.days": ("5", 5),
    "live.ramp.from": ("0.2", 0.2),
    "live.paper_days": ("40", 40),
    "live.loosen_after": ('"12h"', 12 * 3600 * 10**9),
    "schedules.0.name": ("other", "other"),
    "schedules.0.do": ("flatten", "flatten"),
    "schedules.0.at": ("close-15m", "close-15m"),
    "schedules.0.cron": ("0 16 * * fri", "0 16 * * fri"),
    "schedules.0.every": ("5m", 300 * S),
    "schedules.0.calendar": ("XLON", "XLON"),
    "schedules.0.timezone": ("Europe/London", "Europe/London"),
    "schedules.0.missed": ("skip", "skip"),
    "schedules.0.on_closed": ("previous", "previous"),
    "schedules.0.agents": ('["one"]', ("one",)),
    "schedules.0.enabled": ("false", False),
    "schedules.0.amount": ("500.00", 500_000_000),
    "schedules.0.within": ("10d", 10 * 86_400 * S, *LIVE, "schedules.0.do=deposit", "schedules.0.amount=1"),
    "bus.kind": ("mqtt", "mqtt"),
    "bus.port": ("1884", 1884),
    "bus.url": ("mqtts://other", "mqtts://other", *MQTT),
    "bus.protocol": ("5", "5", *MQTT),
    "bus.username": ("me", "me", *MQTT),
    "bus.tls.ca": ("ca.pem", "ca.pem", *MQTT),
    "bus.tls.certificate": ("c.pem", "c.pem"),
    "bus.tls.key": ("k.pem", "k.pem"),
    "bus.host": ("::1", "::1"),
    "bus.prefix": ("desk/quantd", "desk/quantd"),
    "bus.home_assistant": ("homeassistant", "homeassistant"),
    "bus.commands": ("true", True),
    "store.url": ("postgresql://host/db", "postgresql://host/db"),
    "store.lease": ("30s", 30 * S),
    "store.keep_days": ("7", 7.0),
    "store.archives": ("/srv/archives", "/srv/archives"),
    "store.alerts_days": ("90", 90.0),
    "store.equity_days": ("365", 365.0),
    "store.orders_days": ("400", 400.0),
    "store.backups": ("/srv/backups", "/srv/backups"),
    "store.keep_backups": ("30", 30),
    "store.replicas": ("3", 3, "store.url=postgresql://host/db"),
    "api.host": ("::1", "::1"),
    "api.port": ("0", 0),
    "api.halt_port": ("0", 0),
    "gateway.kind": ("ccxt", REFUSED),
    "gateway.port": ("8011", 8011),
    "gateway.data": ("pass", "pass", *FEED),
    "api.tls.certificate": ("c.pem", "c.pem"),
    "api.tls.key": ("k.pem", "k.pem"),
    "api.tokens": ("tokens", "tokens"),
    "api.open_reads": ("false", False),
    "api.rate.reads": ("5", 5.0),
    "api.rate.reads_burst": ("30", 30),
    "api.rate.posts": ("2.5", 2.5),
    "api.rate.posts_burst": ("8", 8),
    "api.rate.proposals": ("12", 12),
    "api.names": ('["trader.example"]', ("trader.example",)),
    "api.cors": ('["https://pages.example"]', ("https://pages.example",)),
    "alerts.levels": ('["CRITICAL"]', ("CRITICAL",)),
    "alerts.per_minute": ("5", 5),
    "alerts.quiet_hours": ("22:00-07:00", "22:00-07:00"),
    "alerts.escalate": ('["webhook"]', ("webhook",)),
    "alerts.quiet_levels": ('["INFO", "WARNING"]', ("INFO", "WARNING"), "alerts.quiet_hours=22:00-07:00"),
    "alerts.remind": ("2h", 7_200 * S),
    "alerts.group": ("30s", 30 * S),
    "alerts.alarms": ('["drawdown > 0.1"]', ("drawdown > 0.1",)),
    "alerts.notices.milestone": ("0.1", 0.1),
    "alerts.notices.decay": ("63", 63),
    "alerts.notices.correlation": ("0.3", 0.3),
    "alerts.notices.rebalances": ("true", True),
    "alerts.escalate_after": ("5m", 300 * S, 'alerts.escalate=["webhook"]'),
    "alerts.dead_man.url": ("https://hc.example/1", "https://hc.example/1"),
    "alerts.dead_man.every": ("30s", 30 * S),
    "alerts.timezone": ("Europe/Paris", "Europe/Paris", "alerts.quiet_hours=22:00-07:00"),
    "alerts.sinks": ('{ webhook = { url = "https://a/" } }', {"webhook": {"url": "https://a/"}}),
    "models.trusted_keys": ('["keys/desk.pem"]', ("keys/desk.pem",)),
    "log.level": ("debug", "debug"),
    "log.format": ("json", "json"),
}
LIMIT_ROWS = {
    "collar": ("0.02", 0.02),
    "reduce_collar": ("0.1", 0.1),
    "flatten_collar": ("0.2", 0.2),
    "max_price_age": ("1h", 3_600 * S),
    "in_flight": ("0.1", 0.1),
    "max_cash_debit": ("0.1", 0.1),
    "cash_reserve": ("0.05", 0.05),
    "min_history": ("90", 90),
    "max_position_weight": ("0.2", 0.2),
    "max_gross_exposure": ("1.5", 1.5),
    "max_net_exposure": ("0.5", 0.5),
    "max_order_notional": ("5000", 5_000_000_000),
    "max_share_of_volume": ("0.01", 0.01),
    "allow_short": ("true", True),
    "restricted": ('["QQQ"]', ("QQQ",)),
    "max_sector_weight": ("0.5", 0.5),
    "max_concentration": ("0.4", 0.4),
    "max_herfindahl": ("0.4", 0.4),
    "max_leverage": ("1.5", 1.5),
    "group_caps.0.group": ("other", "other"),
    "group_caps.0.cap": ("0.25", 0.25),
    "liquidity.days": ("3", 3.0),
    "liquidity.participation": ("0.05", 0.05),
    "order_rate.orders": ("30", 30),
    "order_rate.per": ("1h", 3_600 * S),
    "duplicate_window": ("5s", 5 * S),
    "protective.stop_loss": ("0.1", 0.1),
    "protective.take_profit": ("0.3", 0.3),
    "protective.trailing": ("true", True),
    "protective.cooldown": ("9", 9),
    "protective.at_venue": ("true", True),
    "max_realised_volatility": ("0.3", 0.3),
    "min_diversification": ("0.2", 0.2),
    "average_correlation": ("0.5", 0.5),
    "min_sharpe": ("0.4", 0.4),
    "max_turnover": ("0.5", 0.5),
    "volatility_lookback": ("126", 126),
    "max_volatility": ("0.25", 0.25),
    "max_drawdown": ("0.2", 0.2),
    "max_daily_loss": ("0.03", 0.03),
    "max_weekly_loss": ("0.06", 0.06),
    "max_open_orders": ("50", 50),
    "stress.limit": ("0.3", 0.3),
    "stress.scenarios": ('["2008"]', ("2008",)),
    "correlation.threshold": ("0.8", 0.8),
    "correlation.joint_weight": ("0.6", 0.6),
    "correlation.min_weight": ("0.1", 0.1),
    "correlation.lookback": ("126", 126),
    "correlation.strict": ("true", True),
}
for tail in ("var", "cvar"):
    LIMIT_ROWS |= {
        f"{tail}.limit": ("0.05", 0.05),
        f"{tail}.method": ("parametric", "parametric"),
        f"{tail}.confidence": ("0.99", 0.99),
        f"{tail}.horizon": ("5", 5),
        f"{tail}.lookback": ("504", 504),
    }
for name, limit in catalogue.EXTRA.items():
    if limit.configured and name not in LIMIT_ROWS:  # a further limit is one number within its bounds
        middle = (limit.bounds.low + limit.bounds.high) / 2
        LIMIT_ROWS[name] = (repr(middle), middle)
for owner in ("risk", "agents.0.limits", "manual.limits", "portfolios.limits"):
    ROWS |= {f"{owner}.{key}": row for key, row in LIMIT_ROWS.items()}


def path_of(dotted):
    return tuple(int(part) if part.isdigit() else part for part in dotted.split("."))


@cache
def before_with(text, *sets):
    """The configuration without the other value, its values by path, and its digest."""
    config = read(text, KNOWN, sets=list(sets))
    return flat(config), digest(config)


@pytest.mark.requirement("R-004", "R-264")
@pytest.mark.parametrize("key", ROWS)
def test_another_value_of_a_key_is_parsed_and_changes_nothing_else(key):
    other, parsed, *allowed = ROWS[key]
    sets = list(allowed)
    text = TEXT
    if key == "schedules.0.on_closed":
        text = text.replace('at = "close"', 'cron = "0 16 * * fri"')
        before = before_with(text)
    elif key == "schedules.0.amount":
        text = text.replace('do = "rebalance"', 'do = "deposit"\namount = "1.00"')
        before = before_with(text)
    elif key in ("schedules.0.cron", "schedules.0.every"):
        text = text.replace('at = "close"', "")
        before = before_with(text.replace('do = "rebalance"', 'do = "rebalance"\nat = "open"'))
    elif key in ("agents.2.approval", "agents.2.cut", "agents.2.live", "agents.2.within"):
        text += '[[agents]]\nname = "guest"\npolicy = "external"\ncapital = 0.01\n'
        text += 'approval = "person"\n' if key == "agents.2.within" else ""
        before = before_with(text)
    elif key.startswith("promotion."):
        text += '[[agents]]\nname = "rival"\npolicy = "momentum"\ncapital = 0.1\nshadow = true\nchallenges = "one"\n'
        before = before_with(text)
    elif key == "bus.kind":
        before, sets = before_with(text), ["bus.url=mqtt://host"]
    elif key == "feed.kind":
        before = before_with(text)
    else:
        before = before_with(text, *sets)
    if parsed is REFUSED:
        with pytest.raises(ConfigError, match=f"{other}.* is not a valid value"):
            read(text, KNOWN, sets=[f"{key}={other}"])
        return
    after = read(text, KNOWN, sets=[*sets, f"{key}={other}"])
    (old, was), new = before, flat(after)
    assert old[path_of(key)] != parsed
    assert new[path_of(key)] == parsed
    other_paths = {p for p in old if old[p] != new[p]} - {path_of(key)}
    follows = ("agents", 0, "rebalance", "risk_drift")  # off, where only `drift` is written
    assert other_paths <= {("schedules", 0, "at"), ("bus", "url"), follows}
    quiet = any(".".join(pattern_of(path_of(key))) == n or key.startswith(f"{n}.") for n in NOT_TRADING)
    if key not in ("schedules.0.cron", "schedules.0.every"):
        assert (was == digest(after)) == quiet


@pytest.mark.requirement("R-264")
def test_every_key_has_its_row():
    leaves = {pattern for pattern, key in all_keys(DOCUMENT).items() if key.section is None}
    assert leaves == {pattern_of(path_of(key)) for key in ROWS}


def test_the_names_that_the_checks_list_are_those_of_the_gate():
    assert Limits().min_history == MIN_HISTORY
    assert set(catalogue.PROFILES) == set(PROFILES)
    assert set(SHIPPED) == set(SHOCKS)


def test_costs_are_those_of_the_simulated_venue():
    remote = {"venue", "url", "timeout_ns", "settle_ns", "reconcile_ns", "differences", "cash_tolerance_micro"}
    other_keys = {"kind", "cash_micro", "costs_file"}  # the table of a file is read where the parts of a run are made
    keys = {key.attribute for key in keys_of(Broker).values()} - other_keys - remote
    assert keys == set(Costs.__struct_fields__) - {"table"}
    said = {"commission_min_micro": "1.00", "latency_ns": "250ms", "seed": "7", "participation": "0.2"}
    default = read(TEXT, KNOWN).broker.costs()
    for name in keys:
        key = name.removesuffix("_micro").removesuffix("_ns")
        costs = read(TEXT, KNOWN, sets=[f"broker.{key}={said.get(name, '0.5')}"]).broker.costs()
        assert [n for n in keys if getattr(costs, n) != getattr(default, n)] == [name]


def test_a_broker_with_only_cash_costs_what_the_shipped_one_does_and_zero_is_written_out():
    only_cash = read(TEXT, KNOWN).broker.costs()
    shipped = tomllib.loads((ROOT / "config.toml").read_text())["broker"]
    costs = {name: shipped[name] for name in Costs.__struct_fields__ if name in shipped and name != "seed"}
    assert {"commission_bp", "spread_bp", "slippage_bp", "participation", "borrow_bp_annual"} == set(costs)
    assert only_cash == Costs(**costs)
    assert read(TEXT, KNOWN, sets=[f"broker.{name}=0" for name in costs]).broker.costs() == Costs()
