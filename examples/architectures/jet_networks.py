"""Networks on images, sequences, sets and columns of jets, all with the same head and about the same size.

Padding never matters: the first variable of an object is its mask, and each network uses real objects alone, so jets
may have any number of them, also none. Inputs are as in the declaration (`inputs.py`), in their own units;
standardisation is part of the network.

- images: convolutions as in ImageTop (S. Macaluso, D. Shih, arXiv:1803.00107)
- sequences: a one-dimensional convolution for each of two streams, particles and vertices, as in DeepAK8 (CMS,
  arXiv:2004.08262), or a GRU in its place; for b tagging an LSTM on tracks (RNNIP, ATL-PHYS-PUB-2017-003)
- sets: deep sets (M. Zaheer et al., arXiv:1703.06114; P. Komiske et al., arXiv:1810.05165), for b tagging on tracks
  (DIPS, ATL-PHYS-PUB-2020-014)
- columns: a dense network on substructure
- the embedded transformer of `examples/embedded_tagger`
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from examples.architectures.inputs import COLUMNS, PARTICLES, TRACKS, VERTICES
from examples.embedded_tagger.network import JetTransformer

__all__ = [
    "Columns",
    "Convolution",
    "DeepSet",
    "EmbeddedTransformer",
    "ImageNetwork",
    "OnColumns",
    "Recurrent",
    "Shapes",
    "SparseImages",
    "Standard",
    "TwoStreams",
    "dips",
    "parameters",
    "perceptron",
    "rnnip",
]

#: rough means and widths of variables; others are of order one
SCALES: Mapping[str, tuple[float, float]] = {
    "pt_log_nopuppi": (1.0, 1.5),
    "ptrel_log": (-5.0, 1.5),
    "etarel": (0.0, 0.3),
    "phirel": (0.0, 0.3),
    "deltaR": (0.25, 0.2),
    "pt_log": (3.5, 1.0),
    "mass": (2.0, 1.5),
    "ntracks": (3.0, 1.5),
}


def perceptron(*widths: int) -> nn.Sequential:
    """Dense layers with ReLU between them, and none after the last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def parameters(network: nn.Module) -> int:
    """Number of weights that are trained."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


class Standard(nn.Module):
    """Variables of order one: shifted and scaled, significances as ``sign(x) ln(1 + |x|)``.

    Parameters
    ----------
    names : sequence of str
        Variables of the objects; the first is the mask.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        short = [name.partition("_")[2] for name in names]
        numbers = torch.tensor([SCALES.get(name, (0.0, 1.0)) for name in short])
        self.register_buffer("centre", numbers[:, :1].clone())
        self.register_buffer("width", numbers[:, 1:].clone())
        flags = torch.tensor([[float(name.lower().endswith("sig"))] for name in short])
        self.register_buffer("significance", flags)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Variables float[jets, variables, objects], 0 where there is no object, and the mask float[jets, 1, objects].

        There is always one slot without an object at the end, so that no axis is empty.
        """
        values = nn.functional.pad(values, (0, 1))
        mask = (values[:, :1] > 0.5).to(values.dtype)
        squashed = torch.sign(values) * torch.log1p(torch.abs(values))
        scaled = (values - self.centre) / self.width
        return torch.where(self.significance > 0.5, squashed, scaled) * mask, mask


class DeepSet(nn.Module):
    """One network for each object, and the sum over the objects: no order.

    Parameters
    ----------
    names : sequence of str
    widths : sequence of int
        Of the layers; the last is that of the sums.
    scale : float
        Typical number of objects; divides the sums.
    """

    def __init__(self, names: Sequence[str], widths: Sequence[int] = (64, 64, 64), scale: float = 20.0) -> None:
        super().__init__()
        self.standard, self.scale, self.outputs = Standard(names), scale, widths[-1]
        self.each = nn.Sequential(perceptron(len(names), *widths), nn.ReLU())

    def forward(self, values: Tensor) -> Tensor:
        """Summary of the objects, float[jets, outputs]."""
        x, mask = self.standard(values)
        return (self.each(x.transpose(1, 2)) * mask.transpose(1, 2)).sum(dim=1) / self.scale


class Recurrent(nn.Module):
    """A GRU or LSTM that reads the objects in their order; the summary is its state after the last one.

    Parameters
    ----------
    names : sequence of str
    width : int
    kind : str
        ``gru`` or ``lstm``.
    """

    def __init__(self, names: Sequence[str], width: int = 64, kind: str = "gru") -> None:
        super().__init__()
        self.standard, self.outputs = Standard(names), width
        self.cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](len(names), width, batch_first=True)

    def forward(self, values: Tensor) -> Tensor:
        """Summary of the objects, float[jets, outputs]."""
        x, mask = self.standard(values)
        states, _ = self.cell(x.transpose(1, 2))
        # objects come first, padding last: the mask falls once, after the last object
        last = mask - nn.functional.pad(mask, (0, 1))[:, :, 1:]
        return (states * last.transpose(1, 2)).sum(dim=1)


class Convolution(nn.Module):
    """One-dimensional convolutions along the order of the objects, with short cuts; mean and maximum at the end.

    Parameters
    ----------
    names : sequence of str
    width, blocks : int
    kernel : int
        Number of neighbours that a convolution sees, odd.
    scale : float
        Typical number of objects; divides the sums.
    """

    def __init__(
        self, names: Sequence[str], width: int = 48, blocks: int = 3, kernel: int = 3, scale: float = 20.0
    ) -> None:
        super().__init__()
        self.standard, self.scale, self.outputs = Standard(names), scale, 2 * width
        self.first = nn.Conv1d(len(names), width, 1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in range(2)) for _ in range(blocks)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Summary of the objects, float[jets, outputs]."""
        x, mask = self.standard(values)
        x = torch.relu(self.first(x)) * mask
        for one, two in self.blocks:
            inner = torch.relu(one(x)) * mask
            x = torch.relu(x + two(inner)) * mask
        # values are not negative: padding never is the maximum
        return torch.cat([x.sum(dim=2) / self.scale, x.amax(dim=2)], dim=1)


