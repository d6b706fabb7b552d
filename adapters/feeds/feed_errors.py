"""The error of a feed whose bars cannot be read."""

from quantd.trading.exit_codes import CONFIG, ExplainedError


class FeedError(ExplainedError):
    """A file or source that cannot be used, with its name, the fault and a remedy."""

    exit_code = CONFIG

    def __init__(self, source: str, what: str, remedy: str) -> None:
        super().__init__(f"{source}: {what}. {remedy}")
        self.source = source
        self.what = what
        self.remedy = remedy
