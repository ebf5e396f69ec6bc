"""Inverse frequencies of every rope type: known numbers, the formulas in float64, devices and dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rope_compat.rotary import frequencies

DIM, THETA, LENGTH, ORIGINAL = 16, 10000.0, 256, 64
SHORT, LONG = [1 + i / 4 for i in range(8)], [4.0 + i for i in range(8)]

CASES: dict[str, Callable[[], tuple[Tensor, float]]] = {
    "default": lambda: frequencies.default(DIM, THETA),
    "linear": lambda: frequencies.linear(DIM, THETA, 4.0),
    "dynamic": lambda: frequencies.dynamic(DIM, THETA, 2.0, LENGTH, 400),
    "yarn": lambda: frequencies.yarn(DIM, THETA, 4.0, ORIGINAL, beta_fast=8.0),
    "yarn, not truncated": lambda: frequencies.yarn(
        DIM, THETA, 4.0, ORIGINAL, beta_fast=8.0, mscale=0.7, mscale_all_dim=0.3, truncate=False
    ),
    "longrope, short": lambda: frequencies.longrope(DIM, THETA, SHORT, LONG, ORIGINAL, 4.0),
    "longrope, long": lambda: frequencies.longrope(DIM, THETA, SHORT, LONG, ORIGINAL, 4.0, seq_len=65),
    "llama3": lambda: frequencies.llama3(DIM, THETA, 8.0, 1.0, 4.0, 256),
    "proportional": lambda: frequencies.proportional(DIM, THETA, 0.5, 2.0),
}

#: What transformers 4.57.6 computes, and 5.24.0 for proportional. In decimals: powers differ in the last
#: place from one CPU to another; bits are compared with the installed release's own (test_init_table).
KNOWN: dict[str, tuple[list[float], float]] = {
    "default": ([1.0, 0.31622776, 0.1, 0.031622779, 0.01, 0.0031622779, 0.001, 0.00031622779], 1.0),
    "linear": (
        [0.25, 0.079056941, 0.025, 0.0079056947, 0.0025, 0.00079056947, 0.00025, 7.9056947e-05],
        1.0,
    ),
    "dynamic": (
        [1.0, 0.28394514, 0.080624841, 0.02289303, 0.0065003652, 0.001845747, 0.00052409089, 0.00014881307],
        1.0,
    ),
    "yarn": (
        [1.0, 0.23717082, 0.049999997, 0.0079056947, 0.0025, 0.00079056947, 0.00025, 7.9056947e-05],
        1.138629436111989,
    ),
    "yarn, not truncated": (
        [1.0, 0.21246868, 0.025664398, 0.0079056947, 0.0025, 0.00079056947, 0.00025, 7.9056947e-05],
        1.0532376815143234,
    ),
    "longrope, short": (
        [1.0, 0.25298223, 0.06666667, 0.018070158, 0.005, 0.0014054568, 0.0004, 0.00011499191],
        1.1547005383792517,
    ),
    "longrope, long": (
        [0.25, 0.063245557, 0.016666668, 0.0045175394, 0.00125, 0.0003513642, 0.0001, 2.8747978e-05],
        1.1547005383792517,
    ),
    "llama3": (
        [1.0, 0.31622776, 0.1, 0.0066131069, 0.00125, 0.00039528473, 0.000125, 3.9528473e-05],
        1.0,
    ),
    "proportional": ([0.5, 0.15811388, 0.05, 0.015811389, 0.0, 0.0, 0.0, 0.0], 1.0),
}


def assert_close(inv_freq: Tensor, wanted: list[float], relative: float = 2e-6) -> None:
    """By the largest relative difference; `torch.testing` would take seconds to import."""
    exactly = torch.tensor(wanted, dtype=torch.float64)
    assert inv_freq.shape == exactly.shape
    assert bool(((inv_freq.double() - exactly).abs() <= relative * exactly.abs()).all()), inv_freq


@pytest.mark.parametrize("name", CASES)
def test_known_numbers(name: str) -> None:
    inv_freq, factor = CASES[name]()
    wanted, attention = KNOWN[name]
    assert inv_freq.dtype == torch.float32
    assert_close(inv_freq, wanted, 5e-7)
    assert factor == pytest.approx(attention, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_the_default_dtype_changes_nothing(name: str, dtype: torch.dtype) -> None:
    """Models are constructed under the dtype of their weights; frequencies are float32 all the same."""
    before, wanted = torch.get_default_dtype(), CASES[name]()
    torch.set_default_dtype(dtype)
    try:
        inv_freq, factor = CASES[name]()
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(inv_freq, wanted[0])
    assert inv_freq.dtype == torch.float32
    assert factor == wanted[1]


@pytest.mark.parametrize("name", CASES)
def test_the_device_is_that_of_the_context(name: str) -> None:
    with torch.device("meta"):
        inv_freq, factor = CASES[name]()
    assert inv_freq.is_meta
    assert inv_freq.shape == (DIM // 2,)
    assert factor == CASES[name]()[1]


def test_a_device_that_is_given() -> None:
    devices: dict[str, Any] = {"device": "meta"}
    made = [
        frequencies.default(DIM, THETA, "meta"),
        frequencies.linear(DIM, THETA, 2.0, "meta"),
        frequencies.dynamic(DIM, THETA, 2.0, LENGTH, 400, "meta"),
        frequencies.yarn(DIM, THETA, 4.0, ORIGINAL, **devices),
        frequencies.longrope(DIM, THETA, SHORT, LONG, ORIGINAL, 4.0, **devices),
        frequencies.llama3(DIM, THETA, 8.0, 1.0, 4.0, 256, "meta"),
        frequencies.proportional(DIM, THETA, 0.5, 2.0, "meta"),
    ]
    assert all(inv_freq.is_meta for inv_freq, _ in made)


def exact(dim: int, theta: float) -> list[float]:
    return [theta ** (-2 * i / dim) for i in range(dim // 2)]


@pytest.mark.parametrize("dim", [2, 8, 64, 128])
@pytest.mark.parametrize("theta", [10000, 10000.0, 1e6, 5e5])
def test_default_is_its_formula(dim: int, theta: float) -> None:
    assert_close(frequencies.default(dim, theta)[0], exact(dim, theta))


@pytest.mark.parametrize("seq_len", [None, 10, 256, torch.tensor(10), torch.tensor(256)])
def test_dynamic_is_default_up_to_its_length(seq_len: Any) -> None:
    given = frequencies.dynamic(DIM, THETA, 2.0, LENGTH, seq_len)[0]
    assert_close(given, exact(DIM, THETA))


@pytest.mark.parametrize("seq_len", [257, 1000, torch.tensor(1000)])
def test_dynamic_grows_by_its_formula(seq_len: Any) -> None:
    stretched = THETA * (2.0 * int(seq_len) / LENGTH - 1.0) ** (DIM / (DIM - 2))
    assert_close(frequencies.dynamic(DIM, THETA, 2.0, LENGTH, seq_len)[0], exact(DIM, stretched))


def test_yarn_keeps_fast_channels_and_divides_slow_ones() -> None:
    inv_freq, _ = frequencies.yarn(64, THETA, 4.0, 4096)
    plain = frequencies.default(64, THETA)[0]
    assert torch.equal(inv_freq[:4], plain[:4])
    assert_close(inv_freq[-4:], (plain[-4:] / 4).tolist())
    assert bool(((inv_freq <= plain) & (inv_freq >= plain / 4 * 0.999999)).all())


@pytest.mark.parametrize(
    ("options", "attention"),
    [
        ({}, 0.1 * math.log(4.0) + 1),
        ({"attention_factor": 0.5}, 0.5),
        ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1.0),
        ({"mscale": 2.0}, 0.1 * math.log(4.0) + 1),
    ],
)
def test_the_attention_factor_of_yarn(options: dict[str, Any], attention: float) -> None:
    assert frequencies.yarn(DIM, THETA, 4.0, ORIGINAL, **options)[1] == pytest.approx(attention, rel=1e-15)
    assert frequencies.yarn(DIM, THETA, 1.0, ORIGINAL)[1] == 1.0


def test_a_ramp_without_width_is_a_step() -> None:
    inv_freq, _ = frequencies.yarn(4, THETA, 4.0, 2)
    assert bool(inv_freq.isfinite().all())


@pytest.mark.parametrize("length", [65, torch.tensor(65)])
def test_longrope_is_long_past_the_original_length(length: Any) -> None:
    options = (DIM, THETA, SHORT, LONG, ORIGINAL, 4.0)
    short, long = frequencies.longrope(*options)[0], frequencies.longrope(*options, seq_len=length)[0]
    assert torch.equal(frequencies.longrope(*options, seq_len=64)[0], short)
    assert_close(long * torch.tensor(LONG), (short * torch.tensor(SHORT)).tolist())
    assert frequencies.longrope(DIM, THETA, SHORT, LONG, ORIGINAL, 1.0)[1] == 1.0
    assert frequencies.longrope(*options, attention_factor=1.5)[1] == 1.5


def test_llama3_in_its_three_ranges() -> None:
    inv_freq, _ = frequencies.llama3(64, THETA, 8.0, 1.0, 4.0, 1024)
    plain = frequencies.default(64, THETA)[0]
    waves = 2 * math.pi / plain
    is_short, is_long = waves < 256, waves > 1024
    assert torch.equal(inv_freq[is_short], plain[is_short])
    assert torch.equal(inv_freq[is_long], plain[is_long] / 8)
    between = ~is_short & ~is_long
    assert between.sum() > 2
    assert bool(((inv_freq[between] < plain[between]) & (inv_freq[between] > plain[between] / 8)).all())


def test_proportional_without_rest_is_linear() -> None:
    assert torch.equal(frequencies.proportional(DIM, THETA)[0], frequencies.default(DIM, THETA)[0])
    assert torch.equal(
        frequencies.proportional(DIM, THETA, 1.0, 4.0)[0], frequencies.linear(DIM, THETA, 4.0)[0]
    )
