"""What makes a rotary embedding one, for every exact definition; and what each scaling promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rope_compat.rotary import angles, decay, exact, reference, xpos

QUICK = settings(deadline=None, max_examples=25, database=None)
SEEDS, PAIRINGS = st.integers(0, 9999), st.sampled_from(["half", "interleaved"])
DIM, THETA = 16, 10000.0
FACTORS = st.floats(1.0, 64.0)
SHORT, LONG = [1 + i / 4 for i in range(8)], [4.0 + i for i in range(8)]
#: Angles up to 2e4 radians are rounded to 2 ** -53 of themselves, 2e-12; scores of 16 products of normal
#: numbers stay below 1e3.
ATOL = 1e-8


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def text(inv_freq: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda place: angles.angles(place[0], inv_freq)


def placed(axes: tuple[Tensor, list[int]]) -> Callable[[Tensor], Tensor]:
    return lambda place: angles.by_axis(place, *axes)


#: Angles ``[S, 8]`` of tokens at ``[3, S]`` coordinates.
SCHEMES: dict[str, Callable[[Tensor], Tensor]] = {
    "default": text(exact.default(DIM, THETA)[0]),
    "linear": text(exact.linear(DIM, THETA, 4.0)[0]),
    "dynamic": text(exact.dynamic(DIM, THETA, 2.0, 256, 4000)[0]),
    "yarn": text(exact.yarn(DIM, THETA, 4.0, 64)[0]),
    "longrope": text(exact.longrope(DIM, THETA, SHORT, LONG, 64, 4.0, seq_len=65)[0]),
    "llama3": text(exact.llama3(DIM, THETA, 8.0, 1.0, 4.0, 256)[0]),
    "proportional": text(exact.proportional(DIM, THETA, 0.5, 2.0)[0]),
    "part of the head": text(exact.default(DIM // 2, THETA)[0]),
    "sections": placed((exact.default(DIM, THETA)[0], angles.contiguous([2, 3, 3]))),
    "interleaved sections": placed((exact.default(DIM, THETA)[0], angles.interleaved([4, 2, 2]))),
    "axial": placed(angles.axial(DIM, THETA)),
    "dealt": placed(angles.dealt(DIM, THETA)),
}
EVERY = pytest.mark.parametrize("scheme", SCHEMES)
PLACES = st.lists(st.lists(st.integers(0, 10000), min_size=3, max_size=3), min_size=3, max_size=3)


def coordinates(places: list[list[int]]) -> Tensor:
    """``[3, S]`` from one list of three for each token."""
    return torch.tensor(places, dtype=torch.float64).T


def at(place: Tensor, x: Tensor, scheme: str, pairing: str) -> Tensor:
    """x ``[S, DIM]`` rotated by the angles of its places ``[3, S]``."""
    return reference.rotate_by_angle(x, SCHEMES[scheme](place), pairing)


@EVERY
@QUICK
@given(seed=SEEDS, places=PLACES, pairing=PAIRINGS)
def test_norms_are_kept(scheme: str, seed: int, places: list[list[int]], pairing: str) -> None:
    x = draw(seed, 3, DIM)
    turned = at(coordinates(places), x, scheme, pairing)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-14, atol=0)


@EVERY
@QUICK
@given(
    seed=SEEDS, places=PLACES, shift=st.lists(st.integers(0, 10000), min_size=3, max_size=3), pairing=PAIRINGS
)
def test_scores_depend_on_the_distance_on_each_axis(
    scheme: str, seed: int, places: list[list[int]], shift: list[int], pairing: str
) -> None:
    """All tokens are moved by the same vector, each axis by its own amount: the matrix of scores stays."""
    q, k, place = draw(seed, 3, DIM), draw(seed + 1, 3, DIM), coordinates(places)
    here = at(place, q, scheme, pairing) @ at(place, k, scheme, pairing).T
    moved = place + torch.tensor(shift, dtype=torch.float64)[:, None]
    there = at(moved, q, scheme, pairing) @ at(moved, k, scheme, pairing).T
    assert torch.allclose(here, there, rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("scheme", "axes"),
    [("sections", 3), ("interleaved sections", 3), ("axial", 2), ("dealt", 2), ("default", 1)],
)
def test_scores_do_depend_on_the_distance_on_each_axis(scheme: str, axes: int) -> None:
    """And on no other axis."""
    q, k, place = draw(0, 1, DIM), draw(1, 1, DIM), torch.zeros(3, 1)
    score = q @ k.T
    for axis in range(3):
        moved = place.clone()
        moved[axis] = 1
        other = at(moved, q, scheme, "half") @ k.T
        assert bool((other - score).abs() > 1e-3) == (axis < axes)


@EVERY
@QUICK
@given(seed=SEEDS, places=PLACES)
def test_the_pairings_are_one_rotation_in_two_orders_of_channels(
    scheme: str, seed: int, places: list[list[int]]
) -> None:
    x, place = draw(seed, 3, DIM), coordinates(places)
    width = 2 * SCHEMES[scheme](place).shape[-1]
    order = [*range(0, width, 2), *range(1, width, 2), *range(width, DIM)]
    interleaved = at(place, x, scheme, "interleaved")
    assert torch.allclose(at(place, x[:, order], scheme, "half"), interleaved[:, order], rtol=0, atol=1e-14)


@QUICK
@given(factor=FACTORS, position=st.integers(0, 100000), half=st.integers(1, 64))
def test_linear_divides_positions(factor: float, position: int, half: int) -> None:
    scaled = angles.angles(torch.tensor([position]), exact.linear(2 * half, THETA, factor)[0])
    divided = angles.angles(
        torch.tensor([position / factor], dtype=torch.float64), exact.default(2 * half, THETA)[0]
    )
    assert torch.allclose(scaled, divided, rtol=1e-14, atol=0)


@QUICK
@given(
    factor=st.floats(1.01, 64.0),
    half=st.integers(4, 64),
    theta=st.sampled_from([1e4, 5e5, 1e6]),
    length=st.sampled_from([2048, 8192, 32768]),
    truncate=st.booleans(),
)
def test_yarn_keeps_fast_pairs_and_divides_slow_ones(
    factor: float, half: int, theta: float, length: int, truncate: bool
) -> None:
    plain = exact.default(2 * half, theta)[0]
    given, attention = exact.yarn(2 * half, theta, factor, length, truncate=truncate)
    turns = length * plain / (2 * math.pi)
    ratio = plain / given
    # Rounded outwards, the ramp begins up to one pair earlier and ends up to one later.
    margin = theta ** (1 / half) if truncate else 1 + 1e-12
    fast, slow = turns > 32 * margin, turns < 1 / margin
    assert torch.equal(given[fast], plain[fast])
    assert torch.allclose(ratio[slow], torch.full_like(ratio[slow], factor), rtol=1e-14, atol=0)
    assert bool((torch.diff(ratio) >= -1e-12).all())
    assert bool(((ratio >= 1 - 1e-14) & (ratio <= factor * (1 + 1e-14))).all())
    assert given[0] == 1
    assert attention == pytest.approx(1 + 0.1 * math.log(factor), rel=1e-15)


@QUICK
@given(
    factor=st.floats(1.01, 64.0),
    half=st.integers(4, 64),
    low=st.floats(0.5, 2.0),
    length=st.sampled_from([512, 8192]),
)
def test_llama3_keeps_fast_pairs_and_divides_slow_ones(
    factor: float, half: int, low: float, length: int
) -> None:
    plain = exact.default(2 * half, 5e5)[0]
    given, attention = exact.llama3(2 * half, 5e5, factor, low, 4 * low, length)
    turns, ratio = length * plain / (2 * math.pi), plain / given
    fast, slow = turns > 4 * low, turns < low
    assert torch.equal(given[fast], plain[fast])
    assert torch.allclose(ratio[slow], torch.full_like(ratio[slow], factor), rtol=1e-14, atol=0)
    assert bool((torch.diff(ratio) >= -1e-12).all())
    assert attention == 1.0


@QUICK
@given(length=st.integers(1, 4096), original=st.integers(2, 2048))
def test_longrope_switches_past_the_original_length(length: int, original: int) -> None:
    given, _ = exact.longrope(DIM, THETA, SHORT, LONG, original, 4.0, seq_len=length)
    divisors = torch.tensor(LONG if length > original else SHORT, dtype=torch.float64)
    assert torch.allclose(given * divisors, exact.default(DIM, THETA)[0], rtol=1e-14, atol=0)
    assert torch.equal(
        exact.longrope(DIM, THETA, SHORT, LONG, original, 4.0)[0] * torch.tensor(SHORT),
        exact.longrope(DIM, THETA, SHORT, LONG, original, 4.0, seq_len=original)[0] * torch.tensor(SHORT),
    )


@QUICK
@given(length=st.integers(1, 8192), longest=st.integers(1, 4096), factor=FACTORS)
def test_dynamic_is_default_up_to_its_length_and_divides_the_slowest_pair_after(
    length: int, longest: int, factor: float
) -> None:
    plain = exact.default(DIM, THETA)[0]
    given, attention = exact.dynamic(DIM, THETA, factor, longest, length)
    stretch = factor * max(length, longest) / longest - (factor - 1)
    assert given[0] == 1
    assert attention == 1.0
    assert float(plain[-1] / given[-1]) == pytest.approx(stretch, rel=1e-12)
    if length <= longest:
        assert torch.allclose(given, plain, rtol=1e-12, atol=0)


@QUICK
@given(part=st.floats(0.0, 1.0), factor=FACTORS)
def test_proportional_turns_the_first_pairs_of_a_whole_head(part: float, factor: float) -> None:
    given, _ = exact.proportional(DIM, THETA, part, factor)
    turning = int(given.count_nonzero())
    assert turning == int(part * DIM // 2)
    assert torch.equal(given[:turning], exact.linear(DIM, THETA, factor)[0][:turning])


@QUICK
@given(
    seed=SEEDS, m=st.integers(0, 4000), n=st.integers(0, 4000), shift=st.integers(0, 4000), pairing=PAIRINGS
)
def test_scores_of_xpos_depend_on_the_distance_alone(
    seed: int, m: int, n: int, shift: int, pairing: str
) -> None:
    """Nor on the centre; and they are the scores of scaled pairs: zeta ** (distance / base)."""
    q, k, inv_freq = draw(seed, 1, DIM), draw(seed + 1, 1, DIM), exact.default(DIM, THETA)[0]

    def score(move: int, center: float) -> float:
        turned = []
        for place in (m + move, n + move):
            by = torch.tensor([place])
            scale = xpos.scales(by, DIM, center=center)
            turned.append(xpos.apply(q, k, angles.angles(by, inv_freq), scale, pairing))
        return float(turned[0][0] @ turned[1][1].T)

    # Each factor is the exponential of a number up to 20; the product is of the size of the last line.
    faded = xpos.scales(torch.tensor([m - n]), DIM)
    wanted = reference.rotate_by_angle(q, angles.angles(torch.tensor([m - n]), inv_freq), pairing)
    wide = faded.repeat_interleave(2, dim=-1) if pairing == "interleaved" else torch.cat([faded] * 2, dim=-1)
    exactly, size = float((wanted * wide) @ k.T), float(wide.max()) * 1000
    for move, center in ((0, 0.0), (shift, 0.0), (0, 2000.0)):
        assert score(move, center) == pytest.approx(exactly, abs=1e-11 * size)


@QUICK
@given(half=st.integers(1, 64), gamma=st.floats(0.1, 2.0))
def test_xpos_fades_with_the_distance_looked_back(half: int, gamma: float) -> None:
    """Each pair's share of a score shrinks, fast pairs first; that of a token ahead would grow."""
    bases = xpos.bases(2 * half, gamma)
    assert bool(((bases > 0) & (bases < 1)).all())
    assert bool((torch.diff(bases) > 0).all())
    scale = xpos.scales(torch.tensor([-512.0, 0.0, 1.0, 512.0, 1024.0]), 2 * half, gamma=gamma)
    assert bool((torch.diff(scale, dim=0) < 0).all())
    assert torch.allclose(scale[3], bases, rtol=1e-14, atol=0)
    assert torch.allclose(scale[0] * scale[3], torch.ones(half, dtype=torch.float64), rtol=1e-14, atol=0)


