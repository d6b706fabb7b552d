"""Scores headlines by a local FinBERT-class model: a BERT-class classifier with three labels, as an ONNX graph.

No such model comes with quantd. Nothing is downloaded, and torch is not imported. The package `tokenizers` (extra
`sentiment`) is imported when a model is opened.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from quantd.models.artifacts.folder import first_line
from quantd.models.artifacts.inspection import OPERATORS
from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.artifacts.runtime import new_session
from quantd.models.isolation.graph_process import opener
from quantd.trading.market import Floats

GRAPH, TOKENIZER, CONFIGURATION = FILES = ("model.onnx", "tokenizer.json", "config.json")
REMEDY: Final = f"put the files of a FinBERT-class model there: {', '.join(FILES)}"

MOST_BYTES: Final = (1 << 31, 1 << 26, 1 << 20)
"""Maximum size of each of FILES in bytes; a protobuf message, the graph, has at most 2 GiB."""

BATCH: Final = 32
"""Headlines in one call of the graph."""

BATCH_S: Final = 600.0
"""Seconds within which the graph must answer a batch."""

TEXT_OPERATORS: Final = OPERATORS | {
    "And", "ConstantOfShape", "CumSum", "Equal", "GatherElements", "GatherND", "Gelu", "Greater", "GreaterOrEqual",
    "IsNaN", "Less", "LessOrEqual", "Mod", "Not", "Or", "Range", "ReduceMax", "ReduceMin", "ScatterND", "Shape",
    "Sign", "Tile", "Trilu",
}  # fmt: skip
"""Operators of exported BERT graphs: those of policies, and further ones for shapes and masks."""

REQUIRED: Final = frozenset({"input_ids", "attention_mask"})
OPTIONAL: Final = frozenset({"token_type_ids"})
LABELS: Final = ("negative", "neutral", "positive")

ROBERTA: Final = frozenset({"camembert", "roberta", "xlm-roberta"})
"""Model types whose first position is `pad_token_id` + 1, so that fewer tokens fit."""


class TextConfig(msgspec.Struct, frozen=True):
    """The fields of a text model's config.json that this module uses."""

    id2label: dict[str, str]
    max_position_embeddings: int = 512
    pad_token_id: int = 0
    model_type: str = ""

    @property
    def most_tokens(self) -> int:
        """The number of tokens after which a headline is cut off."""
        return self.max_position_embeddings - (self.pad_token_id + 1 if self.model_type in ROBERTA else 0)


class TextClassifier:
    """A checked text model in memory. `digest` is the hex BLAKE2b of the model's three files.

    The constructor raises ArtifactError for an absent or invalid file, and ImportError without the package
    `tokenizers`.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Read the three files of the model, and check its labels, tokenizer and inputs.

        The graph runs on `threads` threads. Raises ArtifactError for a file that does not fit.
        """
        from tokenizers import Tokenizer

        graph, tokenizer, text = (_content(folder / name, limit) for name, limit in zip(FILES, MOST_BYTES, strict=True))
        total = blake2b(digest_size=32)
        for data in (graph, tokenizer, text):
            total.update(blake2b(data, digest_size=32).digest())
        self.digest: Final = total.hexdigest()
        self._where: Final = folder / GRAPH
        self._config: Final = _config(folder / CONFIGURATION, text)
        self._columns: Final = _label_columns(folder / CONFIGURATION, self._config.id2label)
        try:
            self._tokenizer: Final = Tokenizer.from_buffer(tokenizer)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(self._config.most_tokens)
        except Exception as error:  # the library raises Exception itself
            raise ArtifactError(f"{folder / TOKENIZER}: not a fast tokenizer: {first_line(error)}") from None
        self._session: Final = new_session(
            graph, self._where, threads, TEXT_OPERATORS, infinite=True, opened=opener(BATCH_S)
        )
        self._takes: Final = frozenset(tensor.name for tensor in self._session.get_inputs())
        if not REQUIRED <= self._takes <= REQUIRED | OPTIONAL:
            raise ArtifactError(
                f"{self._where}: it takes {', '.join(sorted(self._takes))}; input_ids, attention_mask and, where the "
                "model has it, token_type_ids are expected"
            )

    def scores(self, headlines: Sequence[str], batch: int = BATCH) -> Floats:
        """Return float64[n], P(positive) - P(negative) of each headline. Raises ArtifactError and GraphFailed.

        Headlines of similar length share a batch. The same headlines give the same scores on one machine.
        """
        encoded = [self._tokenizer.encode(headline) for headline in headlines]
        order = sorted(range(len(encoded)), key=lambda k: len(encoded[k].ids))
        score_of = np.empty(len(encoded))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            score_of[rows] = self._scored([encoded[k] for k in rows])
        return score_of

    def _scored(self, encoded: Sequence[Any]) -> Floats:
        """Return the scores float64[B] of one batch of tokenized headlines."""
        length = max(len(encoding.ids) for encoding in encoded)
        if not length:
            raise ArtifactError(
                f"{self._where.with_name(TOKENIZER)}: this tokenizer splits no headline of the batch into tokens; "
                "put the tokenizer of the model there"
            )
        feeds = {
            "input_ids": _padded((encoding.ids for encoding in encoded), length, self._config.pad_token_id),
            "attention_mask": _padded((encoding.attention_mask for encoding in encoded), length, 0),
            "token_type_ids": _padded((encoding.type_ids for encoding in encoded), length, 0),
        }
        logits = self._session.run(None, {name: feeds[name] for name in self._takes})[0]
        if logits.shape != (len(encoded), len(LABELS)) or not np.isfinite(logits).all():
            raise ArtifactError(
                f"{self._where}: the answer has the shape {logits.shape} or a number that is not finite; "
                f"{(len(encoded), len(LABELS))} finite numbers are expected"
            )
        # softmax
        raised = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        chances = raised / raised.sum(axis=1, keepdims=True)
        negative, _, positive = self._columns
        return np.asarray(chances[:, positive] - chances[:, negative])


def _padded(rows: Iterable[Sequence[int]], length: int, fill: int) -> np.ndarray:
    """Return int64[B, length]: B rows of token numbers, each extended with `fill` to `length`."""
    return np.array([[*row, *[fill] * (length - len(row))] for row in rows], dtype=np.int64)


def _content(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():
            raise ArtifactError(f"{path}: there is no such file; {REMEDY}")
        if path.stat().st_size > limit:
            raise ArtifactError(f"{path}: {path.stat().st_size:,} bytes; at most {limit:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from None


def _config(path: Path, data: bytes) -> TextConfig:
    """Return the settings of the model. Raises ArtifactError for unreadable settings, and for an impossible number of
    tokens."""
    try:
        config = msgspec.json.decode(data, type=TextConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from None
    if not (3 <= config.most_tokens <= 1 << 16 and config.pad_token_id >= 0):
        raise ArtifactError(
            f"{path}: max_position_embeddings and pad_token_id give {config.most_tokens} tokens; "
            "3 to 65,536 are expected"
        )
    return config


def _label_columns(path: Path, labels: dict[str, str]) -> tuple[int, ...]:
    """Return, for each label in LABELS, its column in the output of the graph."""
    column = {name.strip().lower(): index for index, name in labels.items()}
    if sorted(column) != list(LABELS) or sorted(labels) != ["0", "1", "2"]:
        raise ArtifactError(f"{path}: id2label is {labels}; positive, negative and neutral as 0, 1 and 2 are expected")
    return tuple(int(column[name]) for name in LABELS)
