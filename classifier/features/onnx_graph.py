"""ONNX graphs: a backbone behind the scaling of pixels, and a head on it.

  pixels uint8 [N,S,S,3] -> scaling -> backbone -> embedding [N,D] -> logits [N,K]

The backbone's operators stay as they are; only its tensors get a prefix.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from classifier.export.head import MIN_LENGTH, Head
from classifier.export.onnx_file import PIXELS, shape
from classifier.features.graph_config import GraphConfig
from classifier.models.embedding import EMBEDDING, LOGITS
from stage.typed_json import error_message, shown

#: Prefix of the backbone's names, and of those that are added.
_BACKBONE, _ADDED, _HEAD = "backbone/", "classifier/", "classifier/head/"
#: Version of the file format from which constants need not be inputs as well.
_MIN_IR_VERSION = 4


@dataclasses.dataclass(frozen=True)
class GraphInput:
    """The images' input of a graph.

    Attributes:
        name: Its name.
        layout: Order of its axes.
        size: Side of the images in pixels, 0 if it is open.
        batch: Number of images, 0 if it is open.
        dtype: Its type, one of ONNX's numbers.
    """

    name: str
    layout: Literal["nchw", "nhwc"]
    size: int
    batch: int
    dtype: int

    @property
    def takes_bytes(self) -> bool:
        """Whether the graph itself scales uint8 pixels."""
        from onnx import TensorProto

        return self.dtype == TensorProto.UINT8


def find_input(model: Any, config: GraphConfig) -> GraphInput:
    """Returns the images' input of a graph, of the name and layout in the settings.

    Raises ValueError if it is not the only one, or does not take square images.
    """
    from onnx import TensorProto

    constants = {tensor.name for tensor in model.graph.initializer}
    values = {v.name: v for v in model.graph.input if v.name not in constants}
    if len(values) != 1 or (config.input and config.input not in values):
        raise ValueError(
            f"expected one input of images{config.input and f' {config.input!r}'}, got "
            f"{shown(sorted(values))}; export the part of the network that sees images"
        )
    ((found, value),) = values.items()
    sides = shape(value)
    accepted = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
    dtype = value.type.tensor_type.elem_type
    if len(sides) != 4 or dtype not in accepted:
        raise ValueError(
            f"expected an input of images [N,3,S,S] or [N,S,S,3] of float32, float16 "
            f"or uint8, got {shown(found)} {shown(sides)}"
        )
    order = find_layout(sides, config.layout)
    height, width = sides[2:] if order == "nchw" else sides[1:3]
    if height and width and height != width:
        raise ValueError(f"expected square images, got {height} x {width} pixels")
    return GraphInput(found, order, height or width, sides[0], dtype)


def find_layout(sides: tuple[int | None, ...], layout: str) -> Literal["nchw", "nhwc"]:
    """Returns the order of the axes of images of this shape."""
    if layout == "auto":
        is_first, is_last = sides[1] == 3, sides[3] == 3
        if is_first == is_last:
            raise ValueError(
                f"expected three channels in [N,3,S,S] or [N,S,S,3], got {shown(sides)}"
                "; give --set=layout=nchw or nhwc"
            )
        return "nchw" if is_first else "nhwc"
    return "nchw" if layout == "nchw" else "nhwc"


def wrap(model: Any, graph_input: GraphInput, config: GraphConfig) -> Any:
    """Returns a model from `pixels` to the outputs of the backbone."""
    import onnx

    body = onnx.compose.add_prefix(model, _BACKBONE)
    constants = {tensor.name for tensor in body.graph.initializer}
    listed = [value for value in body.graph.input if value.name in constants]
    for value in listed:  # Before version 4, constants were inputs, too.
        body.graph.input.remove(value)
    chain = _Chain(PIXELS, f"{_ADDED}scaling/")
    if config.channel_order == "bgr":
        chain.add("Gather", np.array([2, 1, 0]), axis=3)
    if graph_input.layout == "nchw":
        chain.add("Transpose", perm=[0, 3, 1, 2])
    if not graph_input.takes_bytes:
        aligned = (3, 1, 1) if graph_input.layout == "nchw" else (3,)
        chain.add("Cast", to=onnx.TensorProto.FLOAT)
        chain.add("Mul", np.array(config.scale, np.float32).reshape(aligned))
        chain.add("Add", np.array(config.offset, np.float32).reshape(aligned))
        chain.add("Cast", to=graph_input.dtype)
    chain.finish(body.graph, f"{_BACKBONE}{graph_input.name}", first=True)
    side = config.image.size
    sides = [graph_input.batch or "N", side, side, 3]
    del body.graph.input[:]
    body.graph.input.append(_value(PIXELS, onnx.TensorProto.UINT8, sides))
    # Shapes that were inferred while the size was open.
    del body.graph.value_info[:]
    body.ir_version = max(body.ir_version, _MIN_IR_VERSION)
    return body


def choose_output(
    model: Any, outputs: dict[str, tuple[int, ...]], *, layout: str, config: GraphConfig
) -> Any:
    """Returns a wrapped model whose only output is `embedding` float32 [N,D].

    Args:
        model: Result of `wrap`.
        outputs: Shape of each of its outputs for some images.
        layout: Order of the axes of images, and of maps.
        config: Name of the output, and pooling.

    Raises:
        ValueError: If there is no such output, or it is no vector.
    """
    from onnx import TensorProto

    shapes = {name.removeprefix(_BACKBONE): sides for name, sides in outputs.items()}
    name = config.output or find_vector(shapes)
    if name not in shapes:
        raise ValueError(f"expected an output of {shown(shapes)}, got {shown(name)}")
    chain = _Chain(f"{_BACKBONE}{name}", f"{_ADDED}embedding/")
    chain.add("Cast", to=TensorProto.FLOAT)
    rank = check_pooling(name, shapes[name], config.pooling)
    if config.pooling == "first":
        chain.add("Gather", np.array(0), axis=1)
    if config.pooling == "mean":
        if rank == 3 or layout == "nhwc":
            chain.add("Transpose", perm=[0, rank - 1, *range(1, rank - 1)])
        chain.add("GlobalAveragePool")
        chain.add("Flatten", axis=1)
    is_first = config.pooling == "mean" and rank == 4 and layout == "nchw"
    size = shapes[name][1 if is_first else -1]
    chosen = type(model)()
    chosen.CopyFrom(model)
    chain.finish(chosen.graph, EMBEDDING)
    del chosen.graph.output[:]
    sides = [_batch(chosen), size]
    chosen.graph.output.append(_value(EMBEDDING, TensorProto.FLOAT, sides))
    return chosen


def find_vector(shapes: dict[str, tuple[int, ...]]) -> str:
    """Returns the name of the only output [N,D]; ValueError if it is not the only."""
    vectors = [name for name, sides in shapes.items() if len(sides) == 2]
    if len(vectors) != 1:
        raise ValueError(
            f"expected one output [N,D], got {shown(shapes)}; name one as "
            "--set=output=NAME, and for one that is no vector --set=pooling=first or "
            "mean"
        )
    return vectors[0]


def check_pooling(name: str, sides: tuple[int, ...], pooling: str) -> int:
    """Returns the rank of an output; ValueError if pooling makes no vector of it."""
    ranks = {"auto": (2,), "first": (3,), "mean": (3, 4)}[pooling]
    if len(sides) not in ranks:
        axes = " or ".join(map(str, ranks))
        raise ValueError(
            f"--set=pooling={pooling}: expected an output of {axes} axes, got "
            f"{shown(name)} {shown(sides)}"
        )
    return len(sides)


def add_head(model: Any, head: Head) -> Any:
    """Returns a model of `choose_output` that also has the output `logits`."""
    from onnx import TensorProto

    joined = type(model)()
    joined.CopyFrom(model)
    graph = joined.graph
    features = EMBEDDING
    if head.normalize:
        # Of operators that all versions of ONNX have alike, so not Max or Clip.
        shortest = np.array(MIN_LENGTH, np.float32)
        length = _Chain(EMBEDDING, f"{_HEAD}length/")
        length.add("Mul", EMBEDDING)
        length.add("MatMul", np.ones((head.embedding_size, 1), np.float32))
        length.add("Sqrt")
        length.add("Sub", shortest)
        length.add("Relu")
        length.add("Add", shortest)
        length.finish(graph, f"{_HEAD}length")
        normal = _Chain(EMBEDDING, f"{_HEAD}normal/")
        normal.add("Div", f"{_HEAD}length")
        features = f"{_HEAD}normal"
        normal.finish(graph, features)
    linear = _Chain(features, f"{_HEAD}linear/")
    linear.add("Gemm", head.kernel, head.bias)
    linear.finish(graph, LOGITS)
    sides = [_batch(joined), len(head.bias)]
    graph.output.insert(0, _value(LOGITS, TensorProto.FLOAT, sides))
    return joined


def remove_head(model: Any) -> Any:
    """Returns a model without what `add_head` has added."""
    bare = type(model)()
    bare.CopyFrom(model)
    graph = bare.graph
    for node in model.graph.node:
        if any(name == LOGITS or name.startswith(_HEAD) for name in node.output):
            graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name.startswith(_HEAD)]:
        graph.initializer.remove(tensor)
    for value in [v for v in graph.output if v.name == LOGITS]:
        graph.output.remove(value)
    return bare


def check(model: Any) -> None:
    """Raises ValueError if ONNX's own checker refuses a model."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(error_message(error)) from error


