"""Runs with the simulated venue: each function makes its folder, and leaves a stopped daemon's state in it."""

from datetime import date
from pathlib import Path
from typing import Any, Final

from tests.recorded_runs.daemon import Daemon, killed_after, run_to_end, running
from tests.recorded_runs.market import closes, days, minutes, rows, write_actions, write_bars
from tests.recorded_runs.replaying import GOOD_TILL_CANCELLED
from tests.support.command_line import write

FIRST, LAST = date(2019, 1, 2), date(2019, 6, 28)
GTC_DAEMON: Final = "tests.recorded_runs.good_till_cancelled"

CONFIG: Final = """\
[quantd]
state = "state"
[universe]
symbols = [{symbols}]
calendar = "XNYS"
{instruments}[feed]
path = "bars.csv"
actions = "{actions}"
stamps = "session"
start = {start}
{end}warmup = 30
pace = "{pace}"
at_end = "{at_end}"
[broker]
cash = "100000.00"
commission_bp = 1.0
spread_bp = 2.0
participation = {participation}
[risk]
profile = "research"
collar = 0.05
{risk}{agents}[bus]
port = 0
[api]
port = 0
rate = {{ proposals = 6000, posts = 1000, posts_burst = 1000 }}
[log]
level = "error"
"""


def config(
    symbols: str,
    agents: str,
    *,
    start: str = "2019-03-01",
    end: str = "",
    pace: str = "fast",
    at_end: str = "stop",
    actions: str = "",
    participation: float = 0.1,
    risk: str = "",
    instruments: str = "",
) -> str:
    """A configuration over bars.csv; `symbols` are divided by spaces."""
    return CONFIG.format(
        symbols=", ".join(f'"{symbol}"' for symbol in symbols.split()), agents=agents, start=start,
        end=f"end = {end}\n" if end else "", pace=pace, at_end=at_end, actions=actions, participation=participation,
        risk=risk, instruments=instruments,
    )  # fmt: skip


def agent(name: str, policy: str, capital: float, more: str = "") -> str:
    return f'[[agents]]\nname = "{name}"\npolicy = "{policy}"\ncapital = {capital}\n{more}'


def market(folder: Path, symbols: str, **more: Any) -> None:
    """Daily bars of half a year."""
    stamps = days("XNYS", FIRST, LAST)
    write_bars(folder, *(rows(s, stamps, closes(len(stamps), seed, **more)) for seed, s in enumerate(symbols.split())))


THREE: Final = (
    agent("even", "equal_weight", 0.3)
    + agent("trend", "momentum", 0.3, "params = { lookback = 20 }\nmin_trade = 0.01\n")
    + agent("parity", "inverse_volatility", 0.3, "params = { lookback = 20 }\n")
    + '[[schedules]]\nname = "week"\ndo = "rebalance"\ncron = "0 15 * * fri"\ntimezone = "America/New_York"\n'
    'agents = ["parity"]\n'
)


def three_agents(folder: Path) -> None:
    """Three agents cross, trade and are halted, over two kills and two clean restarts."""
    symbols = "AAA BBB CCC DDD"
    market(folder, symbols, size=0.02)
    write(folder, config(symbols, THREE, pace="6/s"))
    killed_after(folder, 120)
    with running(folder) as daemon:
        daemon.until_more(40)
        for number, book in enumerate(("", "trend", "even")):
            daemon.post("commands", {"command": "halt", "reason": f"look {number}", "agent": book})
            daemon.until_more(12)
            daemon.post("commands", {"command": "resume", "reason": "seen", "agent": book})
            daemon.until_more(12)
        daemon.stop()
    killed_after(folder, 60)
    with running(folder) as daemon:
        daemon.until_more(60)
        daemon.stop()
    run_to_end(folder, "--set", "feed.pace=fast")


SHADOWS: Final = "".join(
    agent(f"champion{k}", "equal_weight", 0.3, "limits = { max_position_weight = 0.02 }\n")
    + agent(f"rival{k}", policy, 0.3, f'{more}shadow = true\nchallenges = "champion{k}"\n')
    for k, (policy, more) in enumerate(
        (
            ("equal_weight", ""),
            ("inverse_volatility", "params = { lookback = 20 }\n"),
            ("momentum", "params = { lookback = 20 }\n"),
        )
    )
) + (
    '[promotion]\nsamples = 40\nmeasure = "mean"\nconfidence = 0.5\nlooks = 4\nmax_drawdown_ratio = 100\n'
    "resamples = 500\n"
    '[[schedules]]\nname = "compare"\ndo = "promote"\ncron = "0 16 * * fri"\ntimezone = "America/New_York"\n'
)


