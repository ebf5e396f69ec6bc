"""The fp64 reference, held against plain Python arithmetic and the properties that define RoPE."""

from __future__ import annotations

import ast
import cmath
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_compat.rotary import reference

QUICK = settings(deadline=None, max_examples=20, database=None)
PAIRINGS = st.sampled_from(["half", "interleaved"])
# Products and sums of a few fp64 numbers of size 10 at most.
ATOL = 1e-13


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(x: list[float], position: int, theta: float, pairing: str) -> list[float]:
    """RoFormer's definition, one complex number at a time, with Python's own floats."""
    d, out = len(x), list(x)
    for i in range(d // 2):
        a, b = (i, i + d // 2) if pairing == "half" else (2 * i, 2 * i + 1)
        turned = complex(x[a], x[b]) * cmath.exp(1j * position * theta ** (-2 * i / d))
        out[a], out[b] = turned.real, turned.imag
    return out


@QUICK
@given(half=st.integers(1, 5), seed=st.integers(0, 999), pairing=PAIRINGS, theta=st.sampled_from([10.0, 1e4]))
def test_rotate_is_the_definition(half, seed, pairing, theta):
    x = draw(seed, 4, 2 * half)
    cos, sin = reference.cos_sin(4, 2 * half, theta, pairing=pairing)
    expected = torch.tensor(
        [by_hand(x[m].tolist(), m, theta, pairing) for m in range(4)], dtype=torch.float64
    )
    torch.testing.assert_close(reference.rotate(x, cos, sin, pairing), expected, rtol=0, atol=ATOL)
    angles = reference.freqs(4, 2 * half, theta)
    torch.testing.assert_close(reference.rotate_by_angle(x, angles, pairing), expected, rtol=0, atol=ATOL)


@QUICK
@given(seed=st.integers(0, 999), pairing=PAIRINGS, shift=st.integers(0, 7))
def test_scores_depend_on_the_distance_alone_and_lengths_are_kept(seed, pairing, shift):
    q, k = draw(seed, 8), draw(seed + 1, 8)
    cos, sin = reference.cos_sin(16, 8, pairing=pairing)

    def at(x: torch.Tensor, m: int) -> torch.Tensor:
        return reference.rotate(x, cos[m], sin[m], pairing)

    here = at(q, 5) @ at(k, 2)
    there = at(q, 5 + shift) @ at(k, 2 + shift)
    torch.testing.assert_close(there, here, rtol=0, atol=1e-12)
    torch.testing.assert_close(at(q, shift).norm(), q.norm(), rtol=0, atol=ATOL)


def test_tables_hold_cos_and_sin_of_position_times_rate():
    cos, sin = reference.cos_sin(3, 4, theta=100.0, scaling=2.0)
    assert cos.dtype == sin.dtype == torch.float64
    assert cos[2].tolist() == pytest.approx([2 * math.cos(a) for a in (2, 0.2, 2, 0.2)], abs=1e-15)
    interleaved = reference.cos_sin(3, 4, theta=100.0, pairing="interleaved")[1]
    assert interleaved[2].tolist() == pytest.approx([math.sin(a) for a in (2, 2, 0.2, 0.2)], abs=1e-15)


def test_channels_beyond_the_rotary_width_pass_through():
    x = draw(3, 2, 3, 8)
    cos, sin = reference.cos_sin(3, 4)
    out = reference.rotate(x, cos, sin)
    assert torch.equal(out[..., 4:], x[..., 4:])
    assert torch.equal(out[..., :4], reference.rotate(x[..., :4], cos, sin))
    assert torch.equal(reference.rotate_by_angle(x, reference.freqs(3, 4))[..., 4:], x[..., 4:])


def test_apply_looks_tables_up_and_leaves_gathered_values_alone():
    q, k = draw(4, 2, 3, 5, 8), draw(5, 2, 1, 5, 8)
    cos, sin = reference.cos_sin(9, 8)
    ids = torch.tensor([[0, 2, 8, 8, 1], [3, 4, 5, 6, 7]])
    from_rows = reference.apply(q, k, cos, sin, ids)
    from_old = reference.apply(q, k, cos[None, None], sin[None, None], ids)
    gathered = reference.apply(q, k, cos[ids], sin[ids])
    beside = reference.apply(q, k, cos[ids], sin[ids], ids)
    for other in (from_old, gathered, beside):
        assert all(torch.equal(a, b) for a, b in zip(from_rows, other, strict=True))
    turned = reference.apply(q.transpose(1, 2), k.transpose(1, 2), cos[ids], sin[ids], unsqueeze_dim=2)
    assert all(torch.equal(a, b.transpose(1, 2)) for a, b in zip(from_rows, turned, strict=True))
    one_row = reference.apply(q, k, cos, sin, ids[0])
    assert torch.equal(one_row[0][0], from_rows[0][0])


def test_flashatt_and_vision_are_the_same_rotation():
    q, k = draw(6, 1, 5, 2, 8), draw(7, 1, 5, 3, 8)
    cos, sin = reference.cos_sin(5, 8)
    for a, b in zip(reference.flashatt(q, k, cos, sin), reference.vision(q, k, cos, sin), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=ATOL)


def test_wrong_use_is_refused():
    cos, sin = reference.cos_sin(2, 4)
    with pytest.raises(ValueError, match="expected position_ids"):
        reference.apply(cos[None], cos[None], cos[None, None], sin[None, None])
    with pytest.raises(ValueError, match="even number"):
        reference.cos_sin(2, 3)
    with pytest.raises(ValueError, match="pairing='both'"):
        reference.rotate(cos, cos, sin, "both")


def test_the_reference_shares_no_code_with_what_it_judges():
    tree = ast.parse(Path(reference.__file__).read_text())
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else ["." * node.level + str(node.module)]
        )
    }
    assert imported == {"__future__", "torch"}