class TwoStreams(nn.Module):
    """Particles and vertices summarised each on their own, and a dense network on both.

    Parameters
    ----------
    particles, vertices : nn.Module
        With the attribute ``outputs``.
    classes : int
    """

    def __init__(self, particles: nn.Module, vertices: nn.Module, classes: int) -> None:
        super().__init__()
        self.particles, self.vertices = particles, vertices
        self.head = perceptron(particles.outputs + vertices.outputs, 64, 64, classes)

    def forward(self, particles: Tensor, vertices: Tensor) -> Tensor:
        """Logits, float[jets, classes]; inputs float[jets, variables, objects]."""
        return self.head(torch.cat([self.particles(particles), self.vertices(vertices)], dim=1))


class OneStream(nn.Module):
    """Objects of one kind, and a dense network."""

    def __init__(self, objects: nn.Module, widths: Sequence[int]) -> None:
        super().__init__()
        self.objects, self.head = objects, perceptron(objects.outputs, *widths)

    def forward(self, objects: Tensor) -> Tensor:
        """Logits, float[jets, classes]."""
        return self.head(self.objects(objects))


def rnnip(classes: int = 3, width: int = 56) -> nn.Module:
    """An LSTM on the tracks of a jet."""
    return OneStream(Recurrent(TRACKS, width, "lstm"), (64, 64, classes))


def dips(classes: int = 3) -> nn.Module:
    """A deep set on the tracks of a jet, with as many parameters."""
    return OneStream(DeepSet(TRACKS, (84, 84, 68), scale=5.0), (64, 64, classes))


