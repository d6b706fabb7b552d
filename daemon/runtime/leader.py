"""The trading daemon as a read-only instance sees it."""

from msgspec import Struct

from quantd.trading.display_text import iso_text


class LeaderNow(Struct, frozen=True):
    """The trading daemon: `alive` is whether it answers at `url`, and `status` its state; `pid` is its process.

    `written` is the instant of its last commit, `age_s` the seconds since then. `text` says that it does not answer,
    and is empty while it does.
    """

    alive: bool
    pid: int
    url: str
    status: str
    written: str
    age_s: float
    text: str


def leader_of(pid: int, url: str, status: str, written_ns: int, now_ns: int) -> LeaderNow:
    """The trading daemon whose last commit was at `written_ns`; an empty `status` means that it does not answer."""
    age_s, text = max(0.0, (now_ns - written_ns) / 1e9), ""
    if not status:
        daemon_name = f"the trading daemon (process {pid})" if pid else "the trading daemon"
        text = (
            f"{daemon_name} does not answer: nothing trades. The figures are of its last commit, "
            f"{iso_text(written_ns // 10**9 * 10**9)}, {age_text(age_s)} ago"
        )
    return LeaderNow(bool(status), pid, url, status, iso_text(written_ns // 1000 * 1000), round(age_s, 1), text)


def age_text(age_s: float) -> str:
    """An age in its largest unit: 12 s, 5 min, 3 h, 2 d."""
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * size_s:
            return f"{age_s / size_s:.0f} {unit}"
    return f"{age_s:.0f} s"
