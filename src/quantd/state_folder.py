"""The names in a state folder, and a look at what each of them is before a command uses the folder."""

from pathlib import Path
from typing import Final

from quantd.regular_file import check_file, check_folder

FILES: Final = (
    "quantd.db", "quantd.db-wal", "quantd.db-shm", "quantd.db-journal", "journal.head", "lock", "tokens.json",
    "sessions.json", "api.json", "commands.taken", "doctor-live.json", "looks.jsonl", "looks.head",
    "accepted-prices.jsonl", "reload.json", "sign-in", "receipts.pem",
)  # fmt: skip
"""Files, beside the one with the owner's token. The file HALT is not among them: whatever has this name halts."""

FOLDERS: Final = (
    ".restoring", "ablation", "answers", "archives", "artifacts", "backtests", "backups", "bars", "cache", "configs",
    "reports", "statements", "sweeps", "tuning",
)  # fmt: skip

STEMS: Final = frozenset({"HALT", *(name.partition(".")[0] for name in (*FILES, *FOLDERS))})
"""Names before the first point; the file of the owner's token may not have one of them."""


def check_state(folder: Path, token: str = "token") -> None:
    """Raises Refused for a state folder that is no folder, and for a link, a device or a pipe that has a name in it.

    The folder itself may be a link to one. Nothing is opened.
    """
    if check_folder(folder, links=True) is None:
        return
    for name in (*FILES, token):
        check_file(folder / name)
    for name in FOLDERS:
        check_folder(folder / name)
