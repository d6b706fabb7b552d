"""quantd.daemon.config: what a configuration means, and what is said when it is wrong."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.config import Config, ConfigError, applicable, digest, load, read
from quantd.trading.instruments import NANO
from tests.support.checkout import ROOT
from tests.support.examples import examples
from tests.support.known_names import KNOWN, SMALL

TEXT = (ROOT / "config.toml").read_text()


def mistakes(text, sets=(), environ=None):
    with pytest.raises(ConfigError) as caught:
        read(text, KNOWN, sets=sets, environ=environ or {})
    return str(caught.value).splitlines()


def changed(old, new, text=SMALL):
    assert text.count(old) == 1
    return text.replace(old, new)


def test_the_default_configuration_is_paper_trading_on_bundled_bars():
    config = load(ROOT / "config.toml", KNOWN)
    assert (config.quantd.mode, config.broker.kind, config.feed.kind) == ("paper", "paper", "replay")
    assert config.universe.symbols == ("SPY", "QQQ", "IWM", "AAPL", "BAC")
    assert (config.feed.stamps, config.feed.start, config.feed.pace) == ("session", dt.date(2019, 1, 2), "5/s")
    assert [agent.name for agent in config.agents] == ["learned", "parity", "trend"]
    assert config.at("data") == ROOT / "data"


def test_money_and_sizes_become_exact_integers():
    text = (
        changed('"1000.00"', '"0.1"') + '[[universe.instruments]]\nsymbol = "QQQ"\nlot = "0.000001"\ntick = "0.0001"\n'
    )
    config = read(text, KNOWN)
    assert config.broker.cash_micro == 100_000
    universe = config.instruments()
    assert universe.lot_nano == [NANO, 1_000]
    assert universe.instruments[1].tick_nano == 100_000


def test_an_instrument_without_a_calendar_has_that_of_the_house():
    tables = '[[universe.instruments]]\nsymbol = "QQQ"\ncalendar = "24/7"\n'
    config = read(changed('symbols = ["SPY", "QQQ"]', 'symbols = ["SPY", "QQQ"]\ncalendar = "XLON"') + tables, KNOWN)
    assert [i.calendar for i in config.instruments().instruments] == ["XLON", "24/7"]


def test_symbols_may_stand_in_a_file(tmp_path):
    (tmp_path / "list.txt").write_text("SPY # the market\n\n# none\nIWM\n")
    (tmp_path / "config.toml").write_text(changed('["SPY", "QQQ"]', '"list.txt"'))
    assert load(tmp_path / "config.toml", KNOWN).universe.symbols == ("SPY", "IWM")
    assert mistakes(changed('["SPY", "QQQ"]', '"none.txt"'))[0].startswith(
        'config.toml:2: [universe] symbols = "none.txt": this file does not exist'
    )


@pytest.mark.parametrize("value", ["{ symbol = 'SPY' }", "3", "['SPY']"])
def test_a_symbol_that_is_no_text_is_a_mistake(value):
    mistake_lines = mistakes(changed('["SPY", "QQQ"]', f'["SPY", {value}]'))
    assert mistake_lines[0].startswith("config.toml:2: [universe] symbols")
    table = SMALL + f"[[universe.instruments]]\nsymbol = {value}\n"
    assert mistakes(table)[0].startswith("config.toml:14: [universe] instruments[0].symbol")


def test_all_mistakes_are_told_at_once_with_their_lines():
    text = TEXT
    for old, new in (
        ("max_drawdown = 0.25", "max_drawdwon = 0.25"),
        ("max_position_weight = 0.35", "max_position_weight = 15"),
        ("capital = 0.2\n", "capital = 0.3\n"),
    ):
        text = changed(old, new, text)
    line = {
        key: 1 + text[: text.index(key)].count("\n") for key in ("max_drawdwon", "max_position_weight", "capital = 0.3")
    }
    assert mistakes(text) == [
        f"config.toml:{line['max_position_weight']}: [risk] max_position_weight = 15 is a percentage; write 0.15.",
        f"config.toml:{line['max_drawdwon']}: [risk] max_drawdwon is not a key. Did you mean max_drawdown?",
        f"config.toml:{line['capital = 0.3']}: [[agents]] shares add up to 1.10; they may add up to 1 at most "
        "(learned 0.4, parity 0.4, trend 0.3).",
        "3 mistakes; nothing was started.",
    ]


CASES = [
    ("max_drawdown = 0.25", "max_drawdown = nan", "8: [risk] max_drawdown = nan is not a finite number"),
    ("max_drawdown = 0.25", "max_drawdown = -0.2", "8: [risk] max_drawdown = -0.2 is negative; write 0.2"),
    ("max_drawdown = 0.25", "max_drawdown = 25", "8: [risk] max_drawdown = 25 is a percentage; write 0.25"),
    ("max_drawdown = 0.25", "max_drawdown = 0", "8: [risk] max_drawdown = 0 is too small"),
    ("max_drawdown = 0.25", 'max_drawdown = "0.25"',
    "8: [risk] max_drawdown = \"0.25\" is not a number; write 0.25 without"),
    ("max_drawdown = 0.25", 'max_drawdown = ".2"', "is not a number; write 0.2 without quotes"),
    ("max_drawdown = 0.25", 'max_drawdown = "25%"', "is not a number; write 0.25 without quotes"),
    ("capital = 0.5", 'capital = 0.5\nrebalance = { when = "never" }', "write one of always, calendar"),
    ("capital = 0.5", 'capital = 0.5\n[[schedules]]\nname = "a"\ndo = "deposit"\namount = "5.00"\nevery = "month"',
     "with ms, s, m, h, d or w; for months a schedule has cron"),
    ("max_drawdown = 0.25", 'follow_ups = "5%"', "is not a whole number; write a number without quotes"),
    ('cash = "1000.00"', 'cash = "1000.00"\ncommission_bp = "0.1%"', "is not a number; write 10 without quotes"),
    ("max_drawdown = 0.25", "max_gross_exposure = 1e9", "8: [risk] max_gross_exposure = 1000000000.0 is too large"),
    ("max_drawdown = 0.25", "follow_ups = 2.5", "8: [risk] follow_ups = 2.5 is not a whole number"),
    ("max_drawdown = 0.25", 'max_price_age = "30"', '8: [risk] max_price_age = "30" is not a duration'),
    ("max_drawdown = 0.25", 'max_price_age = "300d"', '8: [risk] max_price_age = "300d" is out of bounds'),
    ("max_drawdown = 0.25", 'rearm = "soon"', '8: [risk] rearm = "soon" is not valid'),
    ("max_drawdown = 0.25", 'flatten_on = ["drawdwn"]', "Did you mean drawdown?"),
    ("max_drawdown = 0.25", 'restricted = ["SPX"]', '8: [risk] restricted[0] = "SPX" is not a known symbol'),
    ("max_drawdown = 0.25", "var = { limt = 0.03 }", "8: [risk] var.limt is not a key. Did you mean limit?"),
    ("max_drawdown = 0.25", "var = 0.03", "8: [risk] var = 0.03 is not a table"),
    ("max_drawdown = 0.25", "max_order_notional = 5000.5", "a number without exact decimals"),
    ("max_drawdown = 0.25", 'max_order_notional = "5,000"', '"5,000" is not an amount of money'),
    ("max_drawdown = 0.25", 'profile = "balancd"',
    '8: [risk] profile = "balancd" is not a known profile. Did you mean balanced?'),
    ("max_drawdown = 0.25", "slippage_bp = 1.0",
    "8: [risk] slippage_bp is not a key of this table; move it to [broker]"),
    ("max_drawdown = 0.25",
    'max_drawdown = 0.25\n[[schedules]]\nname = "x"\ndo = "risk_report"\nat = "close"\ndays = ["mon"]',
    '"x" days is not a key; the keys of this table are name, do, at, cron'),
    ("[risk]", "[api]\nrate = { commands = 5 }\n[risk]",
    "rate.commands is not a key; the keys of this table are reads, "),
    ("[risk]", "[rsk]", "7: [rsk] is not a section. Did you mean [risk]?"),
    ("[[agents]]", "[agents]", "9: [[agents]] must be a list of tables; write [[agents]]"),
    ('cash = "1000.00"', "cash = 1000.10", "6: [broker] cash = 1000.1 is a number without exact decimals"),
    ('cash = "1000.00"', 'cash = "1000.1234567"', "more than 6 decimal places"),
    ('cash = "1000.00"', 'cash = "0"', '6: [broker] cash = "0" is not above 0'),
    ('cash = "1000.00"', 'cash = "1152921504606.85"',
    '6: [broker] cash = "1152921504606.85" is more than the ledger can hold 4 times; write "1152921504606" at most'),
    ('cash = "1000.00"', 'cash = "4611686018427.387904"',
    '"4611686018427.387904" is too large; write "4611686018427" at most'),
    ('path = "bars.parquet"', 'path = "bars.parquet"\n[[universe.instruments]]\nsymbol = "SPY"\nlot = "4611686018.5"',
    'lot = "4611686018.5" is too large; write "4611686018" at most'),
    ('cash = "1000.00"', 'cash = "11529215047"\n[[universe.instruments]]\nsymbol = "SPY"\nlot = "0.00000001"',
    '9: [universe] instruments[0].lot = "0.00000001": a lot of 0.00000001 is so small that the ledger cannot count the '
    'lots; write [[universe.instruments]] lot = "0.0000001" or more'),
    ('cash = "1000.00"', "", "5: [broker] cash is missing; write cash"),
    ('policy = "momentum"', 'policy = "momentm"',
    '"one" policy = "momentm" is not a known policy. Did you mean momentum?'),
    ('policy = "momentum"', 'policy = "my.py:"', "names no function"),
    ('policy = "momentum"', 'policy = "momentum"\nparams = { lokback = 3 }',
    "params.lokback is not a parameter of momentum"),
    ('policy = "momentum"', 'policy = "a.py:act"\nparams = { api_key = "x" }', "looks like a secret"),
    ("capital = 0.5", "capital = 1.4", '"one" capital = 1.4 is too large; write a value above 0 and at most 1'),
    ('path = "bars.parquet"', 'path = "bars.parquet"\nat_end = "loop"', 'at_end = "loop" is not a valid value'),
    ("capital = 0.5", "capital = 0.5\nlimits = { follow_ups = 1 }",
    "limits.follow_ups is not a key of this table; move it to [risk]"),
    ('name = "one"', 'name = "house"', '"house" is reserved for a book of the house'),
    ('path = "bars.parquet"', 'kind = "replya"', '4: [feed] kind = "replya" is not a known feed. Did you mean replay?'),
    ('path = "bars.parquet"', 'path = "b"\nstart = 2020-01-02\nend = 2019-01-02',
    "6: [feed] end = 2019-01-02 is before start"),
    ('path = "bars.parquet"', 'path = "b"\nstart = "2020-01-02"', '5: [feed] start = "2020-01-02" is not a date'),
    ('path = "bars.parquet"', "", "3: [feed] path is missing"),
    ('path = "bars.parquet"', 'kind = "alpaca"\nfallback = ["replay"]', 'has "replay", which is not a live feed'),
    ('path = "bars.parquet"', 'path = "b"\npace = "0/s"', 'pace = "0/s" is not valid'),
    ('path = "bars.parquet"', 'path = "b"\nactions = "a.csv"\nadjusted = true',
    "adjusted = true with actions, but adjusted prices hold their splits and dividends already"),
    ('path = "bars.parquet"', 'kind = "alpaca"\nadjusted = true', "adjusted = true is for recorded bars only"),
    ('["SPY", "QQQ"]', '["SPY", "SPY"]', "names SPY twice"),
    ('["SPY", "QQQ"]', "[]", "is empty"),
    ('["SPY", "QQQ"]', '["SPY", "QQQ"]\ncalendar = "XNYC"',
    '3: [universe] calendar = "XNYC" is not a known calendar. Did'),
    ('["SPY", "QQQ"]', '["SPY", "QQQ"]\nbenchmark = "spy"', '3: [universe] benchmark = "spy" is not valid'),
    ('["SPY", "QQQ"]', '["SPY", "QQQ"]\nbenchmark_path = "b"', "3: [universe] benchmark_path is the file of a"),
    ('["SPY", "QQQ"]', '["SPY", "QQQ"]\nbenchmark = "SPY"\nbenchmark_path = "b"', "the bars of the feed are used"),
    ('["SPY", "QQQ"]\n[feed]\npath = "bars.parquet"', '["SPY", "QQQ"]\nbenchmark = "SPQ"\n[feed]\nkind = "alpaca"',
    "did you mean SPY? Else write benchmark_path"),
    ("[risk]", '[quantd]\nmode = "live"\n[risk]', 'mode = "live" needs a venue, but [broker] kind = "paper"'),
    ("[risk]", '[bus]\nurl = "mqtt://h"\n[risk]', 'url applies only to kind = "mqtt"'),
    ("[risk]", '[bus]\nkind = "mqtt"\n[risk]', "7: [bus] url is missing"),
    ("[risk]", '[bus]\npassword = "hunter2"\n[risk]', "8: [bus] password looks like a secret"),
    ("[risk]", '[store]\nurl = "postgresql://me:hunter2@host/db"\n[risk]', "has a password"),
    ("[risk]", '[alerts]\nlevels = ["INFO"]\n[risk]', "has no CRITICAL, which is always sent"),
    ("[risk]", '[alerts.sinks.webhok]\nurl = "https://a/"\n[risk]',
    "7: [alerts] sinks.webhok is not a known sink. Did you mean webhook?"),
    ("[risk]", "[alerts]\nsinks = 5\n[risk]", "8: [alerts] sinks = 5 is not a table"),
    ("[risk]", "[alerts.sinks.webhook]\n[risk]", "7: [alerts] sinks.webhook has no url; write url = ..."),
    ("[risk]", '[alerts.sinks.webhook]\nurl = "https://a/"\ntimeot_s = 3\n[risk]',
    "9: [alerts] sinks.webhook.timeot_s is not a key of webhook. Did you mean timeout_s?"),
    ("[risk]", '[alerts.sinks.webhook]\nurl = "https://a/"\ntimeout_s = 0\n[risk]',
    "9: [alerts] sinks.webhook.timeout_s = 0 is refused: expected float > 0.0"),
    ("[risk]", '[alerts.sinks.webhook]\nurl = "https://a/"\nlevels = ["INFO"]\n[risk]',
    "9: [alerts] sinks.webhook.levels = [\"INFO\"] has no CRITICAL, which is always sent"),
    ("[risk]", '[alerts.sinks.webhook]\nurl = "https://a/"\nlevels = ["LOUD"]\n[risk]',
    "sinks.webhook.levels = [\"LOUD\"] is refused: invalid enum value 'LOUD'"),
    ("[risk]", '[alerts.sinks.webhook]\n\nurl = "http://example.org/"\n[risk]',
    '9: [alerts] sinks.webhook.url = "http://example.org/" is not encrypted; write https://.'),
    ("[risk]", '[alerts.sinks.webhook]\nurl = "https://me:hunter2@a/"\n[risk]', 'url = "https://me:…@a/" has a login'),
    ("[risk]", '[alerts.sinks.webhook]\nurl = "https://a/"\nkey_token = "hunter2"\n[risk]',
    "9: [alerts] sinks.webhook.key_token looks like a secret"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalance"\n[risk]', '7: [[schedules]] "a" has no time'),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalance"\nat = "close"\nevery = "5m"\n[risk]', "has at and every"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalance"\nat = "clse"\n[risk]',
    '10: [[schedules]] "a" at = "clse" is not valid'),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalanse"\nat = "close"\n[risk]', "Did you mean rebalance?"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalance"\ncron = "0 16 * * 1-5"\n[risk]', "write names, mon-fri"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalance"\ncron = "0 16 * *"\n[risk]', "write 5 fields"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "flatten"\nat = "close"\non_closed = "skip"\n[risk]',
    "11: [[schedules]] \"a\" on_closed applies only to cron"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "backup"\ncron = "0 1 1 * *"\non_closed = "next"\n[risk]', "remove it"),
    ('[universe]', '[universe]\nclosed = ["2025-13-01"]', 'closed[0] = "2025-13-01" is not a date; write "2025-01-09"'),
    ('[universe]', '[universe]\nclosed = ["2025-01-09", "2025-01-09"]', "names 2025-01-09 twice"),
    ("[risk]", '[[schedules]]\nname = "a"\ndo = "rebalance"\ncron = "99 16 * * mon"\n[risk]', "is not a cron line"),
    (
        "[risk]",
        '[[schedules]]\nname = "a"\ndo = "rebalance"\nat = "close"\nagents = ["two"]\n[risk]',
        '11: [[schedules]] "a" agents[0] = "two" is not a known agent',
    ),
    (
        "[risk]",
        '[portfolios]\nplaces = 1\n[[schedules]]\nname = "a"\ndo = "rebalance"\nat = "close"\n'
        'agents = ["portfolio-1"]\n[risk]',
        "; no schedule decides for a portfolio: `quantd portfolio rebalance` changes its weights",
    ),
    (
        "[risk]",
        '[[schedules]]\nname = "a"\ndo = "flatten"\nat = "close"\nagents = ["one"]\n[risk]',
        'agents has no effect on do = "flatten", which is for the whole account; remove it',
    ),
    (
        "[risk]",
        '[[agents]]\nname = "bot"\npolicy = "external"\ncapital = 0.1\nshadow = true\n'
        '[[schedules]]\nname = "a"\ndo = "rebalance"\nat = "close"\nagents = ["one", "bot"]\n[risk]',
        '"bot" is an outside agent, which decides by its proposals and at no schedule',
    ),
    ("[risk]", "[capital]\nfloor = 0.1\n[risk]", "7: [capital] has no effect; write [[schedules]] with do"),
    ("[risk]", "[promotion]\nlooks = 5\n[risk]", "7: [promotion] has no effect; write a shadow with challenges"),
    (
        "[risk]",
        '[capital]\n[[capital.regimes]]\nname = "a"\nshares = [{ agent = "one", share = 0.5 }]\n'
        '[[schedules]]\nname = "s"\ndo = "reallocate"\nat = "close"\n[risk]',
        'regimes applies only to method = "regime"',
    ),
    (
        "[risk]",
        '[[schedules]]\nname = "a"\ndo = "rebalance"\nat = "close"\ntimezone = "America/NewYork"\n[risk]',
        "Did you mean America/New_York?",
    ),
    ('"1000.00"', '"1000.00', "6: is not TOML"),
    ('capital = 0.5', 'capital = 0.5\nrebalance = { every = "week" }',
    'rebalance.every applies only to when = "calendar"; write when = "calendar", or remove it'),
    ('capital = 0.5', 'capital = 0.5\nrebalance = { when = "calendar", drift = 0.05 }',
    'rebalance.drift applies only to when = "threshold"'),
    ('capital = 0.5', 'capital = 0.5\nsizing = { kelly_lookback = 63 }', "lookback applies only to kelly; write kelly"),
    ("[risk]", '[alerts]\nquiet_levels = ["WARNING"]\n[risk]', "quiet_levels applies only to quiet_hours"),
    ("[risk]", '[alerts]\nescalate_after = "5m"\n[risk]', "escalate_after applies only to escalate; write escalate"),
    ("[risk]", '[execution]\nslices = 3\n[risk]', 'slices applies only to style = "twap" or style = "vwap"'),
]  # fmt: skip


@pytest.mark.requirement("R-004", "R-265")
@pytest.mark.parametrize(
    ("old", "new", "said"), CASES, ids=[f"{k}-{new[:30]!r}" for k, (_, new, _) in enumerate(CASES)]
)
def test_a_mistake_is_named_with_its_line_and_its_remedy(old, new, said):
    lines = mistakes(changed(old, new))
    matching_lines = [line for line in lines if said in line]
    assert matching_lines, lines
    assert all(line.startswith("config.toml:") for line in lines[:-1])
    assert "hunter2" not in "\n".join(lines)


def test_one_slip_is_one_mistake():
    for old, new, _ in CASES:
        # these contradict more than one table, or name a policy that the registry of the test lacks
        if "agents]]" in old or new == "[rsk]" or 'mode = "live"' in new or "external" in new:
            continue
        assert mistakes(changed(old, new))[-1] == "1 mistake; nothing was started.", new


def test_shares_of_shadow_agents_do_not_count():
    extra = '[[agents]]\nname = "two"\npolicy = "momentum"\ncapital = 0.6\n'
    assert "add up to 1.10" in mistakes(SMALL + extra)[0]
    configuration = read(SMALL + extra + "shadow = true\n", KNOWN)
    assert [len(group) for group in (configuration.agents, configuration.shadows, configuration.seats)] == [1, 1, 2]


def test_shares_are_added_exactly():
    agent = '[[agents]]\nname = "a{0}"\npolicy = "momentum"\ncapital = {1}\n'
    head = SMALL[: SMALL.index("[[agents]]")]
    for shares in ((0.7, 0.2, 0.1), (0.1,) * 10, (0.3, 0.3, 0.4)):
        read(head + "".join(agent.format(k, share) for k, share in enumerate(shares)), KNOWN)
    assert "add up to" in mistakes(head + "".join(agent.format(k, s) for k, s in enumerate((0.7, 0.2, 0.1000001))))[0]


def test_two_agents_of_one_name_are_refused_with_both_lines():
    lines = mistakes(SMALL + '[[agents]]\nname = "one"\npolicy = "momentum"\ncapital = 0.1\n')
    assert lines[0].startswith('config.toml:14: [[agents]] "one" name = "one" is already used (line 9)')


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no such file or directory; `quantd init` writes one"):
        load(tmp_path / "none.toml", KNOWN)
    beside = tmp_path / "mine" / "config.toml"
    beside.parent.mkdir()
    beside.touch()
    with pytest.raises(ConfigError, match=f"`quantd init` writes one, or name {beside}"):
        load(tmp_path / "config.toml", KNOWN)
    (tmp_path / "bad.toml").write_bytes(b"# fine\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"bad.toml:2: is not UTF-8"):
        load(tmp_path / "bad.toml", KNOWN)


def test_files_that_are_named_and_missing_are_listed_with_their_lines():
    files = read(changed('policy = "momentum"', 'policy = "mine.py:act"'), KNOWN).missing_files()
    assert [(m.line, m.path) for m in files] == [(4, "feed.path"), (11, "agents[0].policy")]


@pytest.mark.long
@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, len(TEXT)), st.text(max_size=4), st.integers(0, 6))
def test_no_text_makes_it_crash(at, insert, delete):
    try:
        outcome: object = read(TEXT[:at] + insert + TEXT[at + delete :], KNOWN)
    except ConfigError as error:
        outcome = error
    assert isinstance(outcome, Config) or outcome.mistakes


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a = 0x" + "f" * 9000, "[risk]\nmax_drawdown = 1" + "0" * 400, "x = 9" + "9" * 5000]
)
def test_monstrous_numbers_and_nesting_are_mistakes_too(text):
    assert mistakes(text)[-1].endswith("nothing was started.")


@pytest.mark.requirement("R-266")
def test_a_reload_may_tighten_a_limit_and_not_loosen_it():
    old = read(SMALL, KNOWN)
    _, paths, refused = applicable(old, read(changed("0.25", "0.2") + '[log]\nlevel = "debug"\n', KNOWN))
    assert (set(paths), refused) == ({"risk.max_drawdown", "log.level"}, [])
    for new, said in (
        ("max_drawdown = 0.3", "may be looser than the present value, 0.25"),
        ("", "may be looser"),
        ("max_drawdown = 0.25\nvar = { limit = 0.1 }", ""),
    ):
        refused = applicable(old, read(changed("max_drawdown = 0.25", new), KNOWN))[2]
        assert bool(refused) == bool(said)
        assert all(said in str(m) for m in refused)
    profiled = changed("max_drawdown = 0.25", 'profile = "balanced"')
    added = profiled.replace("[risk]\n", "[risk]\nmax_drawdown = 0.5\n")
    assert "the present value, the profile or default" in str(
        applicable(read(profiled, KNOWN), read(added, KNOWN))[2][0]
    )
    refused = applicable(old, read(changed("capital = 0.5", "capital = 0.6"), KNOWN))[2]
    assert "capital = 0.6 is not in force, 0.5 is: it cannot change while the daemon runs" in str(refused[0])
    assert "restart the daemon" in str(refused[0])


def test_what_may_change_is_applied_beside_what_may_not_also_where_agents_are_added_or_in_another_order():
    old = read(SMALL, KNOWN)
    another = '[[agents]]\nname = "another"\npolicy = "momentum"\ncapital = 0.2\n'
    more = SMALL.replace("[[agents]]", f"{another}[[agents]]").replace("max_drawdown = 0.25", "max_drawdown = 0.2")
    limited = more + "limits = { max_drawdown = 0.1 }\n"
    new = read(limited, KNOWN)
    merged, paths, mistakes = applicable(old, new)
    assert "risk.max_drawdown" in paths
    assert merged.risk.max_drawdown == 0.2
    assert [agent.name for agent in merged.document.agents] == [agent.name for agent in old.document.agents]
    assert merged.agents[0].capital == 0.5
    (added,) = mistakes
    assert "[[agents]] are another, one, and those in force are one" in str(added)
    assert applicable(merged, old)[1] == ()  # the way back is looser


@pytest.mark.parametrize(
    ("where", "line", "path"),
    [
        ("[risk]\n", "protective = { stop_loss = 0.1, at_venue = true }\n", "risk.protective.at_venue"),
        ("", "[agents.limits]\nprotective = { at_venue = true }\n", "agents[0].limits.protective.at_venue"),
    ],
)
def test_stops_rest_only_where_a_venue_has_them(where, line, path):
    live = changed('path = "bars.parquet"', 'kind = "ccxt"').replace("cash =", 'kind = "ccxt"\nvenue = "{}"\ncash =')
    text = live.replace(where, where + line) if where else live + line
    said = [m for m in mistakes(text.replace("{}", "coinspot")) if "at_venue" in m]
    assert len(said) == 1
    assert 'stop orders at [broker] venue = "coinspot" are not supported' in said[0]
    assert "remove it" in said[0]
    assert read(text.replace("{}", "kraken"), KNOWN).broker.venue == "kraken"
    assert read(changed("[risk]\n", "[risk]\nprotective = { stop_loss = 0.1, at_venue = true }\n"), KNOWN)


@pytest.mark.parametrize(
    ("symbol", "more", "lot_nano"),
    [
        ("QQQ", "", 10**9),
        ("BRK-B", "", 10**9),
        ("BTC-USD", "", 10),
        ("ETH-EUR", 'calendar = "XLON"', 10),
        ("BTCUSD", 'calendar = "24/7"', 10),
        ("BTC-USD", 'lot = "0.0001"', 100_000),
    ],
)
def test_a_lot_is_the_instruments_own_or_that_of_its_kind(symbol, more, lot_nano):
    text = changed('"QQQ"', f'"{symbol}"') + f'[[universe.instruments]]\nsymbol = "{symbol}"\n{more}\n'
    assert read(text, KNOWN).instruments().lot_nano == [10**9, lot_nano]
    if not more:
        assert read(changed('"QQQ"', f'"{symbol}"'), KNOWN).instruments().lot_nano == [10**9, lot_nano]
        always = changed('"QQQ"]', f'"{symbol}"]\ncalendar = "24/7"')
        assert read(always, KNOWN).instruments().lot_nano == [10, 10]


def test_a_reload_names_values_in_the_units_of_the_file():
    old, new = read(SMALL, KNOWN), read(SMALL.replace('cash = "1000.00"', 'cash = "7000.50"'), KNOWN)
    (mistake,) = applicable(old, new)[2]
    assert '[broker] cash = "7000.50" is not in force, "1000.00" is' in str(mistake)


def test_sinks_change_no_trade_and_need_a_restart():
    old, new = read(SMALL, KNOWN), read(SMALL + '[alerts.sinks.webhook]\nurl = "https://a/"\n', KNOWN)
    assert digest(old) == digest(new)
    (mistake,) = applicable(old, new)[2]
    assert "[alerts] sinks = a value with an address is not in force, {  } is" in str(mistake)
    assert "https://" not in str(mistake)
    assert applicable(new, read(SMALL + '[alerts]\nper_minute = 5\nsinks.webhook.url = "https://a/"\n', KNOWN))[1:] == (
        ("alerts.per_minute",),
        [],
    )
