"""ONNX versions: texts, token ids and features in, and what a file may not ask for."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from app.errors import ArtifactInvalid, ArtifactUnsafe, ManifestInvalid
from app.models.base import MULTI_LABEL
from app.models.formats.onnx_format import check_model, open_session
from app.models.loader import load
from tests.models import LABELS, LIMITS, build_model, edit_manifest, entry
from tests.onnx_models import EMBEDDINGS, build_onnx_texts, build_onnx_tokens, token_graph


def answer(model, texts):
    return model.predictor.predict_proba(model.pipeline.extract(texts))


def means(model, texts):
    tokens = [model.pipeline.extract([text]).padded(0)[0][0] for text in texts]
    return np.array([EMBEDDINGS[ids].mean(axis=0) for ids in tokens], dtype=np.float64)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


TEXTS = ["good day", "bad", "table chair window paper", "good " * 100]


@pytest.mark.parametrize(
    ("changes", "activate"),
    [({}, softmax), ({"problem_type": MULTI_LABEL}, sigmoid)],
    ids=["one label is right", "many are"],
)
def test_logits_of_token_ids_become_probabilities(changes, activate, tmp_path):
    model = load(entry(build_onnx_tokens(tmp_path, **changes)), LIMITS)

    assert answer(model, TEXTS) == pytest.approx(activate(means(model, TEXTS)), abs=1e-5)


def test_output_and_activation_are_those_that_the_manifest_names(tmp_path):
    options = {"output": "scores", "activation": "softmax"}
    path = build_onnx_tokens(tmp_path, graph=token_graph(output="scores"), architecture=options)
    model = load(entry(path), LIMITS)

    assert answer(model, TEXTS) == pytest.approx(softmax(means(model, TEXTS)), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": "other"}, "output must name a float tensor of: logits tensor"),
        ({"activation": "relu"}, "architecture: Invalid enum value 'relu'"),
    ],
)
def test_output_that_is_not_there_is_an_invalid_manifest(options, sentence, tmp_path):
    path = build_onnx_tokens(tmp_path, architecture=options)

    with pytest.raises(ManifestInvalid, match=sentence):
        load(entry(path), LIMITS)


def test_another_number_of_labels_than_outputs_is_refused(tmp_path):
    path = build_onnx_tokens(tmp_path, labels=["a", "b"])

    with pytest.raises(ArtifactInvalid, match=r"the shape \(2, 3\), not \(2, 2\)"):
        load(entry(path), LIMITS)


def test_gpu_is_not_offered(tmp_path):
    path = build_onnx_tokens(tmp_path, device="gpu")

    with pytest.raises(ManifestInvalid, match="runs on the CPU"):
        load(entry(path), LIMITS)


def test_session_computes_with_one_thread():
    options = open_session(token_graph().SerializeToString()).get_session_options()

    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def external(graph):
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_in_a_subgraph(graph):
    inner = token_graph()
    external(inner)
    graph.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner.graph))


def custom_operator(graph):
    graph.graph.node.append(helper.make_node("Shell", ["x"], ["y"], domain="evil"))


def operator_with_another_binary(graph):
    graph.graph.node.append(helper.make_node("EPContext", [], ["y"], domain="com.microsoft"))


def nan_weights(graph):
    broken = EMBEDDINGS.copy()
    broken[0, 0] = np.nan
    graph.CopyFrom(token_graph(broken))


def nan_attribute(graph):
    node = helper.make_node("LinearClassifier", ["x"], ["y"], coefficients=[1.0, float("nan")])
    graph.graph.node.append(node)


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (external, ArtifactUnsafe, "tensor embeddings has external data"),
        (external_in_a_subgraph, ArtifactUnsafe, "tensor embeddings has external data"),
        (custom_operator, ArtifactUnsafe, r"evil\.Shell is a custom operator"),
        (operator_with_another_binary, ArtifactUnsafe, "EPContext is a custom operator"),
        (nan_weights, ArtifactInvalid, "tensor embeddings holds NaN"),
        (nan_attribute, ArtifactInvalid, "coefficients holds NaN"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_file_may_not_ask_for_is_refused_before_it_is_opened(
    damage, error, sentence, tmp_path
):
    graph = token_graph()
    damage(graph)
    path = build_onnx_tokens(tmp_path, graph=graph)

    with pytest.raises(error, match=sentence):
        load(entry(path), LIMITS)


def test_functions_of_the_model_itself_are_no_custom_operators():
    graph = token_graph()
    body = [helper.make_node("Identity", ["a"], ["b"])]
    opset = [helper.make_opsetid("", 18)]
    graph.functions.append(helper.make_function("own", "Same", ["a"], ["b"], body, opset))
    graph.graph.node.append(helper.make_node("Same", ["x"], ["y"], domain="own"))

    check_model(graph.SerializeToString(), "tiny-v1")


@pytest.mark.parametrize("content", [b"", b"garbage" * 100], ids=["empty", "garbage"])
def test_damaged_file_is_an_invalid_artifact(content, tmp_path):
    path = build_model(tmp_path, files={"model.onnx": content}, format="onnx")

    with pytest.raises(ArtifactInvalid):
        load(entry(path), LIMITS)


def test_inputs_that_are_neither_texts_nor_numbers_are_refused(tmp_path):
    graph = token_graph()
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3])
    graph.graph.input.append(image)
    path = build_onnx_tokens(tmp_path, graph=graph)

    with pytest.raises(ArtifactInvalid, match=r"neither texts, token ids nor features: input_ids"):
        load(entry(path), LIMITS)


def test_texts_go_into_the_graph_as_they_are_after_cleaning(tmp_path):
    path = build_onnx_texts(tmp_path)
    model = load(entry(path), LIMITS)

    found = answer(model, [model.pipeline.clean(text) for text in ("Good DAY", "night", "é")])

    assert [LABELS[at] for at in found.argmax(axis=1)][:2] == ["positive", "negative"]
    assert onnx.load(path / "model.onnx").graph.input[0].type.tensor_type.elem_type == 8
    edit_manifest(path, pipeline=[])
    assert load(entry(path), LIMITS).pipeline.extract(["x"]) == ["x"]
