"""`python scripts/limits_page.py docs/risk/limits.md` writes the tables of that page from the records of the limits."""

import re
import sys
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from quantd.risk.limits.bounds import lower, rules_of
from quantd.risk.limits.catalogue import FIELDS, LIMITS, Limits

_TABLE: Final = re.compile(r"(?<=<!-- limits: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_PLAIN: Final = Limits()


def with_tables(page: str) -> str:
    """A page with each table between `<!-- limits: SECTION -->` and `<!-- end -->` as the records have it."""
    return _TABLE.sub(lambda match: f"{match[1]}{match[2]}{_table(match[1])}", page)


def _table(section: str) -> str:
    limits = [limit for limit in LIMITS.values() if limit.section == section and (limit.key in FIELDS or limit.bounds)]
    columns = [("key", [f"`{limit.key.removesuffix('_ns')}`" for limit in limits])]
    columns.append(("what is measured", [limit.about or limit.words(_PLAIN) for limit in limits]))
    if any(balanced := [_value(limit.profiles.get("balanced")) for limit in limits]):
        columns.append(("balanced", balanced))
    rows = [[name for name, _ in columns], ["---"] * len(columns), *zip(*(cells for _, cells in columns), strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _value(value: Any) -> str:
    """A value of a profile; of a table those of its fields of which the lower value is the tighter."""
    if isinstance(value, Struct):
        rules = rules_of(type(value))
        return ", ".join(f"{field:g}" for name, field in asdict(value).items() if rules[name] is lower)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")