def shadow_promotion(folder: Path) -> None:
    """Three shadows trade in simulation, and take the places of their champions, which may hold little."""
    symbols = "AAA BBB CCC DDD"
    market(folder, symbols, drift=0.004)
    write(folder, config(symbols, SHADOWS, pace="15/s"))
    killed_after(folder, 150)
    with running(folder) as daemon:
        daemon.until_more(250)
        daemon.stop()
    killed_after(folder, 60)
    run_to_end(folder, "--set", "feed.pace=fast")


PORTFOLIOS: Final = (
    agent("even", "equal_weight", 0.2)
    + agent("trend", "momentum", 0.2, "params = { lookback = 20 }\n")
    + "[portfolios]\nplaces = 3\nlimits = { max_position_weight = 0.5, allow_short = false }\n"
)


def portfolios(folder: Path) -> None:
    """Three portfolios are opened, rebalanced and closed, by sales and by a hand-over, over a kill."""
    symbols = "AAA BBB CCC DDD"
    market(folder, symbols)
    write(folder, config(symbols, PORTFOLIOS, pace="5/s", at_end="wait"))
    weights = [{"AAA": 0.4, "BBB": 0.3}, {"CCC": 0.45, "DDD": 0.2}, {"AAA": 0.2, "DDD": 0.4}]
    with running(folder) as daemon:
        daemon.until_more(90)  # the warm-up is 60
        for k, held in enumerate(weights):
            body = {"name": f"core{k}", "weights": held, "capital": "15000", "reason": "a mandate"}
            daemon.post("portfolios", body)
            daemon.until_more(20)
        daemon.post("agents/core0/propose", {"weights": {"CCC": 0.45}, "reason": "drift", "id": "r-0"})
        daemon.until_more(20)
        daemon.kill()
    with running(folder) as daemon:
        daemon.until_more(20)
        for k in (1, 2, 0):
            held = dict.fromkeys(("AAA", "BBB", "CCC"), 0.1 * (k + 1))
            daemon.post(f"agents/core{k}/propose", {"weights": held, "reason": "the month", "id": f"s-{k}"})
            daemon.until_more(15)
        daemon.post("portfolios/core1/close", {"how": "flatten", "reason": "the end"})
        daemon.until_more(15)
        daemon.stop()
    with running(folder) as daemon:
        daemon.until_more(15)
        daemon.post("portfolios/core2/close", {"how": "hand_over", "to": "even", "reason": "the end"})
        daemon.until_more(15)
        daemon.post("portfolios/core0/close", {"how": "flatten", "reason": "the end"})
        daemon.until_more(25)
        daemon.stop()


OUTSIDE: Final = (
    agent("even", "equal_weight", 0.3)
    + agent("trend", "equal_weight", 0.3, "limits = { max_position_weight = 0.02 }\n")
    + agent("guest", "external", 0.3, 'shadow = true\nchallenges = "trend"\nlimits = { max_position_weight = 0.4 }\n')
    + '[promotion]\nsamples = 40\nmeasure = "mean"\nconfidence = 0.5\nlooks = 4\nmax_drawdown_ratio = 100\n'
    "resamples = 500\n"
    '[[schedules]]\nname = "compare"\ndo = "promote"\ncron = "0 16 * * fri"\ntimezone = "America/New_York"\n'
)


