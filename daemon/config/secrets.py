"""Secrets: from systemd credentials or the environment, never from config.toml."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from quantd.daemon.config.overrides import PREFIX


def secret(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret `name`: a systemd credential first, then QUANTD_<NAME>; None when not given."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        file = Path(folder) / name
        if file.is_file():
            return file.read_text(encoding="utf-8").strip()
    return environ.get(PREFIX + name.upper()) or None


def store_url(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """The database's URL with the secret store_password after its user; unchanged when either is missing."""
    password = secret("store_password", environ)
    scheme, mark, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not (password and mark and at and user):
        return url
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"
