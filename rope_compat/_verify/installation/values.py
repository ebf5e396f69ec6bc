"""Rotary functions that do not rotate: factors, tables, matrices; and V-JEPA 2's, with angles of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..._facts.conventions import Convention
from ..tolerances import ROTATION, cosine_error, gamma
from .cases import BATCH, HEADS, LENGTH, WIDTH, Case, Tensors, angles, draw, turned
from .judge import Finding, Judge, Verdict

__all__ = ["VALUES"]

Function = Callable[..., Any]
THETA = 10000.0


def _compared(found: Tensor, exact: Tensor, limits: Tensor, words: str) -> Verdict:
    if found.shape != exact.shape:
        return Verdict(
            finding=Finding(
                "shape", f"the result has shape {tuple(found.shape)}, expected {tuple(exact.shape)}"
            )
        )
    error = (found.double() - exact).abs().nan_to_num(nan=math.inf)
    excess = torch.where(error == 0, 0.0, error / limits)
    at = excess.argmax()
    largest, limit = float(error.flatten()[at]), float(limits.expand(error.shape).flatten()[at])
    if float(excess.max()) <= 1:
        return Verdict(largest, limit)
    position = int(at) // error.shape[-1] if error.dim() > 1 else None
    return Verdict(finding=Finding("numbers", words, largest, limit, position))


def sinusoids(function: Function, judge: Judge) -> Verdict:
    """``create_sinusoidal_positions(rows, dim)``: sines, then cosines; in float32 inside."""
    length = 512
    turns = torch.outer(
        torch.arange(length, dtype=torch.float64), THETA ** (-torch.arange(0, WIDTH, 2).double() / WIDTH)
    )
    exact = torch.cat((turns.sin(), turns.cos()), dim=-1)
    limits = cosine_error(turns, THETA, torch.float32).repeat(1, 2)
    found = torch.as_tensor(function(length, WIDTH))
    return _compared(found, exact, limits, "the table is not that of sin, then cos, of theta 10000")


def matrices(function: Function, judge: Judge) -> Verdict:
    """``stack_freqs(cos, sin)``: a 2x2 matrix for each pair; nothing is computed."""
    turns = angles(WIDTH // 2)
    cos, sin = (torch.cat((t, t), dim=-1).float()[None] for t in (turns.cos(), turns.sin()))
    half = WIDTH // 2
    c, s = cos[..., :half].double(), sin[..., :half].double()
    exact = torch.stack((torch.stack((c, -s), -1), torch.stack((s, c), -1)), dim=-2)
    return _compared(
        function(cos, sin), exact, torch.zeros_like(exact), "the matrices are not those of rotations"
    )


def _mscale(scale: float, factor: float) -> float:
    return 1.0 if scale <= 1 else 0.1 * factor * math.log(scale) + 1.0


def _numbers(found: list[float], exact: list[float], words: str) -> Verdict:
    # Python's floats: at most 8 operations, all terms positive.
    one, other = torch.tensor(found, dtype=torch.float64), torch.tensor(exact, dtype=torch.float64)
    return _compared(one, other, gamma(8, torch.float64) * other.abs(), words)


def mscale(function: Function, judge: Judge) -> Verdict:
    """``yarn_get_mscale(scale, mscale)``: YaRN's ``0.1 m ln s + 1``, and 1 for a scale up to 1."""
    given = [(40.0, 0.7), (0.5, 0.7), (1.0, 1.0), (4.0, 1.0)]
    exact = [_mscale(*each) for each in given]
    return _numbers(
        [float(function(*each)) for each in given], exact, "YaRN's factor of attention is another"
    )


def scaled_attention(function: Function, judge: Judge) -> Verdict:
    """``yarn_apply_mscale(rope_parameters, scaling)``: attention's factor times the square of YaRN's."""
    yarn = {"rope_type": "yarn", "factor": 40.0}
    given = [(yarn | {"mscale_all_dim": 0.7}, 0.125), (yarn, 0.125), ({"rope_type": "default"}, 0.125)]
    exact = [0.125 * _mscale(40.0, 0.7) ** 2, 0.125, 0.125]
    return _numbers([float(function(*each)) for each in given], exact, "attention's factor is another")


def own_angles(function: Function, judge: Judge) -> Verdict:
    """``rotate_queries_or_keys(x, pos)`` of V-JEPA 2: computes cos and sin itself, in the dtype of x.

    Only in float32: in half precision its angles are right to the dtype only, which no bound holds together.
    """
    positions = torch.tensor([0, 1, 2, 7, 23])
    pairs = WIDTH // 2
    turns = torch.outer(positions.double(), THETA ** (-torch.arange(pairs).double() / pairs))
    limits = cosine_error(turns, THETA, torch.float32)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, _: Any) -> Any:
        return function(xs[0], positions.expand(BATCH, HEADS, LENGTH))

    case = Case(
        key=("own angles",),
        xs=(draw(BATCH, HEADS, LENGTH, WIDTH, seed=2),),
        cos=turns.cos(),
        sin=turns.sin(),
        convention=Convention("interleaved", "crossed"),
        call=call,
        exact=lambda xs, cos, sin, meaning: (turned(xs[0], cos, sin, meaning),),
        positions=positions[:, None],
        count=ROTATION,
        form="(x, pos)",
        absolute=float(limits.max()),
    )
    verdict = judge.judge(function, case)
    assert verdict is not None
    return verdict


VALUES: dict[str, Callable[[Function, Judge], Verdict]] = {
    "create_sinusoidal_positions": sinusoids,
    "stack_freqs": matrices,
    "yarn_get_mscale": mscale,
    "yarn_apply_mscale": scaled_attention,
    "rotate_queries_or_keys": own_angles,
}
