"""DCGAN as in pytorch/examples, and Pix2Pix as in pytorch-CycleGAN-and-pix2pix, for the comparisons of `cargo xtask peers gan`."""

import torch
from torch import nn


def dcgan_weights(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def dcgan(channels, latent=100, width=64):
    up = [nn.ConvTranspose2d(latent, width * 8, 4, 1, 0, bias=False), nn.BatchNorm2d(width * 8), nn.ReLU(True)]
    down = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for i in (1, 2, 4):
        down += [nn.Conv2d(width * i, width * i * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * i * 2)]
        down += [nn.LeakyReLU(0.2, True)]
    for i in (8, 4, 2):
        up += [nn.ConvTranspose2d(width * i, width * i // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * i // 2)]
        up += [nn.ReLU(True)]
    up += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    down += [nn.Conv2d(width * 8, 1, 4, 1, 0, bias=False), nn.Flatten(0)]
    generator, discriminator = nn.Sequential(*up), nn.Sequential(*down)
    generator.apply(dcgan_weights)
    discriminator.apply(dcgan_weights)
    return generator, discriminator


class Skip(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return torch.cat([x, self.model(x)], 1)


def norm(channels):
    return nn.InstanceNorm2d(channels, affine=True)


def pix2pix(channels, width=64):
    at = lambda depth: width << min(depth - 1, 3)
    block = None
    for depth in range(8, 1, -1):
        outer, inner = at(depth - 1), at(depth)
        down = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=False)]
        middle = [norm(inner), block] if block else []
        up = nn.ConvTranspose2d(inner * (2 if block else 1), outer, 4, 2, 1, bias=False)
        drop = [nn.Dropout(0.5)] if 4 < depth < 8 else []
        block = Skip(*down, *middle, nn.ReLU(True), up, norm(outer), *drop)
    first = nn.Conv2d(channels, width, 4, 2, 1, bias=False)
    generator = nn.Sequential(first, block, nn.ReLU(True), nn.ConvTranspose2d(width * 2, channels, 4, 2, 1), nn.Tanh())
    down = [nn.Conv2d(2 * channels, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for i, stride in ((1, 2), (2, 2), (4, 1)):
        down += [nn.Conv2d(width * i, width * i * 2, 4, stride, 1, bias=False), norm(width * i * 2)]
        down += [nn.LeakyReLU(0.2, True)]
    return generator, nn.Sequential(*down, nn.Conv2d(width * 8, 1, 4, 1, 1))
