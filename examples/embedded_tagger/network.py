"""A small Particle Transformer with the interface of GloParT V1.

Candidates and vertices are embedded, attend to each other with a bias from pair features (H. Qu, C. Li, S. Qian,
arXiv:2202.03772), and are summarised by a class token. Of the 128 hidden neurons, 112 describe the jet and 16 are
masses: the network weighs the candidates (a learned grooming), takes invariant masses of the weighted sums and scales
them. One linear layer makes logits and the mass in GeV of all 128, so both can be recomputed from stored neurons.

No batch norm: with padding and batches by length its running statistics come out wrong. The inputs are standardised
with the constants of the input description. No atan2: the legacy ONNX exporter makes NaN of it for padded slots;
distances in azimuth are chords between unit vectors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["N_CLASSES", "N_HIDDEN", "JetTransformer"]

N_CLASSES = 37
N_HIDDEN = 128
N_MASSES = 16

#: GeV; brings masses to the order of one inside the network
MASS_SCALE = 100.0


class PairBias(nn.Module):
    """ln kT, ln z, ln dR, ln m2 of each pair of candidates -> one attention bias a head."""

    def __init__(self, heads: int, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.Linear(width, heads))
        # rough means and widths of the four features in boosted jets
        self.register_buffer("center", torch.tensor([-0.5, -2.0, -1.5, -1.0]))
        self.register_buffer("width", torch.tensor([2.0, 1.3, 1.0, 3.0]))

    def forward(self, pt: Tensor, eta: Tensor, ux: Tensor, uy: Tensor) -> Tensor:
        def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
            return x.unsqueeze(2), x.unsqueeze(1)

        pt_i, pt_j = pairs(pt)
        (eta_i, eta_j), (ux_i, ux_j), (uy_i, uy_j) = pairs(eta), pairs(ux), pairs(uy)
        d_eta = eta_i - eta_j
        chord2 = (ux_i - ux_j) ** 2 + (uy_i - uy_j) ** 2
        dr2 = d_eta**2 + chord2 + 1e-8
        smaller = torch.minimum(pt_i, pt_j)
        root = torch.exp(d_eta.clamp(-6, 6) / 2)
        half = (root - 1 / root) / 2  # sinh, which the exporter lacks
        m2 = 2 * pt_i * pt_j * (2 * half**2 + chord2 / 2) + 1e-8
        ln_dr = 0.5 * torch.log(dr2)
        features = torch.stack(
            [torch.log(smaller) + ln_dr, torch.log(smaller / (pt_i + pt_j)), ln_dr, torch.log(m2)], dim=-1
        )
        return self.layers(((features - self.center) / self.width).clamp(-5, 5)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head attention; spelled out, so that the exported graph is plain."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor) -> Tensor:
        n, _, width = x.shape
        size = width // self.heads
        query = self.query(x).reshape(n, -1, self.heads, size).transpose(1, 2)
        key, value = self.key_value(source).chunk(2, dim=-1)
        key = key.reshape(n, -1, self.heads, size).permute(0, 2, 3, 1)
        value = value.reshape(n, -1, self.heads, size).transpose(1, 2)
        weights = torch.softmax(torch.matmul(query, key) / math.sqrt(size) + bias, dim=-1)
        return self.out(torch.matmul(weights, value).transpose(1, 2).reshape(n, -1, width))


class Block(nn.Module):
    """Pre-norm transformer block; a class token attends to itself and the rest."""

    def __init__(self, width: int, heads: int, dropout: float, expansion: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
        )

    def forward(self, x: Tensor, bias: Tensor, token: Tensor | None = None) -> Tensor:
        if token is None:
            normed = self.norm(x)
            x = x + self.attention(normed, normed, bias)
            return x + self.feed(x)
        source = self.norm(torch.cat([token, x], dim=1))
        token = token + self.attention(source[:, :1], source, bias)
        return token + self.feed(token)


class JetTransformer(nn.Module):
    """The whole network.

    Parameters
    ----------
    n_pf, n_sv : int
        Variables of candidates and vertices.
    width, heads, blocks, class_blocks : int
    dropout : float
    """

    def __init__(
        self,
        n_pf: int = 25,
        n_sv: int = 11,
        width: int = 64,
        heads: int = 4,
        blocks: int = 3,
        class_blocks: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()

        def embedding(n_in: int) -> nn.Module:
            return nn.Sequential(nn.Linear(n_in, width), nn.GELU(), nn.Linear(width, width))

        self.embed_pf, self.embed_sv = embedding(n_pf), embedding(n_sv)
        self.pair_bias = PairBias(heads)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(blocks)])
        self.class_blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(class_blocks)])
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.norm = nn.LayerNorm(width)
        self.describe = nn.Sequential(nn.Linear(width, N_HIDDEN - N_MASSES), nn.GELU())
        self.groom = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, N_MASSES))
        self.scale = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, N_MASSES))
        self.head = nn.Linear(N_HIDDEN, N_CLASSES + 1)
        with torch.no_grad():
            self.groom[1].bias.fill_(2.0)  # start from nearly all candidates
            self.scale[-1].bias.fill_(1.0)
            self.head.weight[-1].zero_()
            self.head.weight[-1, -N_MASSES:] = MASS_SCALE / N_MASSES  # start from the mean of the weighed masses
            self.head.bias[-1].zero_()

    def hidden(self, pf: Tensor, pf_p4: Tensor, pf_mask: Tensor, sv: Tensor, sv_p4: Tensor, sv_mask: Tensor) -> Tensor:
        """The 128 hidden neurons, float32[jets, 128]; inputs as in the exported file."""
        n_pf = pf.shape[2]
        mask = torch.cat([pf_mask, sv_mask], dim=2)
        p4 = torch.cat([pf_p4, sv_p4], dim=2)
        px, py, pz, _ = p4.float().unbind(dim=1)
        real = mask[:, 0] > 0.5
        px = torch.where(real, px, torch.ones_like(px))
        py = torch.where(real, py, torch.zeros_like(py))
        pz = torch.where(real, pz, torch.zeros_like(pz))
        pt = torch.sqrt(px**2 + py**2 + 1e-8)
        eta = torch.log((pz.abs() + torch.sqrt(pt**2 + pz**2)) / pt) * torch.sign(pz)
        blocked = (~real).to(px.dtype) * -1e4
        bias = self.pair_bias(pt, eta, px / pt, py / pt) + blocked[:, None, None, :]
        x = torch.cat([self.embed_pf(pf.transpose(1, 2)), self.embed_sv(sv.transpose(1, 2))], dim=1)
        x = x * real.unsqueeze(-1)
        for block in self.blocks:
            x = block(x, bias)
        token = self.token.expand(x.shape[0], -1, -1)
        seen = torch.nn.functional.pad(blocked, (1, 0))[:, None, None, :]  # itself, so a jet without objects is defined
        for block in self.class_blocks:
            token = block(x, seen, token)
        summary = self.norm(token[:, 0])
        weights = torch.sigmoid(self.groom(x[:, :n_pf]).float()) * pf_mask.transpose(1, 2)
        masses = weighed_masses(weights, pf_p4.float())
        scaled = self.scale(summary).float() * masses / MASS_SCALE
        return torch.cat([self.describe(summary).float(), scaled], dim=1)

    def forward(
        self, pf: Tensor, pf_p4: Tensor, pf_mask: Tensor, sv: Tensor, sv_p4: Tensor, sv_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [jets, 37], mass in GeV [jets], hidden neurons [jets, 128]."""
        hidden = self.hidden(pf, pf_p4, pf_mask, sv, sv_p4, sv_mask)
        both = torch.nn.functional.linear(hidden, self.head.weight.float(), self.head.bias.float())
        return both[:, :N_CLASSES], both[:, N_CLASSES], hidden


def weighed_masses(weights: Tensor, p4: Tensor) -> Tensor:
    """Invariant masses in GeV of the weighed sums of candidates.

    Parameters
    ----------
    weights : float[jets, candidates, k]
    p4 : float[jets, 4, candidates]
        px, py, pz, energy in GeV.

    Returns
    -------
    float[jets, k]
    """
    # in double precision: the mass is a small difference of large numbers
    total = torch.matmul(p4.double(), weights.double())
    px, py, pz, energy = total.unbind(dim=1)
    m2 = energy**2 - px**2 - py**2 - pz**2
    return torch.sqrt(m2.clamp(min=1e-2)).float()
