"""Functions that have had one form in all releases: they stay the library's own, and compute what is said."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest
import torch
from support.installed import RELEASE, lacks_a_peer, load
from torch import Tensor

import rope_compat
from rope_compat import catalog
from rope_compat._facts.functions import FAMILIES

NAMES = [family.name for family in FAMILIES if not family.adapted]
TARGETS = [
    target
    for target in catalog.functions(NAMES)
    if catalog.signature_at(target.module, target.name, RELEASE) and not lacks_a_peer(target.module)
]
ROTATING = ("rotate_half", "rotate_every_two", "rotate_pairwise")


def found(*names: str) -> list[Any]:
    """Parameters for the functions whose name begins with one of `names`."""
    return [
        pytest.param(*target, id=f"{target.module.rpartition('.')[2]}.{target.name}")
        for target in TARGETS
        if target.name.startswith(names)
    ]


def function_of(module: str, name: str) -> Callable[..., Any]:
    """The function, which ``kernels`` and scripting may have wrapped."""
    function: Callable[..., Any] = getattr(load(module), name)
    return function


def test_they_are_not_touched() -> None:
    before = {target: function_of(*target) for target in TARGETS}
    with rope_compat.patched(on_problem="error"):
        assert {target: function_of(*target) for target in TARGETS} == before
        assert all(function_of(*target) is value for target, value in before.items())
    assert len(before) >= 16


@pytest.mark.parametrize(("module", "name"), found(*ROTATING))
def test_a_quarter_turn_of_pairs(module: str, name: str) -> None:
    x = torch.randn(2, 3, 2, 8, dtype=torch.float64)
    turned = function_of(module, name)(x)
    first, second = x.chunk(2, -1)
    halves = torch.cat((-second, first), -1)
    neighbours = torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
    if "nanochat" in module:
        halves = -halves  # it turns the other way, as its model subtracts
    pairs = [pairing for pairing in (halves, neighbours) if torch.equal(turned, pairing)]
    assert len(pairs) == 1
    assert torch.equal(function_of(module, name)(turned), -x)
    if name in ("rotate_every_two", "rotate_pairwise"):
        assert pairs[0] is neighbours


def angles(length: int, half: int) -> Tensor:
    return torch.outer(
        torch.arange(length, dtype=torch.float64), 0.1 ** torch.arange(half, dtype=torch.float64)
    )


@pytest.mark.parametrize(("module", "name"), found("apply_rotary_emb"))
def test_complex_numbers_turn_neighbours(module: str, name: str) -> None:
    turns = angles(5, 4)
    freqs = torch.polar(torch.ones_like(turns), turns)[None]
    tokens_first = "llama4" in module
    shape = (1, 5, 2, 8) if tokens_first else (1, 2, 5, 8)
    q, k = torch.randn(2, *shape, dtype=torch.float64)
    results = function_of(module, name)(q.float(), k.float(), freqs.to(torch.complex64))
    factor = freqs[:, :, None] if tokens_first else freqs[:, None]
    for x, result in zip((q, k), results, strict=True):
        wanted = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (4, 2))) * factor).flatten(-2)
        torch.testing.assert_close(result.double(), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("module", "name"), found("_apply_rotary_emb"))
def test_tables_of_half_the_width(module: str, name: str) -> None:
    turns = angles(5, 4)
    x = torch.randn(1, 2, 5, 8, dtype=torch.float64)
    result = function_of(module, name)(x, turns.cos(), turns.sin())
    first, second = x.chunk(2, -1) if "gpt_oss" in module else (x[..., 0::2], x[..., 1::2])
    cos, sin = turns.cos(), turns.sin()
    rotated = first * cos - second * sin, second * cos + first * sin
    wanted = torch.cat(rotated, -1) if "gpt_oss" in module else torch.stack(rotated, -1).flatten(-2)
    torch.testing.assert_close(result, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("module", "name"), found("create_sinusoidal_positions"))
def test_sines_and_then_cosines(module: str, name: str) -> None:
    table = function_of(module, name)(6, 8)
    turns = torch.outer(
        torch.arange(6, dtype=torch.float64), 10000.0 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    )
    wanted = torch.cat((turns.sin(), turns.cos()), -1)
    torch.testing.assert_close(torch.as_tensor(table).double(), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("module", "name"), found("yarn_get_mscale"))
def test_yarns_factor_of_attention(module: str, name: str) -> None:
    function = function_of(module, name)
    assert function(0.5, 3.0) == 1.0
    assert function(4.0, 0.7) == pytest.approx(0.1 * 0.7 * math.log(4.0) + 1.0, abs=1e-12)


@pytest.mark.parametrize(("module", "name"), found(*NAMES))
def test_each_has_the_signature_of_its_record(module: str, name: str) -> None:
    function = function_of(module, name)
    if not isinstance(function, FunctionType):
        assert callable(function)
        return
    known = next(family for family in FAMILIES if family.name == name).signatures
    bare = [each.replace(annotation=each.empty) for each in inspect.signature(function).parameters.values()]
    assert catalog.normalize(str(inspect.Signature(bare))) in known
