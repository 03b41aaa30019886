"""Network configuration for weaver: the Particle Transformer of Sophon (arXiv:2405.12972), of any size.

Used by ``weaver --network-config examples/sophon/network.py``. The class token after the last normalisation, 128
numbers by default, is what jettagger calls the hidden neurons; a head of one hidden layer makes the scores of it.
"""

from __future__ import annotations

from typing import Any

import torch
from weaver.nn.model.ParticleTransformer import ParticleTransformer

CLASSES = 188


class Sophon(torch.nn.Module):
    """Scores of the classes; with ``export_embed`` the probabilities and the hidden neurons, side by side."""

    def __init__(
        self,
        *,
        num_classes: int,
        head_dim: int,
        head_dropout: float,
        export_embed: bool,
        for_inference: bool,
        **body: Any,
    ) -> None:
        super().__init__()
        embed_dim = body["embed_dims"][-1]
        self.mod = ParticleTransformer(fc_params=None, for_inference=for_inference, **body)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(embed_dim, head_dim),
            torch.nn.ReLU(),
            torch.nn.Dropout(head_dropout),
            torch.nn.Linear(head_dim, num_classes),
        )
        self.export_embed = export_embed
        self.for_inference = for_inference

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Parameters that are not decayed."""
        return {"mod.cls_token"}

    def forward(self, features: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float[N, features, length], float[N, 4, length], float[N, 1, length] -> float[N, classes (+ embed_dim)]."""
        hidden = self.mod(features, v=vectors, mask=mask.bool())
        output = self.head(hidden)
        if self.for_inference:
            output = torch.softmax(output, dim=1)
        return torch.cat([output, hidden], dim=1) if self.export_embed else output


def get_model(data_config: Any, **options: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    """What weaver asks for; options come from ``-o NAME VALUE``. The defaults are the published architecture."""
    settings = {
        "input_dim": len(data_config.input_dicts["pf_features"]),
        "num_classes": CLASSES,
        "head_dim": 512,
        "head_dropout": 0.1,
        "export_embed": False,
        "pair_input_dim": 4,
        "use_pre_activation_pair": True,
        "embed_dims": [128, 512, 128],
        "pair_embed_dims": [64, 64, 64],
        "num_heads": 8,
        "num_layers": 8,
        "num_cls_layers": 2,
        "block_params": None,
        "cls_block_params": {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0},
        "activation": "gelu",
        "trim": True,
        "for_inference": False,
    } | options
    names = list(data_config.input_names)
    info = {
        "input_names": names,
        "input_shapes": {name: (1, *shape[1:]) for name, shape in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {name: {0: "N", 2: "n_pf"} for name in names} | {"softmax": {0: "N"}},
    }
    return Sophon(**settings), info


def get_loss(data_config: Any, **options: Any) -> torch.nn.Module:
    """Cross entropy over the classes."""
    return torch.nn.CrossEntropyLoss()
