"""Live trading needs four things; a start that lacks one is refused with exit code 78, naming it."""

import json
from pathlib import Path

import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.assembly.names import known_names, mistakes_of
from quantd.daemon.assembly.parts import assemble_live
from quantd.daemon.config import Config, ConfigError, read
from quantd.daemon.live.permission import FILE, LASTS_S, Finding, doubt, keep, refusal
from quantd.daemon.recovery.stored_run import CannotStart, this_run
from quantd.trading.sessions import DAY_NS
from tests.support.command_line import quantd
from tests.support.live_runs import NOW as LIVE_NOW
from tests.support.live_runs import RUN, slices, stretch
from tests.support.live_runs import TEXT as LIVE
from tests.support.remote_venue import Script

TEXT = """
[quantd]
mode = "{mode}"
live = true
[universe]
symbols = ["SPY"]
[feed]
kind = "alpaca"
[broker]
kind = "{broker}"
cash = "1000.00"
{more}
[[agents]]
name = "a"
policy = "equal_weight"
capital = 1.0
"""
KNOWN = known_names()
NOW = 1_800_000_000.0


def config(mode: str = "live", broker: str = "alpaca", more: str = "", *sets: str) -> Config:
    return read(TEXT.format(mode=mode, broker=broker, more=more), KNOWN, sets=sets)


def test_with_all_four_a_live_start_is_permitted(tmp_path: Path) -> None:
    keep(tmp_path, config(), (), lambda: NOW)
    assert refusal(config(), tmp_path, True, lambda: NOW + 60) == ""
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.requirement("R-006")
def test_each_missing_thing_is_named_with_its_remedy(tmp_path: Path) -> None:
    keep(tmp_path, config(), (), lambda: NOW)
    without = refusal(config(), tmp_path, False, lambda: NOW)
    assert "no   --live on this command line: quantd run --live" in without
    assert "yes  live = true" in without
    unsaid = config("live", "alpaca", "", "quantd.live=false")
    assert "no   live = true in [quantd]" in refusal(unsaid, tmp_path, True, lambda: NOW)
    assert "there is no result" in refusal(config(), tmp_path / "other", True, lambda: NOW)
    assert refusal(config("paper"), tmp_path / "other", False) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ok": False, "failed": ["clock"]}, "the last run failed: clock"),
        ({"version": "0.0.1"}, "by quantd 0.0.1"),
        ({"at_s": NOW - LASTS_S}, "24 hours old"),
        ({"at_s": NOW + 3600}, "a date in the future"),
        ({"config": "f" * 64}, "another configuration"),
    ],
)
def test_a_finding_that_is_red_old_or_of_something_else_permits_nothing(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    keep(tmp_path, config(), (), lambda: NOW)
    kept = json.loads((tmp_path / FILE).read_text())
    changed = Finding(**{**kept, **change, "failed": tuple(change.get("failed", ()))}).signed()
    (tmp_path / FILE).write_text(json.dumps({f: getattr(changed, f) for f in changed.__struct_fields__}))
    assert said in doubt(tmp_path, config(), lambda: NOW)


def test_a_finding_that_somebody_edited_permits_nothing(tmp_path: Path) -> None:
    keep(tmp_path, config(), ("clock",), lambda: NOW)
    text = (tmp_path / FILE).read_text().replace('"ok":false', '"ok":true')
    (tmp_path / FILE).write_text(text)
    assert "was changed" in doubt(tmp_path, config(), lambda: NOW)
    (tmp_path / FILE).write_text("{")
    assert "cannot be read" in doubt(tmp_path, config(), lambda: NOW)


def test_another_limit_asks_for_the_doctor_again(tmp_path: Path) -> None:
    keep(tmp_path, config(), (), lambda: NOW)
    other = config("live", "alpaca", "", "live.max_account_notional=5000.00")
    assert "another configuration" in doubt(tmp_path, other, lambda: NOW)
    longer = config("live", "alpaca", "", "live.paper_days=40")
    assert doubt(tmp_path, longer, lambda: NOW) == ""


@pytest.mark.requirement("R-006")
@pytest.mark.parametrize("arguments", [("run",), ("run", "--live")])
def test_the_command_ends_with_78(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(TEXT.format(mode="live", broker="alpaca", more=""))
    done = quantd(tmp_path, *arguments)
    assert done.returncode == 78
    assert "quantd doctor --live" in done.stderr
    assert ("no   --live" in done.stderr) == (len(arguments) == 1)


@pytest.mark.parametrize(
    ("mode", "broker", "url", "refused"),
    [
        ("paper", "alpaca", "https://api.alpaca.markets", True),
        ("paper", "alpaca", "https://API.alpaca.markets.:443/v2", True),
        ("paper", "alpaca", "https://user@api.alpaca.markets", True),
        ("paper", "alpaca", "https://elsewhere.example", True),
        ("paper", "alpaca", "https://paper-api.alpaca.markets", False),
        ("paper", "alpaca", "http://127.0.0.1:8081", False),
        ("paper", "alpaca", "http://127.0.0.1.example.com", True),
        ("paper", "ccxt", "https://api.kraken.com", True),
        ("paper", "ccxt", "http://localhost:8081", False),
        ("paper", "ccxt", "http://[::1]:8081", False),
        ("live", "alpaca", "https://paper-api.alpaca.markets", True),
        ("live", "alpaca", "https://api.alpaca.markets", False),
        ("live", "ccxt", "https://api.kraken.com", False),
    ],
)
def test_mode_paper_reaches_no_live_host(mode: str, broker: str, url: str, refused: bool) -> None:
    exchange = '\nvenue = "kraken"' if broker == "ccxt" else ""
    configuration = config(mode, broker, f'url = "{url}"{exchange}')
    said = [str(m) for m in mistakes_of(configuration)]
    assert bool(said) == refused, said
    if refused:
        assert "[broker] url" in said[0]


def test_a_command_refuses_a_live_host_in_mode_paper_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(TEXT.format(mode="paper", broker="alpaca", more='url = "https://api.alpaca.markets"'))
    done = quantd(tmp_path, "run")
    assert done.returncode == 78
    assert "config.toml:12" in done.stderr


def test_research_is_never_live() -> None:
    for sets, more in (
        (("risk.profile=research",), ""),
        (("agents.0.profile=research",), ""),
        (("agents.0.capital=0.5",), '[manual]\ncapital = 0.1\nprofile = "research"'),
    ):
        with pytest.raises(ConfigError, match="no portfolio limits"):
            config("live", "alpaca", more, *sets)


async def test_a_run_keeps_its_mode(tmp_path: Path) -> None:
    """A shadow run of live bars fills on paper; a start in another mode is another run."""
    text = LIVE.replace("{broker}", "paper").replace("{policy}", "equal_weight")
    names = known_names()
    shadow, paper = (
        assemble_live(read(f'[quantd]\nmode = "{m}"\n{text}', names), LIVE_NOW) for m in ("shadow", "paper")
    )
    run = await stretch(tmp_path, shadow, Script(shadow.universe, DAY_NS, slices(6), None, LIVE_NOW), None)
    state = run.service.shell.state
    assert any(state.ledger.house.lots), "it fills on paper"
    assert run.service.mode == "shadow"
    assert state.rules.live is None
    assert shadow.market == paper.market
    with Store.open(tmp_path) as store:
        assert this_run(shadow, store) == RUN
        with pytest.raises(CannotStart, match='mode = "shadow"'):
            this_run(paper, store)
