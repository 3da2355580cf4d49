"""Quantizes a float ONNX file with Python's onnxruntime, as the peer of our quantizer.

    quantize.py FLOAT.onnx IMAGES.f32 OUT.onnx

IMAGES.f32 holds little-endian floats, images of the file's input shape one after the other. Static
QDQ, MinMax, U8S8, weights by channel; nodes named `head.*` and what lies behind the features stay
float. Prints {"activations": {tensor: [scale, zero point]}, "weights": {name: [scales, values]}}.
"""

import json
import sys

import numpy
import onnx
from onnxruntime import quantization


class Images(quantization.CalibrationDataReader):
    def __init__(self, path, name, shape):
        self.items = iter([{name: image} for image in numpy.fromfile(path, "<f4").reshape(-1, 1, *shape)])

    def get_next(self):
        return next(self.items, None)


def main(float_file, images, out):
    model = onnx.load(float_file)
    port = model.graph.input[0]
    shape = [d.dim_value for d in port.type.tensor_type.shape.dim][1:]
    quantized_operators = ["Conv", "Add", "Relu", "MaxPool"]
    quantization.quantize_static(
        float_file,
        out,
        Images(images, port.name, shape),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=quantized_operators,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=[node.name for node in model.graph.node if node.name.startswith("head.")],
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(out).graph.initializer}
    activations = {
        name.removesuffix("_scale"): [float(scale), int(constants[name.removesuffix("_scale") + "_zero_point"])]
        for name, scale in constants.items()
        if name.endswith("_scale") and scale.ndim == 0
    }
    # Where a ReLU was taken out, its range stands under the name of the tensor it read.
    for node in model.graph.node:
        if node.op_type == "Relu" and node.output[0] not in activations and node.input[0] in activations:
            activations[node.output[0]] = activations[node.input[0]]
    weights = {
        name.removesuffix("_quantized"): [constants[name.removesuffix("_quantized") + "_scale"].tolist(), values.flatten().tolist()]
        for name, values in constants.items()
        if name.endswith("_quantized") and values.dtype == numpy.int8
    }
    json.dump({"activations": activations, "weights": weights}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
