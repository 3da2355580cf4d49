"""Records tensors in torch's file formats, for the reader's tests.

    cargo xtask peers weights

Its files lie beside it. tensors_legacy.pth names storages by their place in memory: its bytes are new each time.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent

torch.manual_seed(1)
base = torch.randn(6, 4)
tensors = OrderedDict(
    weight=base,
    part=base[2:4, 1:3],  # a view with an offset into shared storage
    transposed=base.t(),
    parameter=torch.nn.Parameter(torch.randn(3, 2, 1, 1)),
    half=torch.randn(5).half(),
    count=torch.tensor(7, dtype=torch.int64),
)
tensors._metadata = {"": {"version": 1}}  # as module.state_dict() has it

torch.save(tensors, HERE / "tensors_zip.pth")
torch.save(tensors, HERE / "tensors_legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"epoch": 3, "best": 0.5, "state_dict": tensors, "optimizer": {"lr": [0.1], "none": None}}, HERE / "tensors_nested.pth")
save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, HERE / "tensors.safetensors")