@QUICK
@given(seed=SEEDS, distance=st.integers(0, 100000), half=st.integers(1, 32), pairing=PAIRINGS)
def test_scores_are_below_the_bound_of_roformer(seed: int, distance: int, half: int, pairing: str) -> None:
    q, k, inv_freq = draw(seed, 2 * half), draw(seed + 1, 2 * half), exact.default(2 * half, THETA)[0]
    by = angles.angles(torch.tensor(distance), inv_freq)
    score = float(reference.rotate_by_angle(q, by, pairing) @ k)
    assert abs(score) <= float(decay.score_bound(q, k, torch.tensor(distance), inv_freq, pairing)) + ATOL


def test_the_bound_is_reached() -> None:
    """At distance 0 with equal products of all pairs: only the last step, to 0, is one."""
    ones, inv_freq = torch.ones(DIM), exact.default(DIM, THETA)[0]
    bound = decay.score_bound(ones / math.sqrt(2), ones / math.sqrt(2), torch.tensor(0), inv_freq)
    assert float(bound) == pytest.approx(DIM / 2 * (DIM / 2 + 1) / 2)
    assert float(decay.score_bound(ones[:2], ones[:2], torch.tensor(0), inv_freq[:1])) == pytest.approx(2.0)


@pytest.mark.parametrize(("dim", "theta"), [(64, 1e4), (128, 1e4), (128, 5e5)])
def test_the_bound_decays_by_trend_and_not_monotonically(dim: int, theta: float) -> None:
    """Means over distances 1 to 2, 2 to 4, and so on up to 4096 fall, each below the one before."""
    means = decay.mean_partial_sum(torch.arange(4097), exact.default(dim, theta)[0])
    octaves: list[Any] = [means[2**n : 2 ** (n + 1)].mean() for n in range(12)]
    assert all(later < earlier for earlier, later in pairwise(octaves)), octaves
    assert bool((torch.diff(means[:251]) > 0).any())
    assert float(means[0]) == pytest.approx((dim / 2 + 1) / 2)


def test_a_pairing_that_is_none() -> None:
    with pytest.raises(ValueError, match="pairing='pairs' was given"):
        decay.score_bound(torch.ones(2), torch.ones(2), torch.tensor(0), torch.ones(1), "pairs")
