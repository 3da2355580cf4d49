"""Records what PyTorch computes of the parts of a GAN: losses with their gradients, R1, spectral normalisation, the changes of
DiffAugment, and whole networks in train mode. Networks are filled by a formula, so that no weights are kept."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

expected = {}


def waves(shape, phase, scale=1.0):
    """Numbers of a formula that the test has too."""
    count = torch.Size(shape).numel()
    return (scale * torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + phase)).float().reshape(shape)


def losses():
    real, made = 2 * waves([24], 0.3), 2 * waves([24], 1.9)
    of_logits = F.binary_cross_entropy_with_logits
    kinds = {
        "vanilla": (of_logits, of_logits, lambda m: of_logits(m, torch.ones_like(m))),
        "least_squares": (F.mse_loss, F.mse_loss, lambda m: F.mse_loss(m, torch.ones_like(m))),
        "hinge": (
            lambda r, target: F.relu(target - r).mean(),
            lambda m, _: F.relu(1 + m).mean(),
            lambda m: -m.mean(),
        ),
    }
    for name, (of_real, of_made, of_generator) in kinds.items():
        r, m = (x.clone().requires_grad_() for x in (real, made))
        loss = of_real(r, torch.full_like(r, 0.9)) + of_made(m, torch.zeros_like(m))
        loss.backward()
        expected[f"{name}.discriminator"] = loss.detach()
        expected[f"{name}.discriminator.real"], expected[f"{name}.discriminator.made"] = r.grad, m.grad
        m = made.clone().requires_grad_()
        loss = of_generator(m)
        loss.backward()
        expected[f"{name}.generator"], expected[f"{name}.generator.made"] = loss.detach(), m.grad


def penalty():
    images = waves([3, 2, 6, 6], 0.1).requires_grad_()
    weight = waves([4, 2, 3, 3], 0.5).requires_grad_()
    scores = F.conv2d(images, weight).tanh().sum(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    value = 10.0 / 2 * gradient.square().sum(dim=(1, 2, 3)).mean()
    value.backward()
    expected["r1"], expected["r1.weight"] = value.detach(), weight.grad


def spectral():
    layer = nn.Conv2d(3, 6, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(waves([6, 3, 3, 3], 0.2))
    torch.manual_seed(1)
    layer = spectral_norm(layer)
    before = layer.parametrizations.weight[0]._u.clone()
    layer.train()
    weight = layer.weight  # One power iteration.
    (weight * waves(weight.shape, 0.9)).sum().backward()
    expected["spectral.before"], expected["spectral.after"] = before, layer.parametrizations.weight[0]._u.clone()
    expected["spectral.weight"] = weight.detach()
    expected["spectral.gradient"] = layer.parametrizations.weight.original.grad


def changes():
    """Each image by itself, with the draws of the authors' code in their order."""
    images = waves([5, 3, 16, 12], 0.4)
    count, _, height, width = images.shape

    torch.manual_seed(3)
    brightness, saturation, contrast = (torch.rand(count, 1, 1, 1) for _ in range(3))
    x = images + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    expected["changes.color"] = (x - mean) * (contrast + 0.5) + mean

    torch.manual_seed(4)
    reach = [int(side / 8 + 0.5) for side in (height, width)]
    down, right = (torch.randint(-r, r + 1, (count,)).tolist() for r in reach)
    moved = torch.full_like(images, -1)
    for n, (dy, dx) in enumerate(zip(down, right)):
        for y in range(height):
            for x in range(width):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    moved[n, :, y, x] = images[n, :, y + dy, x + dx]
    expected["changes.translation"] = moved

    torch.manual_seed(5)
    lengths = [int(side * 0.5 + 0.5) for side in (height, width)]
    tops, lefts = (
        torch.randint(0, side + (1 - length % 2), (count,)).tolist() for side, length in zip((height, width), lengths)
    )
    cut = images.clone()
    for n, (top, left) in enumerate(zip(tops, lefts)):
        (top, bottom), (left, right) = ((max(at - l // 2, 0), at - l // 2 + l) for at, l in zip((top, left), lengths))
        cut[n, :, top:bottom, left:right] = 0
    expected["changes.cutout"] = cut


class Named(nn.Module):
    """A Sequential under the name that the published code gives it."""

    def __init__(self, name, layers):
        super().__init__()
        self.name = name
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, *inputs):
        return getattr(self, self.name)(torch.cat(inputs, 1))


class Skip(Named):
    def forward(self, x):
        return torch.cat([x, self.model(x)], 1)


def norm(kind, channels):
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def dcgan_generator(latent, width, channels):
    layers = [nn.ConvTranspose2d(latent, width * 8, 4, 1, 0, bias=False), nn.BatchNorm2d(width * 8), nn.ReLU()]
    for i in (8, 4, 2):
        layers += [nn.ConvTranspose2d(width * i, width * i // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * i // 2)]
        layers += [nn.ReLU()]
    return Named("main", layers + [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()])


def dcgan_discriminator(width, channels):
    layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for i in (1, 2, 4):
        layers += [nn.Conv2d(width * i, width * i * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * i * 2)]
        layers += [nn.LeakyReLU(0.2)]
    return Named("main", layers + [nn.Conv2d(width * 8, 1, 4, 1, 0, bias=False), nn.Flatten()])


def unet(levels, width, channels, kind):
    """UnetGenerator of pytorch-CycleGAN-and-pix2pix, without dropout."""
    at = lambda depth: width << min(depth - 1, 3)
    block = None
    for depth in range(levels, 1, -1):
        outer, inner = at(depth - 1), at(depth)
        down = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=False)]
        if block is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False)
            layers = [*down, nn.ReLU(), up, norm(kind, outer)]
        else:
            up = nn.ConvTranspose2d(inner * 2, outer, 4, 2, 1, bias=False)
            layers = [*down, norm(kind, inner), block, nn.ReLU(), up, norm(kind, outer)]
        block = Skip("model", layers)
    first = nn.Conv2d(channels, width, 4, 2, 1, bias=False)
    last = nn.ConvTranspose2d(width * 2, channels, 4, 2, 1)
    outermost = Named("model", [first, block, nn.ReLU(), last, nn.Tanh()])
    outer = nn.Module()
    outer.model = outermost
    outer.forward = outermost.forward
    return outer


def patch_gan(width, channels, kind):
    layers = [nn.Conv2d(2 * channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i, stride in ((1, 2), (2, 2), (4, 1)):
        layers += [nn.Conv2d(width * i, width * i * 2, 4, stride, 1, bias=False), norm(kind, width * i * 2)]
        layers += [nn.LeakyReLU(0.2)]
    return Named("model", layers + [nn.Conv2d(width * 8, 1, 4, 1, 1)])


def network(name, module, inputs):
    """The output in train mode, and the norm of each parameter's gradient."""
    module.train()
    with torch.no_grad():
        for path, parameter in module.named_parameters():
            middle = 1.0 if parameter.dim() == 1 and path.endswith("weight") else 0.0
            parameter.copy_(middle + waves(parameter.shape, len(path), 0.1))
    output = module.forward(*inputs)
    (output * waves(output.shape, 0.6)).sum().backward()
    expected[f"{name}.output"] = output.detach().flatten()[::5].clone()
    for path, parameter in module.named_parameters():
        expected[f"{name}.gradient.{path}"] = parameter.grad.norm()


def networks():
    image = lambda phase, count=2: waves([count, 3, 64, 64], phase)
    network("dcgan_generator", dcgan_generator(16, 8, 3), [waves([4, 16, 1, 1], 0.2)])
    network("dcgan_discriminator", dcgan_discriminator(8, 3), [image(0.3, 4)])
    for kind in ("batch", "instance"):
        network(f"unet_{kind}", unet(6, 8, 3, kind), [image(0.4)])
        network(f"patch_gan_{kind}", patch_gan(8, 3, kind), [image(0.5), image(0.6)])


def sizes():
    """Parameters at the papers' size, images of three channels."""
    whole = {
        "dcgan_generator": dcgan_generator(100, 64, 3),
        "dcgan_discriminator": dcgan_discriminator(64, 3),
        "unet": unet(8, 64, 3, "batch"),
        "patch_gan": patch_gan(64, 3, "batch"),
    }
    for name, module in whole.items():
        # Two numbers that float32 holds exactly.
        count = sum(parameter.numel() for parameter in module.parameters())
        expected[f"size.{name}"] = torch.tensor([count // 1_000_000, count % 1_000_000], dtype=torch.float32)


for part in (losses, penalty, spectral, changes, networks, sizes):
    part()
tensors = {name: tensor.detach().float().contiguous() for name, tensor in expected.items()}
save_file(tensors, Path(__file__).with_name("expected.safetensors"))
