"""What a feed says when it cannot give a market at all."""

from quantd.trading.exit_codes import CONFIG, ExplainedError


class FeedError(ExplainedError):
    """A file or source that cannot be used. `source` is the file (or venue), `what` is wrong with it, `remedy` what to
    do."""

    exit_code = CONFIG

    def __init__(self, source: str, what: str, remedy: str) -> None:
        super().__init__(f"{source}: {what}. {remedy}")
        self.source = source
        self.what = what
        self.remedy = remedy
