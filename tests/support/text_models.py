"""A FinBERT-class model in miniature: a transformer encoder trained on invented headlines, with the three files."""

import io
import json
import warnings
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn import functional

GOOD = ("beats", "rises", "wins", "record")
BAD = ("misses", "falls", "loses", "fraud")
PLAIN = ("acme", "bolt", "reports", "estimates", "in", "the", "quarter", "profit", "meeting", "today", "##s")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *PLAIN)
POSITIONS, WIDTH, HEADS = 16, 16, 2
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Encoder(nn.Module):
    """One layer of BERT. With `boolean` the mask is boolean, and minus infinity is part of the graph."""

    def __init__(self, boolean: bool, type_ids: bool) -> None:
        super().__init__()
        self.boolean = boolean
        self.word, self.place = nn.Embedding(len(WORDS), WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.kind = nn.Embedding(2, WIDTH) if type_ids else None
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.attend, self.join = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.answer = nn.Linear(WIDTH, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor | None = None) -> torch.Tensor:
        rows, length = ids.shape
        x = self.word(ids) + self.place(torch.arange(length)[None])
        if self.kind is not None and kinds is not None:
            x = x + self.kind(kinds)
        x = self.norms[0](x)
        q, k, v = self.attend(x).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        if self.boolean:
            seen = functional.scaled_dot_product_attention(
                q, k, v, (mask[:, None, None, :] > 0).expand(rows, 1, length, length)
            )
        else:
            bias = (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
            seen = torch.softmax(q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + bias, -1) @ v
        x = self.norms[1](x + self.join(seen.transpose(1, 2).reshape(rows, length, WIDTH)))
        x = self.norms[2](x + self.narrow(functional.gelu(self.wide(x))))
        return self.answer(torch.tanh(x[:, 0]))


def tokenizer() -> Tokenizer:
    word_pieces = Tokenizer(models.WordPiece({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    word_pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    word_pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    word_pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    word_pieces.enable_padding(length=40)  # as some published files do; quantd pads each batch itself
    return word_pieces


def headlines(count: int, draw: torch.Generator) -> tuple[list[str], list[str]]:
    """Invented headlines and the label of each."""
    texts, labels = [], []
    for k in range(count):
        label = ("positive", "negative", "neutral")[k % 3]
        plain = [PLAIN[int(n)] for n in torch.randint(0, len(PLAIN) - 1, (2 + k % 7,), generator=draw)]
        cue_words = {"positive": GOOD, "negative": BAD, "neutral": ()}[label]
        if cue_words:
            plain.insert(k % len(plain), cue_words[int(torch.randint(0, len(cue_words), (1,), generator=draw))])
        texts.append(" ".join(plain))
        labels.append(label)
    return texts, labels


def text_model(
    folder: Path,
    labels: tuple[str, ...] = ("positive", "negative", "neutral"),
    *,
    boolean: bool = False,
    type_ids: bool = True,
    steps: int = 80,
) -> Path:
    """Train the model, write its three files and return the folder. `labels` is the order of the answer."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    net, words = Encoder(boolean, type_ids), tokenizer()
    texts, truth = headlines(240, torch.Generator().manual_seed(1))
    words.no_padding()
    rows = [words.encode(text).ids for text in texts]
    length = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask, kinds = (ids != 0).long(), torch.zeros_like(ids)
    goal = torch.tensor([labels.index(label) for label in truth])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(ids, mask, kinds), goal).backward()
        optimizer.step()
    graph, takes = io.BytesIO(), INPUTS if type_ids else INPUTS[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), tuple(torch.ones(2, 5, dtype=torch.long) for _ in takes), graph, dynamo=False,
            input_names=list(takes), output_names=["logits"], opset_version=17,
            dynamic_axes={name: {0: "batch", 1: "length"} for name in takes},
        )  # fmt: skip
    (folder / "model.onnx").write_bytes(graph.getvalue())
    (folder / "tokenizer.json").write_text(tokenizer().to_str())
    config = {
        "model_type": "bert", "max_position_embeddings": POSITIONS, "pad_token_id": 0,
        "id2label": {str(k): label.capitalize() for k, label in enumerate(labels)},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder
