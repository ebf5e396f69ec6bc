"""Exact inverse frequencies, against the formulas' own values and against the installed transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import RELEASE, has_module, load
from support.lanes import ONCE
from support.rope_configs import HEAD, LENGTH, LONG, ORIGINAL, SHORT, THETA, UTILS, native_config
from support.rounding import mix_condition, rate_bounds
from torch import Tensor

from rope_compat.rotary import exact, frequencies

HERE = Version(RELEASE)
#: Before 4.51.0 yarn took max_position_embeddings for the original length, whatever the config said.
YARN_LENGTH = ORIGINAL if Version("4.51.0") <= HERE else LENGTH
#: Before 4.48.0 longrope took the long divisors whenever the factor was above 1.
ALWAYS_LONG = Version("4.48.0") > HERE
#: Before 4.44.0 dynamic shrank theta for texts below the maximum, here to a negative number.
CASES = [
    (rope_type, seq_len)
    for rope_type in (load(UTILS).ROPE_INIT_FUNCTIONS if has_module(UTILS) else [])
    for seq_len in (None, 100, 3000)
    if not (rope_type == "dynamic" and seq_len == 100 and Version("4.44.0") > HERE)
]


def judged(rope_type: str, seq_len: int | None) -> tuple[Tensor, float, Tensor]:
    """Exact frequencies and factor of the config of `rope_configs`, and the bounds of float32's rounding."""
    rates = exact.default(HEAD, THETA)[0]
    pairs = torch.arange(HEAD // 2, dtype=torch.float64)
    if rope_type == "default":
        return *exact.default(HEAD, THETA), rate_bounds(rates, THETA)
    if rope_type == "linear":
        return *exact.linear(HEAD, THETA, 4.0), rate_bounds(rates / 4, THETA, steps=1)
    if rope_type == "dynamic":
        given, factor = exact.dynamic(HEAD, THETA, 2.0, LENGTH, seq_len)
        return given, factor, rate_bounds(given, THETA * 3 ** (HEAD / (HEAD - 2)))
    if rope_type == "yarn":
        given, factor = exact.yarn(HEAD, THETA, 4.0, YARN_LENGTH, beta_fast=16.0)
        # (pair - first) / width: the rounding of first, of the difference, of the width, of the quotient.
        return given, factor, rate_bounds(rates, THETA, steps=1, condition=mix_condition(pairs.max() + 3))
    if rope_type == "longrope":
        more: dict[str, Any] = {"attention_factor": 1.25, "seq_len": LENGTH if ALWAYS_LONG else seq_len}
        given, factor = exact.longrope(HEAD, THETA, SHORT, LONG, ORIGINAL, 4.0, **more)
        return given, factor, rate_bounds(given, THETA, steps=2)
    if rope_type == "llama3":
        given, factor = exact.llama3(HEAD, THETA, 8.0, 1.0, 4.0, ORIGINAL)
        # (length / wave - low) / (high - low), where a wave is 2 pi / rate: at most `high` turns in the mix.
        share = 4.0 * (math.log(THETA) + 4 + 3) / (4.0 - 1.0) + 2
        return given, factor, rate_bounds(rates, THETA, steps=1, condition=mix_condition(share))
    given, factor = exact.proportional(HEAD, THETA, 0.25, 2.0)
    return given, factor, rate_bounds(given, THETA, steps=1)


@pytest.mark.only(has_module(UTILS), "the module came with 4.43.0")
@pytest.mark.parametrize(("rope_type", "seq_len"), CASES)
def test_the_installed_init_functions(rope_type: str, seq_len: int | None) -> None:
    given, factor = load(UTILS).ROPE_INIT_FUNCTIONS[rope_type](native_config(rope_type), "cpu", seq_len)
    wanted, attention, bounds = judged(rope_type, seq_len)
    assert bool(((given.double() - wanted).abs() <= bounds).all()), (given.double() - wanted) / bounds
    assert factor == pytest.approx(attention, rel=1e-15)


SMALL: tuple[Any, ...] = (16, 10000.0)
PAIRS: dict[str, Callable[[Any], tuple[Tensor, float]]] = {
    "default": lambda of: of.default(*SMALL),
    "linear": lambda of: of.linear(*SMALL, 4.0),
    "dynamic": lambda of: of.dynamic(*SMALL, 2.0, 256, 400),
    "dynamic, a tensor": lambda of: of.dynamic(*SMALL, 2.0, 256, torch.tensor(400)),
    "yarn": lambda of: of.yarn(*SMALL, 4.0, 64, beta_fast=8.0),
    "yarn, not truncated": lambda of: of.yarn(
        *SMALL, 4.0, 64, beta_fast=8.0, mscale=0.7, mscale_all_dim=0.3, truncate=False
    ),
    "yarn, without a ramp": lambda of: of.yarn(4, 10000.0, 4.0, 2),
    "longrope, short": lambda of: of.longrope(*SMALL, SHORT[:8], LONG[:8], 64, 4.0),
    "longrope, long": lambda of: of.longrope(*SMALL, SHORT[:8], LONG[:8], 64, 4.0, seq_len=65),
    "llama3": lambda of: of.llama3(*SMALL, 8.0, 1.0, 4.0, 256),
    "proportional": lambda of: of.proportional(*SMALL, 0.5, 2.0),
}


@pytest.mark.lane(ONCE)
@pytest.mark.parametrize("name", PAIRS)
def test_the_production_code(name: str) -> None:
    given, factor = PAIRS[name](frequencies)
    wanted, attention = PAIRS[name](exact)
    assert wanted.dtype == torch.float64
    assert given.shape == wanted.shape
    assert bool(((given.double() - wanted).abs() <= 2e-6 * wanted).all())
    assert factor == pytest.approx(attention, rel=1e-15)


@pytest.mark.lane(ONCE)
def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="a rotary width of 7 was given; expected an even number"):
        exact.default(7, 10000.0)
    with pytest.raises(ValueError, match="long_factor has 3 divisors; expected 4"):
        exact.longrope(8, 10000.0, [1.0] * 4, [2.0] * 3, 64, 4.0, seq_len=65)