class ImageNetwork(nn.Module):
    """Convolutions on an image of any size: as many weights for each.

    Parameters
    ----------
    channels : int
    classes : int
    widths : sequence of int
        Of three steps, each with two convolutions and, but for the last, a maximum over 2 x 2 pixels.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for step, width in enumerate(widths):
            for source in (before, width):
                layers += [nn.Conv2d(source, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            if step < len(widths) - 1:
                layers.append(nn.MaxPool2d(2))
            before = width
        self.layers = nn.Sequential(*layers)
        self.head = perceptron(2 * widths[-1], 64, 64, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float[jets, classes]; the image is float[jets, channels, rows, columns], not negative."""
        # pixels differ by orders of magnitude
        x = self.layers(torch.sqrt(image.clamp(min=0.0)))
        return self.head(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))


class SparseImages(nn.Module):
    """An image network with filled pixels as input: dense images exist on the device of the training alone.

    Parameters
    ----------
    network : nn.Module
    shape : sequence of int
        Channels, rows and columns.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        # convolutions of a CPU are 1.4 to 1.7 times as fast with channels last
        self.network, self.shape = network.to(memory_format=torch.channels_last), tuple(shape)

    def forward(self, filled: Tensor) -> Tensor:
        """Logits; ``filled`` is float[jets, 2, pixels]: number of a pixel, from 0, and what it holds."""
        number, content = filled[:, 0].long(), filled[:, 1]
        size = self.shape[0] * self.shape[1] * self.shape[2]
        image = torch.zeros(len(filled), size, dtype=content.dtype, device=content.device)
        dense = image.scatter_add(1, number, content).reshape(-1, *self.shape)
        return self.network(dense.contiguous(memory_format=torch.channels_last))


class Columns(nn.Module):
    """Substructure of fat jets from their columns: logarithms and ratios, float[jets, 8]."""

    names = ("ln pt", "mass/pt", "soft-drop mass", "soft-drop mass/mass", "tau2/tau1", "tau3/tau2", "tau4/tau3", "n")
    #: rough means and widths
    scales = ((6.2, 0.3), (0.25, 0.1), (0.9, 0.5), (0.7, 0.3), (0.5, 0.2), (0.6, 0.2), (0.75, 0.15), (1.0, 0.4))

    def forward(self, columns: Tensor) -> Tensor:
        """From the columns of `inputs.COLUMNS`, as they are in files."""
        value = {name: columns[:, place].clamp(min=1e-6) for place, name in enumerate(COLUMNS)}
        ratios = [value[f"tau{number + 1}"] / value[f"tau{number}"] for number in (1, 2, 3)]
        return torch.stack(
            [
                torch.log(value["pt"]),
                value["mass"] / value["pt"],
                value["msoftdrop"] / 100.0,
                value["msoftdrop"] / value["mass"],
                *(ratio.clamp(max=2.0) for ratio in ratios),
                value["nConstituents"] / 50.0,
            ],
            dim=1,
        )


class Shapes(nn.Module):
    """Substructure of AK4 jets from their constituents, float[jets, 8], as in studies of quarks and gluons.

    Multiplicity, that of tracks, sqrt(sum pt^2) / sum pt, width, share of the leading constituent, two-point energy
    correlation with beta = 0.2, mass over pt, and share of the pt in tracks (CMS-PAS-JME-13-002; A. Larkoski,
    G. Salam, J. Thaler, arXiv:1305.0007).
    """

    names = ("n", "n tracks", "ptD", "width", "leading share", "C1(0.2)", "mass/pt", "share of tracks")
    #: rough means and widths
    scales = ((1.1, 0.4), (1.0, 0.5), (0.35, 0.12), (0.7, 0.5), (0.25, 0.15), (0.25, 0.06), (0.6, 0.3), (0.6, 0.15))

    def forward(self, particles: Tensor) -> Tensor:
        """From the variables of `inputs.PARTICLES`."""
        particles = nn.functional.pad(particles, (0, 1))
        place = {name.partition("_")[2]: index for index, name in enumerate(PARTICLES)}
        mask = (particles[:, place["mask"]] > 0.5).to(particles.dtype)
        pt = torch.exp(particles[:, place["pt_log_nopuppi"]]) * mask
        total = pt.sum(dim=1).clamp(min=1e-6)
        share = pt / total[:, None]
        eta, phi = particles[:, place["etarel"]], particles[:, place["phirel"]]
        charged = (torch.abs(particles[:, place["charge"]]) > 0.5).to(pt.dtype) * mask
        squared = (eta[:, :, None] - eta[:, None, :]) ** 2 + (phi[:, :, None] - phi[:, None, :]) ** 2
        pairs = share[:, :, None] * share[:, None, :]
        # pairs of a constituent with itself are none
        itself = (share**2).sum(dim=1)
        correlation = ((pairs * torch.pow(squared + 1e-12, 0.1)).sum(dim=(1, 2)) - 1e-12**0.1 * itself) / 2
        return torch.stack(
            [
                mask.sum(dim=1) / 30.0,
                charged.sum(dim=1) / 20.0,
                torch.sqrt(itself),
                (share * particles[:, place["deltaR"]]).sum(dim=1) / 0.1,
                share.amax(dim=1),
                correlation,
                torch.sqrt((pairs * squared).sum(dim=(1, 2)) / 2 + 1e-12) / 0.2,
                (share * charged).sum(dim=1),
            ],
            dim=1,
        )


class OnColumns(nn.Module):
    """A dense network on the shapes of a jet.

    Parameters
    ----------
    shapes : nn.Module
        `Columns` or `Shapes`.
    classes : int
    width : int
    """

    def __init__(self, shapes: nn.Module, classes: int, width: int = 96) -> None:
        super().__init__()
        self.shapes = shapes
        numbers = torch.tensor(shapes.scales)
        self.register_buffer("centre", numbers[:, 0].clone())
        self.register_buffer("width", numbers[:, 1].clone())
        self.layers = perceptron(len(shapes.names), width, width, width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, float[jets, classes]."""
        return self.layers((self.shapes(inputs) - self.centre) / self.width)


