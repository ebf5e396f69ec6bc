"""Pairings: what a quarter turn is, and that the two pairings are one rotation under a permutation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_compat.errors import CallFormError
from rope_compat.rotary import pairing

QUICK = settings(deadline=None, max_examples=30, database=None)
HALVES = st.integers(1, 6)
SEEDS = st.integers(0, 2**31)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_rotate_half_turns_channel_i_with_i_plus_half():
    assert pairing.rotate_half(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [-3.0, -4.0, 1.0, 2.0]


def test_rotate_every_two_turns_neighbours():
    assert pairing.rotate_every_two(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [-2.0, 1.0, -4.0, 3.0]


@pytest.mark.parametrize("which", ["half", "interleaved"])
def test_two_quarter_turns_are_a_half_turn(which):
    x = draw(1, 2, 3, 8)
    assert torch.equal(pairing.quarter_turn(pairing.quarter_turn(x, which), which), -x)


def test_quarter_turn_refuses_another_pairing_and_names_both():
    with pytest.raises(CallFormError, match=r"pairing='neox' was given; expected \"half\".*\"interleaved\""):
        pairing.quarter_turn(torch.zeros(4), "neox")  # type: ignore[arg-type]


def test_interleaved_to_half_moves_even_channels_first():
    assert pairing.interleaved_to_half(torch.arange(6)).tolist() == [0, 2, 4, 1, 3, 5]


@QUICK
@given(half=HALVES, seed=SEEDS, dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_the_permutations_undo_each_other(half, seed, dtype):
    x = draw(seed, 2, 3, 2 * half, dtype=dtype)
    assert torch.equal(pairing.half_to_interleaved(pairing.interleaved_to_half(x)), x)
    assert torch.equal(pairing.interleaved_to_half(pairing.half_to_interleaved(x)), x)


@QUICK
@given(half=HALVES, seed=SEEDS)
def test_the_two_pairings_are_one_turn_under_the_permutation(half, seed):
    x = draw(seed, 3, 2 * half)
    turned = pairing.interleaved_to_half(pairing.rotate_every_two(x))
    assert torch.equal(pairing.rotate_half(pairing.interleaved_to_half(x)), turned)


def test_interleaved_to_half_is_deepseeks_view_and_transpose():
    x = draw(2, 2, 3, 5, 8)
    upstream = x.view(2, 3, 5, 4, 2).transpose(4, 3).reshape(2, 3, 5, 8)
    assert torch.equal(pairing.interleaved_to_half(x), upstream)
