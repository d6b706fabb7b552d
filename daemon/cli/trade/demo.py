"""Trade recorded markets on paper in a folder of their own, with a tour of the page. Ctrl-C ends it and removes it."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd import bundled
from quantd.daemon.cli.command import Command
from quantd.daemon.cli.failures import Failure, Interrupted
from quantd.daemon.cli.output import program, say
from quantd.regular_file import remove_folder
from quantd.trading.exit_codes import USAGE

SETS: Final = ("api.port=0", "bus.port=0", "log.level=error")
"""Overrides of the demo: free ports, because a daemon on this machine may use the configured ones, and a quiet log."""

TOUR: Final = (
    ("Now", "equity, positions, and how much of each limit is in use"),
    ("Market", "candles of a symbol, with fills and refusals"),
    ("Orders", "a row shows why it was sent, and what each limit allowed"),
    ("Halt …", "then `Halt all trading`: open orders are cancelled, positions stay"),
    ("Resume …", "a reason, then `Resume all trading`"),
)
"""(Name on the page, description) of each of the five clicks of the tour."""


def demo(
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FOLDER", help="Trade in this new folder, and leave it there at the end."),
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open the page in the browser of this desktop.")] = False,
) -> None:
    import asyncio
    import webbrowser

    from quantd.daemon.app import Options, serve
    from quantd.daemon.assembly.names import known_names
    from quantd.daemon.config import load
    from quantd.daemon.monitoring.metrics import configure

    with _folder(keep) as folder:
        file = folder / "config.toml"
        file.write_bytes(bundled.CONFIG.read_bytes())
        # no environment: a variable could name an account of the user
        settings = load(file, known_names(), environ={}, sets=SETS)
        configure(settings.log.level.upper(), settings.log.format, instance=settings.quantd.name)  # type: ignore[arg-type]

        def began(link: Callable[[], str]) -> None:
            say("\n".join(_welcome(link(), file, keep)))
            sys.stdout.flush()
            if opened:
                webbrowser.open(link())

        summary = asyncio.run(serve(settings, Options(config=file, sets=SETS, quiet=True, began=began)))
    say(f"stopped: equity {summary.equity} after {summary.fills:,} fills; {_next_command_text(file, keep)}")


def _welcome(link: str, file: Path, keep: Path | None) -> list[str]:
    """Return the lines printed at the start: the page's address, the tour, and a command for a second terminal."""
    width = max(len(name) for name, _ in TOUR)
    return [
        "quantd demo · recorded US markets, 2019 to 2021, on a paper account of 100,000 USD",
        f"  open       {link}    (signs in, once)",
        "  five clicks on the page:",
        *(f"    {k}  {name:<{width}}  {what}" for k, (name, what) in enumerate(TOUR, 1)),
        f"  in a second terminal:  {program()} why QQQ -c {file}",
        f"  Ctrl-C stops it and {'keeps ' + str(file.parent) if keep else 'removes ' + str(file.parent)}",
    ]


def _next_command_text(file: Path, keep: Path | None) -> str:
    """Return the end of the last line of the welcome text: what to do next."""
    if keep is None:
        return f"nothing is left behind. Next: `{program()} init`, then `{program()} run`"
    return f"`{program()} run -c {file}` continues it"


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder of the demo; a temporary one is removed at the end, also after an error.

    Raises Failure for a folder that exists or cannot be made.
    """
    if keep is not None:
        try:
            keep.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            remedy = f"name a new folder, or continue an earlier demo: {program()} run -c {keep}/config.toml"
            raise Failure(f"--keep {keep}: exists; {remedy}", USAGE) from None
        except OSError as why:
            raise Failure(f"--keep {keep}: {str(why.strerror).lower()}; name another folder", USAGE) from None
        yield keep
        return
    import tempfile

    earlier_handler = signal.signal(signal.SIGTERM, _interrupted)  # until the daemon sets handlers of its own
    folder = Path(tempfile.mkdtemp(prefix="quantd-demo-"))
    try:
        yield folder
    except KeyboardInterrupt:
        raise Interrupted("stopped before it traded; nothing is left behind") from None
    finally:
        signal.signal(signal.SIGTERM, earlier_handler)
        remove_folder(folder, ignore_errors=True)


def _interrupted(*_: object) -> None:
    """The handler of SIGTERM before the daemon runs: end like Ctrl-C, so that the folder is removed."""
    raise KeyboardInterrupt


COMMAND: Final = Command("Trade", 5, demo)
