"""Work of a worker process for tests: a module without PyTorch, which a process that works would import with it."""

import os
import signal
from collections.abc import Callable


def counts(upto: int, tell: Callable[[int], bool]) -> int:
    for number in range(upto):
        if tell(number):
            return -number
    return upto


def fails(word: str, tell: Callable[[int], bool]) -> str:
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "raise":
        raise ValueError("a reason")
    return word
