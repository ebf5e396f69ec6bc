"""x-transformers as installed, what its releases take, and its rotary embedding in float64."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from types import ModuleType
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor

__all__ = ["EXPECTED", "HERE", "HOME", "NATIVE", "angles", "between", "home", "present", "rotate", "scales"]

HOME = "x_transformers.x_transformers"
EXPECTED = os.environ.get("ROPE_COMPAT_EXPECT_X_TRANSFORMERS", "")

try:
    HERE = Version(importlib.metadata.version("x-transformers"))
except importlib.metadata.PackageNotFoundError:
    HERE = Version("0")

present = pytest.mark.only(bool(HERE.major), reason="the environments called xt have x-transformers")


def between(first: str, last: str | None = None) -> bool:
    """Whether the installed release is one of these."""
    return Version(first) <= HERE and (last is None or Version(last) >= HERE)


def _native() -> str:
    """The parameters of ``forward`` in the installed release, as read in the sources."""
    history = {
        "2.3.20": "(t, offset)",
        "1.26.0": "(t)",
        "1.25.4": "(seq_arange_or_len)",
        "1.22.15": "(seq_len)",
        "1.22.8": "(seq_len, offset)",
    }
    return next((form for first, form in history.items() if between(first)), "(seq_len, device)")


NATIVE = _native()
#: From 1.42.21 on positions may be [b, n], and [n] gives freqs [1, n, d].
BATCHED = between("1.42.21")


def home() -> ModuleType:
    """The module that has all of it."""
    return importlib.import_module(HOME)


def native_call(rotary: Any, length: int = 6) -> Any:
    """All positions below a length, in the installed release's own form."""
    if NATIVE == "(seq_len, device)":
        return rotary(length, torch.device("cpu"))
    return rotary(torch.arange(length)) if NATIVE.startswith("(t") else rotary(length)


def angles(positions: Tensor, dim: int) -> Tensor:
    """The angle of each channel, float64 ``[..., dim]``: halves to 1.30.0, neighbours from 1.30.1 on."""
    pair = [i // 2 for i in range(dim)] if between("1.30.1") else [i % (dim // 2) for i in range(dim)]
    rates = torch.tensor([10000.0 ** (-2 * i / dim) for i in pair], dtype=torch.float64)
    return positions.double()[..., None] * rates


def scales(positions: Tensor, dim: int, base: int = 512) -> Tensor:
    """The factor of xPos for queries, float64 ``[..., dim]``."""
    pair = [i // 2 for i in range(dim)] if between("1.30.1") else [i % (dim // 2) for i in range(dim)]
    zeta = torch.tensor([(2 * i + 0.4 * dim) / (1.4 * dim) for i in pair], dtype=torch.float64)
    power = (positions.double() - (int(positions.max()) + 1) // 2) / base
    return zeta ** power[..., None]


def rotate(x: Tensor, freqs: Tensor) -> Tensor:
    """x turned by the angles of `freqs`, float64, pair by pair with complex numbers."""
    width = freqs.shape[-1]
    if between("1.30.1"):
        first, second = list(range(0, width, 2)), list(range(1, width, 2))
    else:
        first, second = list(range(width // 2)), list(range(width // 2, width))
    x, turn = x.double(), torch.polar(torch.ones_like(freqs[..., first].double()), freqs[..., first].double())
    turned = torch.complex(x[..., first], x[..., second]) * turn
    result = x.clone()
    result[..., first], result[..., second] = turned.real, turned.imag
    return result
