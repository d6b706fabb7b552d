"""Answers of outside agents on disk, one file for each, named by the content of the question."""

from hashlib import blake2b
from pathlib import Path

import msgspec

from quantd.regular_file import write_whole
from quantd.research.outside.questions import Answer, WrongAnswer, answer_of


def key_of(question: bytes, *parts: bytes) -> str:
    """Return the key of a question: hex BLAKE2b of the question and of `parts`, which describe the agent."""
    digest = blake2b(digest_size=20)
    for part in (question, *parts):
        # the length keeps two different splits of the same bytes apart
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


class StoredAnswers:
    """The stored answers below `folder`. A file is complete or absent, even where the program is interrupted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"

    def find(self, key: str) -> Answer | None:
        """Return the answer stored under `key`; None if it is absent or unusable."""
        try:
            return answer_of(self._path(key).read_bytes(), key)
        except (FileNotFoundError, WrongAnswer):
            return None

    def add(self, key: str, answer: Answer) -> None:
        """Store an answer under `key`. The answer is on disk when this method returns."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, msgspec.json.encode(answer))
