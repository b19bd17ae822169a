"""Layers of torch; this file is imported only where a module is made.

Its classes need torch as it is opened, and TorchScript needs them at the top of a file. So it alone
imports torch up here, and ``tests/test_layers.py`` has it imported inside functions only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from posthoc_align.export.chain import AffineStep, Chain


class UnitRows(nn.Module):
    """Scale rows to unit norm."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scale rows; a zero row stays zero."""
        return nn.functional.normalize(rows, dim=-1)


def layers(chain: Chain) -> nn.Sequential:
    """The steps of a chain as layers of float32."""
    return nn.Sequential(
        *(_linear(step) if isinstance(step, AffineStep) else UnitRows() for step in chain.steps)
    )


def _linear(step: AffineStep) -> nn.Linear:
    made = nn.Linear(step.matrix.shape[0], step.matrix.shape[1])
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(step.matrix.T.copy()))
        made.bias.copy_(torch.from_numpy(step.offset))
    return made.requires_grad_(False)


class LanguageRouter(nn.Module):
    """The layers of each language for its own rows.

    Parameters
    ----------
    chains : list of Chain
    languages : list of str or int
        Whose chains they are; a code is a position here.
    """

    def __init__(self, chains: list[Chain], languages: list[Any]) -> None:
        super().__init__()
        self.languages = languages
        self.width = chains[0].n_features_out
        self.routes = nn.ModuleList(layers(chain) for chain in chains)

    def forward(self, rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Map each row by the layers of its code."""
        out = rows.new_full([rows.shape[0], self.width], torch.nan)
        for code, route in enumerate(self.routes):
            at = torch.nonzero(codes == code).flatten()
            out[at] = route(rows[at])
        return out
