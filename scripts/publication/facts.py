"""The facts of publication.toml, parsed; and the version of the code."""

import tomllib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "publication.toml"


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of publication.toml. An empty text is a fact that is not decided."""

    authors: tuple[str, ...]
    repository: str
    documentation: str
    security_address: str
    answer_days: int
    conduct_address: str
    index: str

    def __post_init__(self) -> None:
        for key in ("repository", "documentation", "index"):
            text: str = getattr(self, key)
            address = urlsplit(text)
            if text and (address.scheme != "https" or not address.netloc or text.endswith("/")):
                raise ValueError(f"{key} = {text!r}: write https://HOST/PATH, without a slash at the end")
        for key in ("security_address", "conduct_address"):
            text = getattr(self, key)
            if text and (text.count("@") != 1 or not all(text.split("@")) or any(map(str.isspace, text))):
                raise ValueError(f"{key} = {text!r}: write one e-mail address")
        if not self.authors or not all(self.authors):
            raise ValueError("authors is empty: name at least one")
        if self.answer_days < 1:
            raise ValueError(f"answer_days = {self.answer_days}: at least 1")


def facts(file: Path = FILE) -> Facts:
    """The facts of a file. Raises ValueError with the key that is wrong."""
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Facts)
    except (msgspec.ValidationError, ValueError) as why:
        raise ValueError(f"{file.name}: {why}") from None
