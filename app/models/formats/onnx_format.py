"""Worker process. ONNX models, computed by onnxruntime on the CPU with one thread.

What a model is given follows from its inputs: texts (one string tensor), token ids (`input_ids`,
after the step `subword_ids`), or features (one float tensor, after another feature step).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import Message

from app.errors import ArtifactInvalid, ArtifactUnsafe, ManifestInvalid
from app.models.base import Document, Manifest, Predictor, architecture_as
from app.preprocessing.subwords import TokenizedTexts

# Operators that onnxruntime brings; those of any other domain would need a library.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
# It names a binary in another file.
FORBIDDEN = ("EPContext",)
FLOATS = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64}
INTEGERS = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}
FLOAT_TENSORS = (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PROBABILITIES, LOGITS = "probabilities", "logits"

# From features to the inputs of a session by name.
Feed = Callable[[Any], dict[str, Any]]


class Options(Document, frozen=True, kw_only=True):
    """The `architecture` of a manifest: which output is meant, and what is done with it.

    `padding` is the token id that short texts are filled up with.
    """

    output: str | None = None
    activation: Literal["none", "softmax", "sigmoid"] | None = None
    padding: int = 0


class OnnxPredictor:
    """A session, which several threads may run at once."""

    device = "cpu"

    def __init__(self, session: Any, manifest: Manifest) -> None:
        options = architecture_as(Options, manifest)
        self._session = session
        self._labels = len(manifest.labels)
        self._feed = _feed(session.get_inputs(), options, str(manifest.ref))
        self._output = _output(session.get_outputs(), options, str(manifest.ref))
        default = "softmax" if manifest.sums_to_one else "sigmoid"
        named = default if self._output == LOGITS else "none"
        self._activate = ACTIVATIONS[options.activation or named]

    def predict_proba(self, features: Any) -> Any:
        """Features, token ids or texts, n of them, to a float64 array (n, labels); n may be 0."""
        rows = features.shape[0] if hasattr(features, "shape") else len(features)
        if rows == 0:
            return np.empty((0, self._labels))
        (found,) = self._session.run([self._output], self._feed(features))
        return self._activate(np.asarray(found, dtype=np.float64))


def load(contents: Mapping[str, bytes], manifest: Manifest, device: str) -> Predictor:
    """A session of the first artifact; runs on the CPU whatever `device` says."""
    ref, content = str(manifest.ref), contents[manifest.artifacts[0].file]
    if manifest.device == "gpu":
        raise ManifestInvalid(ref, "device: onnxruntime runs on the CPU here")
    check_model(content, ref)
    return OnnxPredictor(open_session(content), manifest)


def open_session(content: bytes) -> Any:
    """A session of its own thread: a worker process is one core's worth of work."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # What is wrong is raised; on standard error it would name files of this machine.
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def check_model(content: bytes, ref: str) -> None:
    """Refuse what would open other files or needs code of its own, and weights that are NaN."""
    model = onnx.load_model_from_string(content)
    own = {(function.domain, function.name) for function in model.functions}
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto):
            _check_operator(message, own, ref)
        elif isinstance(message, onnx.TensorProto):
            _check_tensor(message, ref)
        elif isinstance(message, onnx.AttributeProto) and np.isnan(message.floats).any():
            raise ArtifactInvalid(ref, f"{message.name[:100]} holds NaN")


def _messages(model: Message) -> Iterator[Message]:
    """Every part of a model, wherever it lies: in subgraphs, functions and attributes too."""
    waiting = [model]
    while waiting:
        message = waiting.pop()
        yield message
        for _, value in message.ListFields():
            if isinstance(value, Message):
                waiting.append(value)
            elif not isinstance(value, str | bytes | int | float) and len(value):
                waiting.extend(part for part in value if isinstance(part, Message))


def _check_operator(node: Any, own: set[tuple[str, str]], ref: str) -> None:
    is_known = node.domain in DOMAINS or (node.domain, node.op_type) in own
    if not is_known or node.op_type in FORBIDDEN:
        name = f"{node.domain}.{node.op_type}"[:100]
        raise ArtifactUnsafe(ref, f"{name} is a custom operator, which would need other code")


def _check_tensor(tensor: Any, ref: str) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
        said = "external data, which would be read from other files"
        raise ArtifactUnsafe(ref, f"tensor {tensor.name[:100]} has {said}; save it in one file")
    if tensor.data_type in FLOAT_TENSORS and np.isnan(onnx.numpy_helper.to_array(tensor)).any():
        raise ArtifactInvalid(ref, f"tensor {tensor.name[:100]} holds NaN")


def _feed(inputs: list[Any], options: Options, ref: str) -> Feed:
    kinds = {given.name: given.type for given in inputs}
    if "input_ids" in kinds and kinds.keys() <= set(TOKEN_INPUTS):
        return _tokens(kinds, options.padding)
    if len(inputs) == 1 and inputs[0].type == "tensor(string)":
        return _texts(inputs[0])
    if len(inputs) == 1 and inputs[0].type in FLOATS:
        return _matrix(inputs[0])
    said = ", ".join(f"{name} {kind}" for name, kind in kinds.items())[:200]
    raise ArtifactInvalid(ref, f"its inputs are neither texts, token ids nor features: {said}")


def _texts(given: Any) -> Feed:
    has_columns = len(given.shape) == 2

    def feed(texts: list[str]) -> dict[str, Any]:
        rows = np.array(texts, dtype=object)
        return {given.name: rows[:, None] if has_columns else rows}

    return feed


def _tokens(kinds: Mapping[str, str], padding: int) -> Feed:
    def feed(texts: TokenizedTexts) -> dict[str, Any]:
        ids, mask = texts.padded(padding)
        found = dict(zip(TOKEN_INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))
        return {name: found[name].astype(INTEGERS[kind]) for name, kind in kinds.items()}

    return feed


def _matrix(given: Any) -> Feed:
    def feed(features: Any) -> dict[str, Any]:
        dense = features.toarray() if hasattr(features, "toarray") else np.asarray(features)
        return {given.name: dense.astype(FLOATS[given.type], copy=False)}

    return feed


def _output(outputs: list[Any], options: Options, ref: str) -> str:
    names = [output.name for output in outputs if output.type in FLOATS]
    only = names if len(names) == 1 else []
    for name in [options.output] if options.output else [PROBABILITIES, LOGITS, *only]:
        if name in names:
            return name
    said = ", ".join(f"{output.name} {output.type}" for output in outputs)[:200]
    raise ManifestInvalid(ref, f"architecture: output must name a float tensor of: {said}")


def _softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "none": lambda found: found,
    "softmax": _softmax,
    "sigmoid": lambda logits: 1 / (1 + np.exp(-logits)),
}
