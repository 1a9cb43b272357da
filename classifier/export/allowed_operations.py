"""What the graph of a classifier may do: decode images and compute.

A SavedModel of somebody else holds any graph, and TensorFlow has operations that write
files, open connections or call Python. Only those that `saved_classifier` exports, and
others that only compute, are let through, whatever function of the graph they are in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2

IMAGES = {"DecodeImage", "ResizeBicubic", "ResizeBilinear", "ScaleAndTranslate"}
#: `tf.map_fn` over the images of a batch.
LOOPS = {
    *("StatelessWhile", "TensorListFromTensor", "TensorListGetItem"),
    *("TensorListReserve", "TensorListSetItem", "TensorListStack"),
}
CALLS = {"NoOp", "PartitionedCall", "Placeholder", "StatefulPartitionedCall"}
VARIABLES = {
    *("AssignVariableOp", "DisableCopyOnRead", "ReadVariableOp", "VarHandleOp"),
    "VarIsInitializedOp",
}
SHAPES = {
    *("Cast", "ConcatV2", "Const", "EnsureShape", "ExpandDims", "GatherV2", "Identity"),
    *("IdentityN", "Pack", "Pad", "Prod", "Reshape", "Shape", "Slice", "Squeeze"),
    *("StopGradient", "StridedSlice", "Transpose", "Unpack"),
}
ARITHMETIC = {
    *("AddV2", "Erfc", "FloorDiv", "Less", "LogicalAnd", "Maximum", "Mean", "Minimum"),
    *("Mul", "Neg", "RealDiv", "Round", "Rsqrt", "Select", "Sqrt"),
    *("Square", "SquaredDifference", "Sub", "Sum"),
}
NETWORKS = {
    *("AvgPool", "BiasAdd", "Conv2D", "DepthwiseConv2dNative", "FusedBatchNormV3"),
    *("MatMul", "MaxPool", "Relu", "Relu6", "Sigmoid"),
}
#: What networks of others have besides, mostly transformers. None has a state.
OTHERS = {
    *("Abs", "All", "Any", "ArgMax", "BatchMatMulV2", "BatchToSpaceND", "BroadcastTo"),
    *("Ceil", "ClipByValue", "Cos", "Cumsum", "DepthToSpace", "Einsum", "Elu", "Equal"),
    *("Erf", "Exp", "Fill", "Floor", "FloorMod", "GatherNd", "Greater"),
    *("GreaterEqual", "InvertPermutation", "LeakyRelu", "LessEqual", "Log"),
    *("LogSoftmax", "LogicalNot", "LogicalOr", "Max", "Min", "MirrorPad", "NotEqual"),
    *("OnesLike", "PadV2", "Pow", "Range", "Rank", "Reciprocal", "ReverseV2", "Roll"),
    *(
        "SelectV2",
        "Selu",
        "Sign",
        "Sin",
        "Size",
        "Softmax",
        "Softplus",
        "SpaceToBatchND",
    ),
    *("SpaceToDepth", "Split", "SplitV", "Tan", "Tanh", "Tile", "ZerosLike"),
}
OPERATIONS = frozenset(
    {*IMAGES, *LOOPS, *CALLS, *VARIABLES, *SHAPES, *ARITHMETIC, *NETWORKS, *OTHERS}
)
#: In the two functions that save and restore weights. Loading a classifier runs
#: neither: TensorFlow reads the weights by their names.
SAVER_OPERATIONS = OPERATIONS | {
    *("MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"),
    *("StaticRegexFullMatch", "StringJoin"),
}


def check_operations(graph: Any, export: str) -> None:
    """Raises ValueError if a `MetaGraphDef` could do more than classify.

    Args:
        graph: The only graph of a SavedModel.
        export: The SavedModel's directory, for the message.
    """
    # Without objects, TensorFlow would run the graph's own operations to restore it.
    if not graph.HasField("object_graph_def"):
        raise ValueError(f"{export}: expected a SavedModel of TensorFlow 2")
    rest = meta_graph_pb2.MetaGraphDef()
    rest.CopyFrom(graph)
    saver = _remove_saver(rest)
    library = rest.graph_def.library.function
    unknown = _operations(saver) - SAVER_OPERATIONS
    unknown |= {node.op for node in rest.graph_def.node} - OPERATIONS
    unknown |= _operations(library) - OPERATIONS
    if unknown:
        raise ValueError(
            f"{export}: expected a graph that only decodes images and computes, got "
            f"the operations {', '.join(map(repr, sorted(unknown)))}, which are not "
            "loaded"
        )
    content = rest.SerializeToString()
    for function in saver:
        if function.signature.name.encode() in content:
            raise ValueError(
                f"{export}: expected {function.signature.name} to be called by "
                "TensorFlow's saver only"
            )


def _remove_saver(graph: Any) -> list[Any]:
    """Removes the nodes that save and restore; returns the functions that they call."""
    saver = graph.saver_def
    names = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    nodes = graph.graph_def.node
    called = {node.attr["f"].func.name for node in nodes if node.name in names} - {""}
    functions = graph.graph_def.library.function
    removed = [function for function in functions if function.signature.name in called]
    saver.Clear()
    kept = [function for function in functions if function.signature.name not in called]
    del functions[:]
    functions.extend(kept)
    kept = [node for node in nodes if node.name not in names]
    del nodes[:]
    nodes.extend(kept)
    return removed


def _operations(functions: Iterable[Any]) -> set[str]:
    return {node.op for function in functions for node in function.node_def}
