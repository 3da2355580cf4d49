"""Records what PyTorch makes of the class-conditional DCGAN discriminator with projection (Miyato and Koyama 2018, arXiv
1802.05637, equation 4): scores, gradients of the hinge loss, and scores with every weight divided by its largest singular
value. Weights and images follow from a formula, so that only the results are kept."""

import json
import math
from pathlib import Path

import torch
from torch import nn

torch.set_num_threads(1)
WIDTH, CLASSES, LEVELS = 4, 3, 4


def waves(shape, number, scale):
    count = math.prod(shape)
    values = [scale * math.sin(0.37 * i + 1.7 * number + 0.001 * i * i) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).to(torch.float32).reshape(shape)


class Discriminator(nn.Module):
    """phi is all but the last layer; psi its last convolution; V the embedding."""

    def __init__(self, batch_norm):
        super().__init__()
        layers, channels = [], 1
        for level in range(LEVELS):
            layers.append(nn.Conv2d(channels, WIDTH << level, 4, 2, 1, bias=False))
            channels = WIDTH << level
            if batch_norm and level > 0:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.LeakyReLU(0.2))
        self.phi = nn.Sequential(*layers)
        self.psi = nn.Conv2d(channels, 1, 4, 1, 0, bias=False)
        self.embed = nn.Embedding(CLASSES, channels)

    def forward(self, image, label):
        features = self.phi(image)
        pooled = features.sum(dim=(2, 3))
        return self.psi(features).flatten(1) + torch.einsum("nc,nc->n", self.embed(label), pooled)[:, None]

    def weights(self):
        convolutions = [layer.weight for layer in self.phi if isinstance(layer, nn.Conv2d)]
        return [*convolutions, self.psi.weight, self.embed.weight]


def network(batch_norm):
    made = Discriminator(batch_norm)
    with torch.no_grad():
        for number, weight in enumerate(made.weights()):
            weight.copy_(waves(weight.shape, number, 0.08))
    return made.train()


image = waves((6, 1, 64, 64), 9, 0.9)
label = torch.tensor([0, 1, 2, 2, 1, 0])

plain = network(batch_norm=True)
scores = plain(image, label)
# The first three are real, the others generated.
loss = torch.relu(1 - scores[:3]).mean() + torch.relu(1 + scores[3:]).mean()
loss.backward()
gradients = [[float(w.grad.sum()), float(w.grad.norm())] for w in plain.weights()]

bounded = network(batch_norm=False)
with torch.no_grad():
    for weight in bounded.weights():
        weight /= torch.linalg.matrix_norm(weight.flatten(1), 2)
    bounded_scores = bounded(image, label)

Path(__file__).with_name("expected.json").write_text(
    json.dumps(
        {
            "scores": scores.detach().flatten().tolist(),
            "gradients": gradients,
            "embedding_gradient": plain.embed.weight.grad.tolist(),
            "bounded_scores": bounded_scores.flatten().tolist(),
            "parameters": sum(w.numel() for w in plain.parameters()),
        },
        indent=1,
    )
    + "\n"
)
