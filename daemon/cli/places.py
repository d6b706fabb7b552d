"""The state folder, the store and the MQTT broker of a command's configuration.

The file is read without checks, because a mistake in config.toml must not prevent `quantd halt`. Modules that check it
are imported only where they are needed, because their import would take most of the time of `quantd halt`.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantd.daemon.cli.failures import Failure
from quantd.state_folder import check_state
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, USAGE

if TYPE_CHECKING:
    from quantd.adapters.bus.settings import Tls
    from quantd.adapters.store.journal.records import Records, RunRecord
    from quantd.adapters.store.queries import Reader


FINDING: Final = ("quantd.state", "api.tokens", "store.url")
"""The keys by which a command finds the state folder, the token and the store."""


@dataclass(frozen=True, slots=True)
class Place:
    """A state folder, and its store: the URL of a database, or the folder itself, which has the file of the store.

    `overrides` are the keys of --set that find neither: a daemon that runs already does not read them.
    """

    folder: Path
    store: str | Path
    overrides: tuple[str, ...] = ()

    def unchanged(
        self, by: str = "this command, which reads the state folder and the store alone; leave it out"
    ) -> "Place":
        """Return this place. Raises Failure for an override of another key than those that find the place: `by` is
        what it does not change."""
        if self.overrides:
            raise Failure(f"--set {', '.join(self.overrides)} changes nothing for {by}", USAGE)
        return self

    def reader(self, run: str | None = None, shadow: str = "") -> "Reader":
        """Return the read models of the run with the id `run`, or of the newest run if `run` is None.

        With `shadow` the read models are those of the run's shadow (agent on paper) of this name. Raises Failure where
        there is no store, and for an unknown run or shadow.
        """
        from quantd.adapters.store.queries import Reader
        from quantd.adapters.store.shadow_reader import check_shadow, reader_of_shadow
        from quantd.adapters.store.store_errors import StoreMismatch

        try:
            reader = Reader.open(self.store, run)
            if shadow:
                check_shadow(reader, shadow)
            return reader_of_shadow(reader, shadow) if shadow else reader
        except StoreMismatch as why:
            raise Failure(str(why), CHECK_FAILED) from None

    def records(self) -> "Records":
        """Return the journal for reading. Raises StoreError without a store, and for one of another version."""
        from quantd.adapters.store.handle import read_only

        return read_only(self.store, self.folder)


def place(config: Path, state: Path | None, sets: Sequence[str] | None = None, *, checked: bool = True) -> Place:
    """Return the state folder and the store of a configuration.

    Raises Failure, and Refused if a name in the state folder is a link, a device or a pipe. With `checked` off no name
    is checked: nothing in the folder may prevent a halt.
    """
    table = _document(config) if config.exists() or state is None else {}
    folder = (
        state if state is not None else plain(config.parent / (_setting(table, "quantd", "state", sets) or "state"))
    )
    if checked:
        check_state(folder, Path(_setting(table, "api", "tokens", sets) or "token").name)
    keys = tuple(text.partition("=")[0] for text in sets or ())
    # a halt is sent whatever else is asked
    overrides = tuple(key for key in keys if key not in FINDING) if checked else ()
    if not (url := _setting(table, "store", "url", sets)):
        return Place(folder, folder, overrides)
    from quantd.daemon.config import store_url

    return Place(folder, store_url(url), overrides)


def plain(path: Path) -> Path:
    """Return the path without `..`, if it then names the same folder: "examples/../state" is "state"."""
    # with a link in the path, ".." may name another folder
    short = Path(os.path.normpath(path))
    return short if short.resolve() == path.resolve() else path


def token_file(config: Path, sets: Sequence[str] | None = None) -> str:
    """Return the name of the file of the owner's token in the state folder."""
    table = _document(config) if config.exists() else {}
    return Path(_setting(table, "api", "tokens", sets) or "token").name


def bus_root(config: Path) -> str:
    """Return the MQTT topic below which the configured instance publishes, by default quantd/paper."""
    table = _document(config) if config.exists() else {}
    return f"{_text(table, 'bus', 'prefix') or 'quantd'}/{_text(table, 'quantd', 'name') or 'paper'}"


def bus_login(config: Path) -> tuple[str | None, str | None]:
    """Return (user of the MQTT broker, secret mqtt_password), each None if it is not configured."""
    from quantd.daemon.config import secret

    table = _document(config) if config.exists() else {}
    user = _setting(table, "bus", "username")
    return user or None, secret("mqtt_password") if user else None


def bus_tls(config: Path, secure: bool) -> "Tls | None":
    """Return the TLS settings of a client of the configured broker; None without TLS. `secure` is True if its address
    begins with mqtts.

    A client of the embedded broker trusts the broker's own certificate or, without one, the certificate authority `ca`.
    """
    from quantd.adapters.bus.settings import Tls

    bus = (_document(config) if config.exists() else {}).get("bus")
    kind = _setting({"bus": bus}, "bus", "kind") or "embedded"
    table = bus.get("tls") if isinstance(bus, dict) else None
    names = [
        os.environ.get(f"QUANTD_BUS__TLS__{key.upper()}") or _text({"tls": table}, "tls", key)
        for key in ("ca", "certificate", "key")
    ]
    ca, certificate, key = (str(config.parent / name) if name else "" for name in names)
    if kind == "mqtt":
        return Tls(ca, certificate, key) if secure or any(names) else None
    if not secure:
        return None
    return Tls(certificate, own=True) if certificate else Tls(ca)


def _document(config: Path) -> Mapping[str, Any]:
    """Return the parsed file. Raises Failure for a file that cannot be read or is no TOML."""
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        from quantd.daemon.config.parser import others

        reason = (error.strerror or "cannot be read").lower()
        text = f"{config}: {reason}; `quantd init` writes one, --config names another{others(', such as', config)}"
        raise Failure(text, CONFIG) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{config}: is not TOML: {error}; --state DIR names the state folder directly", CONFIG) from None


def _setting(document: Mapping[str, Any], section: str, key: str, sets: Sequence[str] | None = None) -> str:
    """Return the text of a key from --set, else its environment variable, else the document; empty without a text."""
    overrides = dict(setting.split("=", 1) for setting in sets or () if "=" in setting)
    variable = os.environ.get(f"QUANTD_{section.upper()}__{key.upper()}")
    return overrides.get(f"{section}.{key}") or variable or _text(document, section, key)


def _text(document: Mapping[str, Any], section: str, key: str) -> str:
    """Return the text of a key; empty if it is missing or no text."""
    table = document.get(section)
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


def recorded(where: Place, run: str | None) -> "tuple[Records, RunRecord]":
    """Return the journal for reading, and the record of the run with the id `run`, or of the newest run for None.

    Raises Failure if there is no such run.
    """
    from quantd.adapters.store.store_errors import StoreMismatch

    records = where.records()
    try:
        return records, records.run(run)
    except StoreMismatch as why:
        raise Failure(str(why), USAGE) from None
