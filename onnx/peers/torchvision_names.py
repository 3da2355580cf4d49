"""Records names and shapes of the state_dicts of torchvision's ResNets.

One line a tensor: network, name, extents. `num_batches_tracked`, an integer counter that no
network of ours has, is left out. Written beside this script as torchvision_names.txt.
"""

import pathlib

import torchvision

DEPTHS = (18, 34, 50, 101, 152)


def lines():
    for depth in DEPTHS:
        name = f"resnet{depth}"
        network = getattr(torchvision.models, name)(weights=None)
        for key, tensor in network.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                yield " ".join([name, key, *map(str, tensor.shape)])


def main():
    target = pathlib.Path(__file__).with_suffix(".txt")
    header = f"# torchvision {torchvision.__version__.split('+')[0]}, recorded by torchvision_names.py"
    target.write_text("\n".join([header, *lines()]) + "\n")


if __name__ == "__main__":
    main()
