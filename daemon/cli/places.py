"""The state folder, the store and the MQTT broker of a command's configuration.

The file is read without checks: a mistake in config.toml must not prevent `quantd halt`. What checks it is imported
where it is needed, because that takes most of the time of `quantd halt`.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantd.daemon.cli.failures import Failure
from quantd.state_folder import check_state
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, USAGE

if TYPE_CHECKING:
    from quantd.adapters.bus.settings import Tls
    from quantd.adapters.store.journal.records import Records, RunRecord
    from quantd.adapters.store.queries import Reader


@dataclass(frozen=True, slots=True)
class Place:
    """A state folder, and the store's URL or the folder itself."""

    folder: Path
    store: str | Path

    def reader(self, run: str | None = None, shadow: str = "") -> "Reader":
        """Return the read models of a run or of one of its shadows; the newest run without a name.

        Raises Failure without a store, and for an unknown run or shadow.
        """
        from quantd.adapters.store.errors import StoreFailing
        from quantd.adapters.store.queries import Reader
        from quantd.adapters.store.shadow_reader import check_shadow, reader_of_shadow

        try:
            reader = Reader.open(self.store, run)
            if shadow:
                check_shadow(reader, shadow)
            return reader_of_shadow(reader, shadow) if shadow else reader
        except StoreFailing as why:
            raise Failure(str(why), CHECK_FAILED) from None

    def records(self) -> "Records":
        """Return the journal for reading. Raises StoreError without a store, and for one of another version."""
        from quantd.adapters.store.handle import read_only

        return read_only(self.store, self.folder)


def place(config: Path, state: Path | None, sets: Sequence[str] | None = None, *, checked: bool = True) -> Place:
    """The state folder and the store of a configuration. Raises Failure, and Refused: see `check_state`.

    A halt is sent unchecked: nothing in the folder may prevent it.
    """
    table = _document(config) if config.exists() or state is None else {}
    overrides = dict(setting.split("=", 1) for setting in sets or () if "=" in setting)
    named = overrides.get("quantd.state") or os.environ.get("QUANTD_QUANTD__STATE") or _text(table, "quantd", "state")
    url = overrides.get("store.url") or os.environ.get("QUANTD_STORE__URL") or _text(table, "store", "url")
    folder = state if state is not None else plain(config.parent / (named or "state"))
    if checked:
        token = overrides.get("api.tokens") or os.environ.get("QUANTD_API__TOKENS") or _text(table, "api", "tokens")
        check_state(folder, Path(token or "token").name)
    if not url:
        return Place(folder, folder)
    from quantd.daemon.config import store_url

    return Place(folder, store_url(url))


def plain(path: Path) -> Path:
    """The path without `..`, where that names the same folder: "examples/../state" is "state"."""
    short = Path(os.path.normpath(path))
    return short if short.resolve() == path.resolve() else path


def token_file(config: Path, sets: Sequence[str] | None = None) -> str:
    """The name of the file of the owner's token in the state folder."""
    table = _document(config) if config.exists() else {}
    overrides = dict(setting.split("=", 1) for setting in sets or () if "=" in setting)
    named = overrides.get("api.tokens") or os.environ.get("QUANTD_API__TOKENS") or _text(table, "api", "tokens")
    return Path(named or "token").name


def bus_root(config: Path) -> str:
    """The topic of the configured instance, or of the default one without a configuration."""
    table = _document(config) if config.exists() else {}
    return f"{_text(table, 'bus', 'prefix') or 'quantd'}/{_text(table, 'quantd', 'name') or 'paper'}"


def bus_login(config: Path) -> tuple[str | None, str | None]:
    """The MQTT broker's configured user and the secret mqtt_password, or None."""
    from quantd.daemon.config import secret

    table = _document(config) if config.exists() else {}
    user = os.environ.get("QUANTD_BUS__USERNAME") or _text(table, "bus", "username")
    return user or None, secret("mqtt_password") if user else None


def bus_tls(config: Path, secure: bool) -> "Tls | None":
    """The TLS settings of a client of the configured broker; None without TLS."""
    from quantd.adapters.bus.settings import Tls

    bus = (_document(config) if config.exists() else {}).get("bus")
    kind = os.environ.get("QUANTD_BUS__KIND") or (_text({"bus": bus}, "bus", "kind") or "embedded")
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
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        text = f"{config}: {reason}; `quantd init` writes one, --config names another"
        raise Failure(text, CONFIG) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{config}: is not TOML: {error}; --state DIR names the state folder directly", CONFIG) from None


def _text(document: Mapping[str, Any], section: str, key: str) -> str:
    table = document.get(section)
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


def recorded(where: Place, run: str | None) -> "tuple[Records, RunRecord]":
    """Return the store for reading, and the named run or the newest. Raises Failure without such a run."""
    from quantd.adapters.store.errors import StoreFailing

    records = where.records()
    try:
        return records, records.run(run)
    except StoreFailing as why:
        raise Failure(str(why), USAGE) from None