class EmbeddedTransformer(nn.Module):
    """The embedded transformer on the variables of the other networks; momenta are those relative to the jet axis.

    Parameters
    ----------
    classes : int
    settings : int
        Those of `JetTransformer`: ``width``, ``heads``, ``blocks``, ``class_blocks``.
    """

    def __init__(self, classes: int, **settings: int) -> None:
        super().__init__()
        self.particles, self.vertices = Standard(PARTICLES), Standard(VERTICES)
        self.body = JetTransformer(n_pf=len(PARTICLES), n_sv=len(VERTICES), **settings)
        self.head = nn.Linear(self.body.head.in_features, classes)
        self.body.head = nn.Identity()

    def forward(self, particles: Tensor, vertices: Tensor) -> Tensor:
        """Logits, float[jets, classes]; inputs float[jets, variables, objects]."""
        streams = []
        for values, names, standard in (
            (particles, PARTICLES, self.particles),
            (vertices, VERTICES, self.vertices),
        ):
            scaled, mask = standard(values)
            streams += [scaled, momenta(values, names) * mask, mask]
        return self.head(self.body.hidden(*streams))


def momenta(values: Tensor, names: Sequence[str]) -> Tensor:
    """Massless momenta (px, py, pz, E) in GeV relative to the jet axis, float[jets, 4, objects + 1]."""
    values = nn.functional.pad(values, (0, 1))
    place = {name.partition("_")[2]: index for index, name in enumerate(names)}
    pt = torch.exp(values[:, place.get("pt_log_nopuppi", place.get("pt_log", 0))])
    eta, phi = values[:, place["etarel"]].clamp(-4, 4), values[:, place["phirel"]]
    up = torch.exp(eta)
    return torch.stack(
        [pt * torch.cos(phi), pt * torch.sin(phi), pt * (up - 1 / up) / 2, pt * (up + 1 / up) / 2], dim=1
    )
