"""Small ONNX versions for tests: a graph over token ids, and exports of scikit-learn versions."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.models.base import StepSpec
from app.models.export import export
from tests.hugging_face_models import MAX_TOKENS, TOKENS, tokenizer
from tests.models import LABELS, LIMITS, build_model, entry

EMBEDDINGS = np.random.default_rng(5).normal(size=(len(TOKENS), len(LABELS))).astype(np.float32)
TOKEN_IDS = StepSpec(
    step="subword_ids", options={"artifact": "tokenizer.json", "max_tokens": MAX_TOKENS}
)


def token_graph(embeddings: Any = EMBEDDINGS, output: str = "logits") -> onnx.ModelProto:
    """The mean of a row of numbers for each token: what a transformer's export takes and gives."""
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["present"]),
        helper.make_node("ReduceSum", ["present", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], [output]),
    ]
    ids, masks = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
        for name in ("input_ids", "attention_mask")
    )
    found = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", len(LABELS)])
    constants = {"embeddings": embeddings, "last": np.array([2]), "tokens": np.array([1])}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "mean", [ids, masks], [found], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def build_onnx_tokens(
    root: Path, name: str = "tiny", version: str = "v1", *, graph: Any = None, **manifest: Any
) -> Path:
    """Write `root`/name/version with this graph, or `token_graph`, and a tokenizer."""
    files = {
        "model.onnx": (token_graph() if graph is None else graph).SerializeToString(),
        "tokenizer.json": tokenizer().to_str().encode(),
    }
    fields = {"format": "onnx", "pipeline": [TOKEN_IDS], "libraries": {}}
    return build_model(root, name, version, files=files, **(fields | manifest))


def build_onnx_texts(root: Path) -> Path:
    """Write `root`/tiny/v2: the scikit-learn pipeline of `tests.models` as one graph, texts in."""
    return exported(build_model(root), root / "tiny" / "v2")


def exported(source: Path, target: Path) -> Path:
    """Export the version in `source` to `target`, whose name is its version."""
    export(entry(source), target, target.name, LIMITS)
    return target
