"""Words of libraries that no message of quantd repeats."""

import re

LIBRARIES = re.compile(
    r"polars|pandas|pyarrow|numpy|yfinance|curl|orjson|peewee|msgspec|Traceback|[A-Z]\w+Error|Warning|has no attribute"
    r"|\(char \d|fault of quantd|subscriptable|convert"
)
"""Names of libraries, and words of their errors."""
