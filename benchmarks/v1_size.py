"""A network of the size of GloParT V1 with random weights, written as its authors' framework exports such networks.

    python -m benchmarks.v1_size FOLDER     # needs torch (extra train) and onnx

Embeddings of 128, 512 and 128 neurons, three layers of 64 for pairs, 8 blocks and 2 class blocks with 8 heads
(H. Qu, C. Li, S. Qian, arXiv:2202.03772), the inputs and the 166 outputs of V1. The scores mean nothing, the time is
real.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from jettagger.bundles.places import PACKAGE

WIDTH, HEADS, BLOCKS, CLASS_BLOCKS = 128, 8, 8, 2
CLASSES, HIDDEN = 37, 128
INPUTS = ("pf_features", "pf_vectors", "pf_mask", "sv_features", "sv_vectors", "sv_mask")


def azimuth(py: Tensor, px: Tensor) -> Tensor:
    """The angle of a momentum; spelled out, as the exporter's atan2 gives NaN for padding."""
    angle = torch.atan(py / (px + (px == 0).float()))
    return angle + (px < 0).float() * torch.pi * (1 - 2 * (py < 0).float())


class Pairs(nn.Module):
    """ln kT, ln z, ln dR, ln m2 of each pair -> a bias for each head."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(4)]
        for before, after in ((4, 64), (64, 64), (64, 64), (64, HEADS)):
            layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, p4: Tensor) -> Tensor:
        """From [jets, 4, particles] to [jets, heads, particles, particles]."""
        px, py, pz, energy = (x.unsqueeze(-1) for x in p4.split(1, dim=1))
        pt = torch.sqrt(px * px + py * py)
        rapidity = 0.5 * torch.log(1 + 2 * pz / (energy - pz).clamp(min=1e-20))
        phi = azimuth(py, px)
        other = [x.transpose(2, 3) for x in (pt, rapidity, phi, px, py, pz, energy)]
        dphi = torch.remainder(phi - other[2] + torch.pi, 2 * torch.pi) - torch.pi
        delta = torch.sqrt((rapidity - other[1]) ** 2 + dphi**2)
        smaller = torch.minimum(pt, other[0])
        mass2 = (energy + other[6]) ** 2 - (px + other[3]) ** 2 - (py + other[4]) ** 2 - (pz + other[5]) ** 2
        ratio = smaller / (pt + other[0]).clamp(min=1e-8)
        features = [torch.log(x.clamp(min=1e-8)) for x in (smaller * delta, ratio, delta, mass2)]
        stacked = torch.cat(features, dim=1)
        jets, particles = p4.shape[0], p4.shape[2]
        return self.layers(stacked.reshape(jets, 4, -1)).reshape(jets, HEADS, particles, particles)


class Block(nn.Module):
    """A block with norms before and after, and factors for heads and residual."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.heads = nn.Parameter(torch.rand(HEADS) + 0.5)
        self.feed_before, self.feed_after = nn.LayerNorm(WIDTH), nn.LayerNorm(4 * WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.residual = nn.Parameter(torch.rand(WIDTH) + 0.5)

    def forward(self, x: Tensor, bias: Tensor, token: Tensor | None = None) -> Tensor:
        """From [particles, jets, width] to the same, or to the token's shape."""
        source = self.before(x if token is None else torch.cat([token, x], dim=0))
        query, key, value = self.project(source).chunk(3, dim=-1)
        if token is not None:
            query, x = query[:1], token
        size = WIDTH // HEADS
        query, key, value = (y.reshape(y.shape[0], -1, size).transpose(0, 1) for y in (query, key, value))
        weights = torch.softmax(torch.bmm(query / size**0.5, key.transpose(1, 2)) + bias, dim=-1)
        attended = self.out(torch.bmm(weights, value).transpose(0, 1).reshape(x.shape))
        split = attended.reshape(x.shape[0], x.shape[1], HEADS, size)
        x = x + self.after((split * self.heads.reshape(HEADS, 1)).reshape(x.shape))
        up = nn.functional.gelu(self.up(self.feed_before(x)))
        return self.down(self.feed_after(up)) + self.residual * x


class Embedding(nn.Module):
    """Features of each object -> neurons."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.standard = nn.BatchNorm1d(n_in)
        layers: list[nn.Module] = []
        for before, after in ((n_in, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """From [jets, features, objects] to [objects, jets, width]."""
        return self.layers(self.standard(x).permute(2, 0, 1))


class Network(nn.Module):
    """All of it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_pf, self.embed_sv = Embedding(25), Embedding(11)
        self.pairs = Pairs()
        self.blocks = nn.ModuleList([Block() for _ in range(BLOCKS)])
        self.class_blocks = nn.ModuleList([Block() for _ in range(CLASS_BLOCKS)])
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.hidden = nn.Linear(WIDTH, HIDDEN)
        self.head = nn.Linear(HIDDEN, CLASSES + 1)

    def forward(self, pf: Tensor, pf_p4: Tensor, pf_mask: Tensor, sv: Tensor, sv_p4: Tensor, sv_mask: Tensor) -> Tensor:
        """From V1's inputs to its 166 columns."""
        mask = torch.cat([pf_mask, sv_mask], dim=2)
        jets = mask.shape[0]
        x = torch.cat([self.embed_pf(pf), self.embed_sv(sv)], dim=0) * mask.permute(2, 0, 1)
        hide = (mask - 1) * 1e9
        bias = self.pairs(torch.cat([pf_p4, sv_p4], dim=2)) + hide.unsqueeze(1)
        bias = bias.reshape(jets * HEADS, bias.shape[2], bias.shape[3])
        for block in self.blocks:
            x = block(x, bias)
        hide = torch.cat([torch.zeros_like(hide[:, :, :1]), hide], dim=2).repeat_interleave(HEADS, dim=0)
        token = self.token.expand(1, jets, WIDTH)
        for block in self.class_blocks:
            token = block(x, hide, token)
        hidden = torch.relu(self.hidden(self.norm(token[0])))
        scores = self.head(hidden)
        return torch.cat([torch.softmax(scores[:, :CLASSES], dim=1), scores[:, CLASSES:], hidden], dim=1)


def example(n_pf: int, n_sv: int) -> tuple[Tensor, ...]:
    """Inputs of three jets."""
    inputs = []
    for features, length in ((25, n_pf), (11, n_sv)):
        momentum = torch.randn(3, 3, length)
        energy = momentum.square().sum(dim=1, keepdim=True).sqrt() + 0.1
        inputs += [torch.randn(3, features, length), torch.cat([momentum, energy], dim=1), torch.ones(3, 1, length)]
    return tuple(inputs)


def write(folder: Path) -> None:
    """Write the bundle."""
    torch.manual_seed(1)
    network = Network().eval()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PACKAGE / "models" / "inclParTMDV1" / "preprocess.json", folder)
    axes = {name: {0: "N", 2: "n_" + name[:2]} for name in INPUTS} | {"scores": {0: "N"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            network,
            example(20, 4),
            str(folder / "model.onnx"),
            input_names=list(INPUTS),
            output_names=["scores"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    kinds = {"prob": ["prob*"], "mass": ["mass"], "hidden": ["hidNeuron*"]}
    card = {"schema_version": 1, "name": folder.name, "version": "random weights", "kinds": kinds}
    (folder / "bundle.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{sum(parameter.numel() for parameter in network.parameters())} parameters in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