def outside_agent(folder: Path) -> None:
    """An outside agent proposes over the API: passed, cut, refused and expired, in its shadow and after its
    promotion."""
    symbols = "AAA BBB CCC"
    market(folder, symbols, drift=0.003)
    write(folder, config(symbols, OUTSIDE, pace="5/s", at_end="wait"))
    number = 0

    def propose(daemon: Daemon, weights: dict[str, float], **more: str) -> Any:
        nonlocal number
        number += 1
        return daemon.call("agents/guest/propose", {"weights": weights, "id": f"p-{number}", "reason": "trend"} | more)

    def several(daemon: Daemon) -> None:
        for weights in ({"AAA": 0.3, "BBB": 0.3}, {"AAA": 0.9}, {"BBB": 0.2, "CCC": 0.35}):
            propose(daemon, weights)
            daemon.until_more(12)
        propose(daemon, {"CCC": 0.2}, expires="2019-01-31T21:00:00Z")
        propose(daemon, {"CCC": 0.2}, plan="0" * 32)

    with running(folder) as daemon:
        daemon.until_more(90)  # the warm-up is 60
        several(daemon)
        daemon.kill()
    with running(folder) as daemon:
        daemon.until_more(10)
        several(daemon)
        daemon.until(lambda: daemon.call("agents/guest/standing")[1]["mode"] == "trading")
        several(daemon)
        daemon.stop()
    with running(folder) as daemon:
        daemon.until_more(5)
        several(daemon)
        daemon.stop()


def gtc_partial_fills(folder: Path) -> None:
    """Orders without an end fill over several bars, and are cancelled for new decisions; two kills."""
    symbols = "AAA BBB CCC"
    stamps = days("XNYS", FIRST, LAST)
    series = (rows(s, stamps, closes(len(stamps), 30 + k, size=0.02), 1500.0) for k, s in enumerate(symbols.split()))
    write_bars(folder, *series)
    agents = agent("even", "equal_weight", 0.5) + agent("trend", "momentum", 0.4, "params = { lookback = 20 }\n")
    (folder / GOOD_TILL_CANCELLED).write_text("# orders of this run have no end\n")
    write(folder, config(symbols, agents, participation=0.05, pace="15/s"))
    killed_after(folder, 100, module=GTC_DAEMON)
    with running(folder, module=GTC_DAEMON) as daemon:
        daemon.until_more(100)
        daemon.stop()
    killed_after(folder, 60, module=GTC_DAEMON)
    run_to_end(folder, "--set", "feed.pace=fast", module=GTC_DAEMON)


def parents(folder: Path) -> None:
    """Decisions are worked over time: as twap, then as a participation, then chased; one kill in each."""
    stamps = minutes(date(2019, 3, 4), date(2019, 3, 12), 5)
    series = (rows(s, stamps, closes(len(stamps), 60 + k, size=0.002), 1_500.0) for k, s in enumerate(("AAA", "BBB")))
    write_bars(folder, *series)
    times = ("open+20m", "open+110m", "open+200m", "close-100m")
    turning = "".join(
        f'[[schedules]]\nname = "{at}"\ndo = "rebalance"\nat = "{at}"\nagents = ["even", "turn"]\n' for at in times
    )
    more = f"params = {{ lookback = 3 }}\n{turning}"
    agents = agent("even", "equal_weight", 0.4) + agent("turn", "momentum", 0.5, more)
    text = config("AAA BBB", agents, start="2019-03-07", pace="fast")
    text = text.replace('stamps = "session"', 'stamps = "close"\ninterval = "5m"').replace("warmup = 30", "warmup = 5")
    style = '[execution]\nstyle = "twap"\nover = "60m"\nslices = 4\nchase = { every = "10m", step_bp = 2, most = 3 }\n'
    write(folder, text.replace("[bus]", f"{style}[bus]"))
    slow = ("--set", "feed.pace=15/s")
    killed_after(folder, 160, *slow)
    killed_after(folder, 160, *slow, "--set", "execution.style=participation")
    with running(folder, *slow, "--set", "execution.style=chase") as daemon:
        daemon.until_more(160)
        daemon.stop()
    run_to_end(folder)


