"""A small trained transformer with real files scores headlines; files that do not fit are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

pytest.importorskip("tokenizers", reason="tokenizers, of the extra `sentiment`, is not installed")

from quantd.models.artifacts.inspection import graph_fault
from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.artifacts.text_classifier import TEXT_OPERATORS, TextClassifier
from quantd.models.isolation.graph_process import GraphFailed
from tests.support.text_models import text_model

GOOD = ["Acme beats estimates", "Bolt rises in the quarter", "Record profit reports today, the Acme meeting"]
BAD = ["Acme misses estimates", "Bolt falls in the quarter", "Fraud in the profit reports today, the Acme meeting"]
LONG = "Acme beats " + "the quarter " * 40


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_model(tmp_path_factory.mktemp("text") / "model")


@pytest.fixture
def place(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


@pytest.mark.long
def test_good_news_scores_above_zero_and_bad_news_below(model_folder: Path) -> None:
    model = TextClassifier(model_folder)
    assert (model.scores(GOOD) > 0.3).all()
    assert (model.scores(BAD) < -0.3).all()
    assert abs(model.scores(["the meeting today"])[0]) < 0.3
    assert model.scores([]).shape == (0,)


@pytest.mark.long
def test_padding_and_the_order_of_a_batch_do_not_change_a_score(model_folder: Path) -> None:
    model = TextClassifier(model_folder)
    texts = [text for pair in zip(GOOD, BAD, strict=True) for text in pair] * 9 + [LONG]
    single = np.array([model.scores([text])[0] for text in texts])
    for batch in (1, 5, 32):
        np.testing.assert_allclose(model.scores(texts, batch), single, rtol=0, atol=1e-6)
    assert np.array_equal(model.scores(texts), model.scores(texts))
    np.testing.assert_allclose(
        TextClassifier(model_folder, threads=2).scores(GOOD), model.scores(GOOD), rtol=0, atol=1e-6
    )


def test_a_headline_is_cut_to_the_length_of_the_model(model_folder: Path) -> None:
    model = TextClassifier(model_folder)
    # [CLS], 14 words and [SEP] are the 16 positions
    short = " ".join(LONG.split()[:14])
    assert model.scores([LONG])[0] == model.scores([short])[0]
    assert model.scores([LONG])[0] == model.scores([LONG + " misses falls fraud"])[0]


@pytest.mark.long
@pytest.mark.parametrize("labels", [("negative", "neutral", "positive"), ("neutral", "positive", "negative")])
def test_labels_are_read_from_the_configuration(labels: tuple[str, ...], tmp_path: Path) -> None:
    model = TextClassifier(text_model(tmp_path, labels))
    assert (model.scores(GOOD) > 0).all()
    assert (model.scores(BAD) < 0).all()


@pytest.mark.long
def test_a_graph_with_a_boolean_mask_and_without_token_types_is_accepted(tmp_path: Path) -> None:
    folder = text_model(tmp_path, boolean=True, type_ids=False)
    assert "not finite" in graph_fault((folder / "model.onnx").read_bytes(), TEXT_OPERATORS)  # minus infinity
    model = TextClassifier(folder)
    assert (model.scores(GOOD) > 0).all()
    np.testing.assert_allclose(model.scores([*BAD, LONG])[:3], model.scores(BAD), rtol=0, atol=1e-6)


def test_the_digest_changes_with_each_file(model_folder: Path, place: Path) -> None:
    digest = TextClassifier(model_folder).digest
    assert TextClassifier(place).digest == digest
    for name in ("config.json", "tokenizer.json"):
        (place / name).write_text(json.dumps(json.loads((model_folder / name).read_text()), indent=3))
        assert TextClassifier(place).digest != digest
        shutil.copy(model_folder / name, place / name)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_an_absent_file_is_named_with_the_remedy(name: str, place: Path) -> None:
    (place / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: there is no such file; put the files of a FinBERT-class model"):
        TextClassifier(place)


def config(**changes: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return write


def graph(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx")
        change(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return write


def random_numbers(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("RandomNormal", [], ["r"], shape=[1]))


def not_a_number(model: onnx.ModelProto) -> None:
    first = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) * np.float32(np.nan), first.name))


def renamed_input(model: onnx.ModelProto) -> None:
    for port in model.graph.input:
        port.name = port.name.replace("attention_mask", "mask")
    for node in model.graph.node:
        node.input[:] = [name.replace("attention_mask", "mask") for name in node.input]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (config(id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}), r"config\.json: id2label is"),
        (config(id2label={"0": "positive", "1": "negative"}), r"config\.json: id2label is"),
        (config(id2label={"1": "positive", "2": "negative", "3": "neutral"}), r"config\.json: id2label is"),
        (config(id2label=["positive", "negative", "neutral"]), r"config\.json: Expected `object`"),
        (config(max_position_embeddings=2), r"config\.json: max_position_embeddings"),
        (graph(random_numbers), r"model\.onnx: the graph has the operator 'RandomNormal'; it is not loaded"),
        (graph(not_a_number), r"model\.onnx: .* has a number that is not finite"),
        (graph(renamed_input), r"model\.onnx: it takes input_ids, mask, token_type_ids"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"\0" * 40), r"model\.onnx: the file is not an ONNX graph"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), r"tokenizer\.json: not a fast tokenizer"),
    ],
)
def test_files_that_do_not_fit_are_refused(change: Callable[[Path], None], reason: str, place: Path) -> None:
    change(place)
    with pytest.raises(ArtifactError, match=reason):
        TextClassifier(place).scores(["Acme beats"])


def test_tokens_that_the_graph_does_not_know_are_refused(place: Path) -> None:
    text = json.loads((place / "tokenizer.json").read_text())
    text["model"]["vocab"]["zeppelin"] = 999
    (place / "tokenizer.json").write_text(json.dumps(text))
    with pytest.raises(
        GraphFailed, match=r"model\.onnx: its graph gives no answer; .*indices element out of data bounds"
    ):
        TextClassifier(place).scores(["zeppelin"])


def test_fewer_tokens_fit_where_positions_begin_after_the_padding(model_folder: Path, place: Path) -> None:
    config(model_type="roberta")(place)
    model = TextClassifier(place)
    assert model.scores([LONG])[0] == model.scores([" ".join(LONG.split()[:13])])[0]
