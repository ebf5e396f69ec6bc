"""Tensors for rotary calls, small and reproducible."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rope_compat.rotary import reference


@dataclass(frozen=True)
class Sample:
    """One batch: q and k as (b, h, s, d), tables [N, d], the positions and the rows that they pick."""

    q: Tensor
    k: Tensor
    cos_table: Tensor
    sin_table: Tensor
    position_ids: Tensor

    @property
    def cos(self) -> Tensor:
        return self.cos_table[self.position_ids]

    @property
    def sin(self) -> Tensor:
        return self.sin_table[self.position_ids]

    def in_layout(self, unsqueeze_dim: int) -> tuple[Tensor, Tensor]:
        """q and k as the axis asks: (b, h, s, d) for 1, (b, s, h, d) for 2."""
        if unsqueeze_dim == 1:
            return self.q, self.k
        return self.q.transpose(1, 2), self.k.transpose(1, 2)


def sample(
    dtype: torch.dtype = torch.float32,
    *,
    batch: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    length: int = 5,
    head_dim: int = 16,
    rows: int = 32,
    width: int | None = None,
    seed: int = 0,
) -> Sample:
    """A batch whose positions are neither 0..n-1 nor equal in all rows, so that ignoring them shows."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(batch, heads, length, head_dim, generator=generator).to(dtype)
    k = torch.randn(batch, kv_heads, length, head_dim, generator=generator).to(dtype)
    cos, sin = reference.cos_sin(rows, head_dim)
    width = head_dim if width is None else width
    positions = torch.stack([torch.randperm(rows, generator=generator)[:length] for _ in range(batch)])
    return Sample(q, k, cos[:, :width].to(dtype), sin[:, :width].to(dtype), positions)
