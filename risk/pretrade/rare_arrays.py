"""What a scene has made when a basket needs it."""

from typing import Protocol


class Rare(Protocol):
    """What makes the arrays that few baskets need."""

    def add_returns(self) -> None: ...
    def add_matrices(self) -> None: ...
    def add_links(self, sides: list[int]) -> None: ...