class _Chain:
    """Operators one after the other, each with constants as further inputs."""

    def __init__(self, start: str, prefix: str) -> None:
        self._start = start
        self._prefix = prefix
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, operator: str, *more: str | NDArray[Any], **attributes: Any) -> None:
        """Adds an operator; `more` are tensors by name, or constants."""
        from onnx import helper, numpy_helper

        place = f"{self._prefix}{len(self._nodes)}"
        inputs = [self._nodes[-1].output[0] if self._nodes else self._start]
        for index, value in enumerate(more):
            if isinstance(value, str):
                inputs.append(value)
                continue
            inputs.append(f"{place}/{index}")
            constant = np.ascontiguousarray(value).reshape(value.shape)
            self._constants.append(numpy_helper.from_array(constant, inputs[-1]))
        node = helper.make_node(operator, inputs, [place], name=place, **attributes)
        self._nodes.append(node)

    def finish(self, graph: Any, name: str, *, first: bool = False) -> None:
        """Puts the operators before or behind a graph's; their result gets a name."""
        if not self._nodes:
            self.add("Identity")
        self._nodes[-1].output[0] = name
        others = list(graph.node)
        del graph.node[:]
        graph.node.extend(self._nodes + others if first else others + self._nodes)
        graph.initializer.extend(self._constants)


def _value(name: str, dtype: int, sides: list[int | str]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, dtype, sides)


def _batch(model: Any) -> int | str:
    """Returns the batch of a wrapped model: a number, or a name if it is free."""
    return model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or "N"
