"""The median time of a step in PyTorch on the CPU, in milliseconds: step_time.py MODEL PRECISION [WARM] [STEPS]."""

import sys
import time
from statistics import median

import torch
from networks import dcgan, pix2pix
from torch import nn

model, precision = sys.argv[1:3]
warm, steps = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((3, 3), (4, 12)))
torch.manual_seed(0)
half = precision == "bf16"
cast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=half)
adam = lambda module: torch.optim.Adam(module.parameters(), 2e-4, betas=(0.5, 0.999))
of_logits = nn.BCEWithLogitsLoss()


def towards(scores, target):
    return of_logits(scores.float(), torch.full_like(scores, target, dtype=torch.float32))


def dcgan_step():
    generator, discriminator = dcgan(3)
    of_generator, of_discriminator = adam(generator), adam(discriminator)
    real = torch.randn(64, 3, 64, 64)

    def step():
        of_discriminator.zero_grad()
        with cast():
            scores = discriminator(real)
        towards(scores, 1).backward()
        with cast():
            made = generator(torch.randn(64, 100, 1, 1))
            scores = discriminator(made.detach())
        towards(scores, 0).backward()
        of_discriminator.step()
        of_generator.zero_grad()
        with cast():
            scores = discriminator(made)
        towards(scores, 1).backward()
        of_generator.step()

    return step


def pix2pix_step():
    generator, discriminator = pix2pix(3)
    of_generator, of_discriminator = adam(generator), adam(discriminator)
    source, wanted = torch.randn(1, 3, 256, 256), torch.randn(1, 3, 256, 256)

    def step():
        with cast():
            made = generator(source)
        discriminator.requires_grad_(True)
        of_discriminator.zero_grad()
        with cast():
            of_made, of_real = (discriminator(torch.cat((source, image), 1)) for image in (made.detach(), wanted))
        (0.5 * (towards(of_made, 0) + towards(of_real, 1))).backward()
        of_discriminator.step()
        discriminator.requires_grad_(False)
        of_generator.zero_grad()
        with cast():
            of_made = discriminator(torch.cat((source, made), 1))
        (towards(of_made, 1) + 100 * nn.functional.l1_loss(made.float(), wanted)).backward()
        of_generator.step()

    return step


step = {"dcgan": dcgan_step, "pix2pix": pix2pix_step}[model]()
times = []
for number in range(warm + steps):
    begun = time.perf_counter()
    step()
    if number >= warm:
        times.append(1e3 * (time.perf_counter() - begun))
print(f"{median(times):.2f}")
