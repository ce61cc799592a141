"""Writes bright.onnx: a network with YuNet's inputs and outputs that takes bright squares of 64 pixels for faces.

It has the four outputs of each of the strides 8, 16 and 32 that OpenCV's ``FaceDetectorYN`` decodes: score, objectness,
box and landmarks of every cell. A cell of stride 32 is a face of 64 pixels around its corner when the 64 pixels around
that are bright; the other strides never find anything. Needs the package ``onnx``: python recipe.py
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


nodes = [
    helper.make_node("ReduceMean", ["input"], ["grey"], axes=[1], keepdims=1),
    helper.make_node("AveragePool", ["grey"], ["pooled"], kernel_shape=[64, 64], strides=[32, 32], pads=[32, 32, 0, 0],
                     count_include_pad=1),
]
constants = [constant("list", np.array([1, -1, 1], np.int64)), constant("zero", np.float32([0])),
             constant("scale", np.float32([1 / 255])), constant("size", np.float32([0, 0, np.log(2), np.log(2)]))]
outputs = []
for stride in (8, 16, 32):
    if stride == 32:
        nodes.append(helper.make_node("Mul", ["pooled", "scale"], ["bright32"]))
    else:
        nodes.append(helper.make_node("AveragePool", ["grey"], [f"p{stride}"], kernel_shape=[stride] * 2,
                                      strides=[stride] * 2))
        nodes.append(helper.make_node("Mul", [f"p{stride}", "zero"], [f"bright{stride}"]))
    nodes.append(helper.make_node("Reshape", [f"bright{stride}", "list"], [f"cls_{stride}"]))
    nodes.append(helper.make_node("Identity", [f"cls_{stride}"], [f"obj_{stride}"]))
    nodes.append(helper.make_node("Mul", [f"cls_{stride}", "zero"], [f"none{stride}"]))
    nodes.append(helper.make_node("Add", [f"none{stride}", "size"], [f"bbox_{stride}"]))
    nodes.append(helper.make_node("Concat", [f"none{stride}"] * 10, [f"kps_{stride}"], axis=2))
for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
    for stride in (8, 16, 32):
        outputs.append(helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, None, width]))
image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
graph = helper.make_graph(nodes, "bright", [image], outputs, constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
onnx.checker.check_model(model)
Path(__file__).with_name("bright.onnx").write_bytes(model.SerializeToString())
