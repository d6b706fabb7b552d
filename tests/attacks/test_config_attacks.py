"""Attacks by a configuration: one line each; every command that reads it ends with 78 and names the line."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command_line import CONFIG, quantd, write


@dataclass(frozen=True)
class Attack:
    """`old` of the configuration is replaced by `new`; the error has `said`. `run` knows the secrets, `check` not."""

    name: str
    old: str
    new: str
    said: str
    command: str = "config check"


def inside(name: str, table: str, line: str, said: str) -> Attack:
    """A line more in a table."""
    return Attack(name, f"[{table}]\n", f"[{table}]\n{line}\n", said)


def more(name: str, lines: str, said: str) -> Attack:
    """A table more."""
    return Attack(name, "[broker]\n", f"{lines}\n[broker]\n", said)


SYMBOLS = '["SPY", "QQQ", "IWM"]'

ATTACKS = (
    inside("API of all interfaces without TLS", "api", 'host = "0.0.0.0"', "without TLS"),
    inside("API of all interfaces in IPv6 without TLS", "api", 'host = "::"', "without TLS"),
    inside("API that takes the file of named tokens", "api", 'tokens = "tokens.json"', "a file of another use"),
    inside("API that takes the file of its address", "api", 'tokens = "api.json"', "a file of another use"),
    inside("API that takes the file of the store", "api", 'tokens = "quantd.db"', "a file of another use"),
    inside("API that takes a file beside the store", "api", 'tokens = "quantd.db-wal"', "a file of another use"),
    inside("API that takes the file of the kill switch", "api", 'tokens = "HALT"', "a file of another use"),
    inside("token file outside the state folder", "api", 'tokens = "../token"', "tokens"),
    inside("any origin", "api", 'cors = ["*"]', "cors"),
    inside("origin without a scheme", "api", 'cors = ["example.org"]', "cors"),
    inside("certificate that is not there", "api", 'tls = { certificate = "no.pem", key = "no.key" }', "tls"),
    inside("token in the file", "api", 'token = "hunter2"', "secret"),
    inside("rate without an end", "api", "rate = { reads = inf }", "rate"),
    inside("password of the bus in the file", "bus", 'password = "hunter2"', "secret"),
    inside("login in an address of the bus", "bus", 'kind = "mqtt"\nurl = "mqtt://me:hunter2@host"', "url"),
    inside("bus of all interfaces without a login", "bus", 'host = "0.0.0.0"', "without a login"),
    inside("bus of all interfaces without TLS", "bus", 'host = "0.0.0.0"\nusername = "me"', "without TLS"),
    Attack("commands without a key", "[bus]\n", "[bus]\ncommands = true\n", "mqtt_command_key", "run"),
    inside("topic with a wildcard", "bus", 'prefix = "#"', "prefix"),
    more("key of the venue in the file", '[account]\napi_secret = "hunter2"', "secret"),
    more("password of the store in the file", '[store]\nurl = "postgresql://me:hunter2@host/db"', "password"),
    more("sink without TLS", '[alerts.sinks.webhook]\nurl = "http://example.org/"', "https"),
    more("sink with a line feed in its address", '[alerts.sinks.webhook]\nurl = "https://a/\\r\\nX: y"', "line feed"),
    inside("bus with a line feed in its address", "bus", 'kind = "mqtt"\nurl = "mqtt://a\\r\\nX: y"', "line feed"),
    more("sink with a login", '[alerts.sinks.webhook]\nurl = "https://me:hunter2@a/"', "login"),
    more("sink with a key in the file", '[alerts.sinks.webhook]\nurl = "https://a/"\nkey_token = "h"', "secret"),
    more("alerts without CRITICAL", '[alerts]\nlevels = ["INFO"]', "CRITICAL"),
    inside("live without a venue", "quantd", 'mode = "live"\nlive = true', "needs a venue"),
    inside("instance with a path as its name", "quantd", 'name = "../../x"', "name"),
    inside("instance with markup as its name", "quantd", 'name = "<img src=x>"', "name"),
    Attack("symbol with markup", SYMBOLS, '["<img onerror=x>"]', "symbols"),
    Attack("symbol with a path", SYMBOLS, '["../../x"]', "symbols"),
    Attack("symbol with a line feed", SYMBOLS, '["SPY\\nQQQ"]', "symbols"),
    Attack("symbol as a formula", SYMBOLS, '["=cmd|x"]', "symbols"),
    Attack("agent of the house's name", 'name = "even"', 'name = "house"', "reserved"),
    Attack("agent with markup as its name", 'name = "even"', 'name = "<b>"', "name"),
    Attack("policy of a module by path", '"equal_weight"', '"os:system"', "policy"),
    Attack("policy file that is not there", '"equal_weight"', '"no.py:act"', "no.py"),
    Attack("artifact that is not there", '"equal_weight"', '"learned"\nparams = { path = "no" }', "policy"),
    Attack("a parameter of another policy", "lookback = 60", "lookback = 60, weights = 1", "weights"),
    Attack("a limit that is switched off by NaN", "max_drawdown = 0.25", "max_drawdown = nan", "finite"),
    Attack("a limit without an end", "max_drawdown = 0.25", "max_drawdown = inf", "finite"),
    Attack("a limit of 2,500 %", "max_drawdown = 0.25", "max_drawdown = 25", "percentage"),
    Attack("a limit with a slip in its name", "max_drawdown", "max_drawdwn", "Did you mean"),
    Attack("money that is no exact number", '"100000.00"', "1e308", "cash"),
    Attack("capital of 500 %", "capital = 0.5", "capital = 5.0", "capital"),
    Attack("two tables of one name", "[risk]\n", "[risk]\n[risk]\n", "not TOML"),
    Attack("nesting without an end", "[risk]\n", "[risk]\nx = " + "[" * 5_000 + "\n", "nested too deeply"),
)


@pytest.mark.requirement("R-265")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_configuration_is_refused_with_its_line(tmp_path: Path, attack: Attack) -> None:
    assert CONFIG.count(attack.old) == 1, attack.old
    write(tmp_path, CONFIG.replace(attack.old, attack.new))
    done = quantd(tmp_path, *attack.command.split())
    assert done.returncode == 78, done
    assert attack.said in done.stderr + done.stdout
    assert "config.toml" in done.stderr + done.stdout
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("state/*.db"))


def test_the_configuration_itself_is_accepted(tmp_path: Path) -> None:
    write(tmp_path)
    assert quantd(tmp_path, "config", "check").returncode == 0
