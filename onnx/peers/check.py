"""Holds exported files against the official onnx package and Python's onnxruntime.

For every *.onnx in a folder: onnx.checker with full_check, strict shape inference after all shapes
but the inputs' were removed, and runs with batches of 1 and 3. Prints one JSON object, by file:
{"values": {name: [type, extents]}, "runs": {batch: {output: [type, extents]}}}, where an extent is
a number or the name of an axis.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

TYPES = {"tensor(float)": numpy.float32, "tensor(int64)": numpy.int64}


def extents(tensor):
    return [d.dim_param or None if not d.HasField("dim_value") else d.dim_value for d in tensor.shape.dim]


def inferred_values(model):
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True).graph
    return {
        value.name: [onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name, extents(value.type.tensor_type)]
        for value in [*graph.value_info, *graph.output]
    }


def run(session, batch):
    random = numpy.random.default_rng(1)
    feeds = {}
    for port in session.get_inputs():
        shape = [batch if isinstance(extent, str) else extent for extent in port.shape]
        # Indices are 0 and 1, which every table of the tests has.
        values = random.standard_normal(shape) if port.type == "tensor(float)" else random.integers(0, 2, shape)
        feeds[port.name] = values.astype(TYPES[port.type])
    names = [output.name for output in session.get_outputs()]
    return {name: [array.dtype.name, list(array.shape)] for name, array in zip(names, session.run(names, feeds))}


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return {"values": inferred_values(model), "runs": {batch: run(session, batch) for batch in (1, 3)}}


def main():
    folder = pathlib.Path(sys.argv[1])
    results = {}
    for path in sorted(folder.glob("*.onnx")):
        try:
            results[path.stem] = check(path)
        except Exception as error:
            sys.exit(f"{path.name}: {type(error).__name__}: {error}")
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
