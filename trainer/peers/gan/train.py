"""The training of dcgan.toml in PyTorch, on the training images of one of our runs: train.py RUN STEPS SEED IMAGES OUT writes IMAGES
generated images as OUT/generated/*.png."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch
from networks import dcgan
from PIL import Image
from torch import nn

run, out = Path(sys.argv[1]), Path(sys.argv[5]) / "generated"
steps, seed, count = (int(text) for text in sys.argv[2:5])
data = Path(json.loads((run / "run.json").read_text())["data"])
root = data if data.is_dir() else data.parent
with open(run / "split.csv") as file:
    rows = [row["path"] for row in csv.DictReader(file) if row["side"] == "train"]


def tensor(path):
    image = Image.open(root / path).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1)[None]


torch.manual_seed(seed)
images = torch.stack([tensor(path) for path in rows])
generator, discriminator = dcgan(1)
of_generator, of_discriminator = (
    torch.optim.Adam(module.parameters(), 2e-4, betas=(0.5, 0.999)) for module in (generator, discriminator)
)
of_logits = nn.BCEWithLogitsLoss()
order = torch.empty(0, dtype=torch.long)
for step in range(steps):
    if len(order) < 64:
        order = torch.randperm(len(images))
    real, order = images[order[:64]], order[64:]
    of_discriminator.zero_grad()
    scores = discriminator(real)
    made = generator(torch.randn(len(real), 100, 1, 1))
    of_made = discriminator(made.detach())
    (of_logits(scores, torch.ones_like(scores)) + of_logits(of_made, torch.zeros_like(of_made))).backward()
    of_discriminator.step()
    of_generator.zero_grad()
    scores = discriminator(made)
    of_logits(scores, torch.ones_like(scores)).backward()
    of_generator.step()
    if (step + 1) % 100 == 0:
        print(f"step {step + 1} of {steps}", file=sys.stderr, flush=True)

out.mkdir(parents=True)
generator.eval()
with torch.no_grad():
    for start in range(0, count, 64):
        made = generator(torch.randn(min(64, count - start), 100, 1, 1))
        for number, image in enumerate(made):
            pixels = ((image[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
            Image.fromarray(pixels).save(out / f"{start + number:05}.png")
