"""Start a trading program whose orders go through the gateway, with nothing changed in it."""

import os
import shutil
import time
from pathlib import Path
from shlex import join
from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Sets
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG

ISOLATED: Final = frozenset("IES")
"""Options of Python with which it does not read PYTHONPATH, or imports no sitecustomize."""

KNOWN_S: Final = 3.0
"""Seconds within which a daemon has read a new token."""

NAMES: Final = {
    "key": ("APCA_API_KEY_ID", "ALPACA_API_KEY"),
    "secret": ("APCA_API_SECRET_KEY", "ALPACA_API_SECRET", "ALPACA_SECRET_KEY"),
    "url": ("APCA_API_BASE_URL", "APCA_API_DATA_URL", "APCA_API_STREAM_URL"),
}
"""Environment variables of the key, the secret and the addresses, as clients and public programs read them."""


def execute(
    program: Annotated[list[str], typer.Argument(metavar="PROGRAM...", help="-- and the program with its arguments.")],
    config: ConfigFile = CONFIG_FILE,
    sets: Sets = None,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="The agent; the one with a file NAME.token without it.")
    ] = "",
) -> None:
    """Start a program with the addresses and the key pair of the gateway: alpaca-py, alpaca-trade-api and lumibot.

    The program takes the place of this command: it gets the signals, and its exit code is passed on.
    """
    from quantd.daemon.cli.configuration import read

    settings = read(config, sets)
    if settings.gateway is None:
        raise Failure(f"{config} has no table [gateway]; add `[gateway]` with `port = 8010`, and restart", CONFIG)
    name, secret = _keys(config.absolute().parent, agent)
    url = f"http://127.0.0.1:{settings.gateway.port}"
    _check(url, name, secret, join(["quantd", "run", "--config", str(config)]))
    if (executable := shutil.which(program[0])) is None:
        raise Failure(f"there is no program {program[0]}; write `quantd gateway exec -- python my_bot.py`", CONFIG)
    if Path(executable).name.startswith("python") and (option := _isolated(program[1:])):
        text = f"with {option} Python does not read PYTHONPATH, and alpaca-py would keep the vendor's address"
        raise Failure(f"{text}; leave {option} out", CONFIG)
    values = {"key": name, "secret": secret, "url": url}
    environment = os.environ | {word: values[kind] for kind, words in NAMES.items() for word in words}
    environment.pop("APCA_API_OAUTH_TOKEN", None)
    folder = Path(__file__).parents[2] / "gateway" / "clients"
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    os.execve(executable, program, environment)


def _keys(folder: Path, agent: str) -> tuple[str, str]:
    """Name and secret of the token of an agent: of the only one in the folder without a name. Raises Failure."""
    files = [folder / f"{agent}.token"] if agent else sorted(folder.glob("*.token"))
    if len(files) > 1:
        raise Failure(f"{folder} has {', '.join(file.name for file in files)}; choose with --agent NAME", CONFIG)
    if not files or not files[0].exists():
        text = f"{folder} has no file {agent or 'NAME'}.token"
        raise Failure(f"{text}; make one with `quantd agent add {agent or 'NAME'} --gateway`", CONFIG)
    return files[0].stem, files[0].read_text(encoding="utf-8").strip()


def _check(url: str, name: str, secret: str, start: str) -> None:
    """Raise Failure unless the gateway answers this key pair; it knows a new token after a second."""
    until_s = time.monotonic() + KNOWN_S
    while (status := _asked(url, name, secret, start))[0] == 401 and time.monotonic() < until_s:
        time.sleep(0.2)
    if status[0] == 401:
        raise Failure(f"the gateway at {url} does not know the token {name}; see `quantd token list`", CHECK_FAILED)
    if status[0] != 200:
        raise Failure(f"the gateway at {url} refuses {name} with {status[0]}: {status[1]}", CHECK_FAILED)


def _asked(url: str, name: str, secret: str, start: str) -> tuple[int, str]:
    """Status and text of the answer about the account of a key pair. Raises Failure where none comes."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/v2/account", headers={"APCA-API-KEY-ID": name, "APCA-API-SECRET-KEY": secret})
        answer = connection.getresponse()
        return answer.status, answer.read(10_000).decode("utf-8", "replace")
    except (OSError, HTTPException) as why:
        raise Failure(f"no gateway answers at {url} ({why}); start `{start}`", CHECK_FAILED) from None
    finally:
        connection.close()


def _isolated(words: list[str]) -> str:
    """The first option before a script that hides PYTHONPATH or sitecustomize from Python; empty for none."""
    for word in words:
        if not word.startswith("-") or word[1:2] in ("", "-", "c", "m"):
            return ""
        if word[1] not in "WX" and set(word) & ISOLATED:
            return word
    return ""


COMMAND: Final = Command("Operate", 85, {"exec": execute})