def splits_and_delistings(folder: Path) -> None:
    """Four splits, three dividends and three delistings of held symbols; a kill between them."""
    symbols = "AAA BBB CCC DDD EEE FFF"
    stamps = days("XNYS", FIRST, LAST)
    splits: dict[str, dict[str, float]] = {
        "AAA": {"2019-03-20": 2.0}, "BBB": {"2019-04-10": 7.0}, "CCC": {"2019-04-24": 0.1}, "AAB": {},
        "DDD": {"2019-05-08": 1.5},
    }  # fmt: skip
    last = {"DDD": "2019-05-22", "EEE": "2019-04-15", "FFF": "2019-05-03"}
    series = []
    for k, symbol in enumerate(symbols.split()):
        until = [stamp for stamp in stamps if stamp < last.get(symbol, "2020")]
        series.append(rows(symbol, until, closes(len(stamps), 90 + k)[: len(until)], splits=splits.get(symbol)))
    write_bars(folder, *series)
    write_actions(
        folder, "2019-03-20,AAA,split,2:1,", "2019-04-10,BBB,split,7:1,", "2019-04-24,CCC,split,1:10,",
        "2019-05-08,DDD,split,3:2,", "2019-03-27,AAA,dividend,,0.31", "2019-04-10,BBB,dividend,,1.25",
        "2019-05-15,CCC,dividend,,2.0", "2019-05-22,DDD,delisting,,61.5", "2019-04-15,EEE,delisting,,0",
        "2019-05-03,FFF,delisting,,101.25",
    )  # fmt: skip
    agents = agent("even", "equal_weight", 0.5) + agent(
        "parity", "inverse_volatility", 0.4, "params = { lookback = 20 }\n"
    )
    text = config(symbols, agents, actions="actions.csv", pace="12/s", risk='max_price_age = "14d"\n')
    write(folder, text)
    killed_after(folder, 90)
    with running(folder) as daemon:
        daemon.until_more(90)
        daemon.stop()
    run_to_end(folder, "--set", "feed.pace=fast")


def mixed_calendars(folder: Path) -> None:
    """Coins trade every day beside shares, with bars on weekends and holidays; a kill and a clean restart."""
    stamps, always = days("XNYS", FIRST, LAST), days("24/7", FIRST, LAST)
    coins = enumerate((("BTC-USD", 4000.0), ("ETH-USD", 140.0)))
    write_bars(
        folder,
        *(rows(s, stamps, closes(len(stamps), 120 + k)) for k, s in enumerate(("AAA", "BBB"))),
        *(rows(s, always, closes(len(always), 130 + k, price=p, size=0.03), 1e5) for k, (s, p) in coins),
    )  # fmt: skip
    instruments = (
        'instruments = [{ symbol = "BTC-USD", lot = "0.0001", calendar = "24/7" }, '
        '{ symbol = "ETH-USD", lot = "0.001", calendar = "24/7" }]\n'
    )
    agents = agent("even", "equal_weight", 0.5) + agent("trend", "momentum", 0.4, "params = { lookback = 20 }\n")
    write(folder, config("AAA BBB BTC-USD ETH-USD", agents, instruments=instruments, pace="15/s"))
    killed_after(folder, 150)
    with running(folder) as daemon:
        daemon.until_more(150)
        daemon.stop()
    run_to_end(folder, "--set", "feed.pace=fast")


def carry_over(folder: Path) -> None:
    """An account is carried over three times: a new symbol, a new agent, a new name of a symbol; kills in two runs."""
    symbols = "AAA BBB CCC DDD EEE"
    stamps = days("XNYS", FIRST, LAST)
    last = closes(len(stamps), 152)
    series = [rows(s, stamps, closes(len(stamps), 150 + k)) for k, s in enumerate(symbols.split())]
    write_bars(folder, *series, rows("NEW", stamps, last))
    two = agent("even", "equal_weight", 0.4) + agent("trend", "momentum", 0.3, "params = { lookback = 20 }\n")
    three = two + agent("parity", "inverse_volatility", 0.1, "params = { lookback = 20 }\n")
    renamed = 'instruments = [{ symbol = "NEW", was = "CCC" }]\n'
    slow = ("--set", "feed.pace=15/s")
    write(folder, config("AAA BBB CCC", two, end="2019-04-01"))
    killed_after(folder, 80, *slow)
    run_to_end(folder)
    write(folder, config("DDD AAA BBB CCC", two, start="2019-04-02", end="2019-05-01"))
    killed_after(folder, 40, *slow, "--carry")
    run_to_end(folder)
    write(folder, config("DDD AAA BBB CCC", three, start="2019-05-02", end="2019-06-03"))
    run_to_end(folder, "--carry")
    write(folder, config("AAA BBB NEW DDD EEE", three, start="2019-06-04", instruments=renamed))
    run_to_end(folder, "--carry")
