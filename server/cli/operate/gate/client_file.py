"""The file in which an MCP client lists the servers that it starts: where it is, and how an entry is merged into it.

The project file `.mcp.json` and the file of the desktop client have the same form: the servers are in the object
`mcpServers`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from quantd.daemon.cli.failures import Failure, file_fault
from quantd.regular_file import Refused, write_whole
from quantd.trading.exit_codes import CONFIG

PROJECT: Final = ".mcp.json"
DESKTOP: Final = "claude_desktop_config.json"
SERVERS: Final = "mcpServers"


def desktop_file(environ: Mapping[str, str], home: Path, platform: str = sys.platform) -> Path:
    """The file of the desktop client on this platform."""
    if platform == "darwin":
        return home / "Library" / "Application Support" / "Claude" / DESKTOP
    if platform == "win32":
        return Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "Claude" / DESKTOP
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "Claude" / DESKTOP


def merged(file: Path, name: str, command: Sequence[str]) -> str:
    """Return the new text of the file, with `command` as the server `name`; all else in the file is unchanged.

    Raises Failure for an unreadable file, for a file of another form, and if `name` is a server that starts no command,
    such as one by URL.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        text = ""
    except OSError as why:
        raise Failure(f"{file_fault(why)}; nothing was written", CONFIG) from None
    except UnicodeDecodeError as why:
        raise Failure(f"{file}: {why}; nothing was written", CONFIG) from None
    document = _object(file, "the file", _parsed(file, text) if text.strip() else {})
    servers = _object(file, SERVERS, document.get(SERVERS, {}))
    previous_entry = _object(file, f"{SERVERS}.{name}", servers.get(name, {}))
    if previous_entry and "command" not in previous_entry:
        fault = f"{SERVERS}.{name} is a server that starts no command; rename that entry, or write another --name"
        raise Failure(f"{file}: {fault}; nothing was written", CONFIG)
    entry = previous_entry | {"command": command[0], "args": list(command[1:])}
    document = document | {SERVERS: servers | {name: entry}}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(file: Path, text: str) -> None:
    """Replace the file atomically, with the same permissions; a symbolic link to the file remains a link.

    Raises Failure on a fault.
    """
    try:
        write_whole(file.resolve(), text.encode(), 0o600, keep_mode=True)
    except Refused as why:
        raise Failure(f"{why}; nothing was written", CONFIG) from None
    except OSError as why:
        remedy = "install that client first, or let `--print` show the entry"
        raise Failure(f"{file}: {str(why.strerror).lower()}; {remedy}", CONFIG) from None


def _parsed(file: Path, text: str) -> Any:
    """Return the JSON of the file. Raises Failure for text that is no JSON.

    A key that occurs twice in an object also raises Failure, because one of the two values would be lost.
    """

    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise ValueError(f"the key {_duplicate_key(pairs)!r} occurs twice in one object")
        return entries

    try:
        return json.loads(text, object_pairs_hook=without_duplicates)
    except json.JSONDecodeError as why:
        fault = f"{file}:{why.lineno}: is not JSON: {why.msg}; correct it, or add the entry that `--print` shows"
        raise Failure(f"{fault}; nothing was written", CONFIG) from None
    except (ValueError, RecursionError) as why:
        raise Failure(f"{file}: {why}; remove one; nothing was written", CONFIG) from None


def _duplicate_key(pairs: Sequence[tuple[str, Any]]) -> str:
    """The first key of a JSON object that occurs more than once."""
    names = [name for name, _ in pairs]
    return next(name for name in names if names.count(name) > 1)


def _object(file: Path, what: str, value: Any) -> dict[str, Any]:
    """Return `value`, which must be a JSON object; `what` names it in the Failure for any other value."""
    if not isinstance(value, dict):
        raise Failure(f"{file}: {what} is not an object; correct it, or use another file; nothing was written", CONFIG)
    return value
