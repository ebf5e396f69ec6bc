"""Exact frequencies by the keys of rope_parameters; axes of pairs and grids of patches, written out."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from support.rope_configs import HEAD, LENGTH, LONG, ORIGINAL, SHORT, THETA, parameters
from torch import Tensor

from rope_compat.rotary import angles, exact, reference, xpos
from rope_compat.rotary import parameters as by_keys

LONGROPE: tuple[Any, ...] = (HEAD, THETA, SHORT, LONG, ORIGINAL, 4.0)
MEANT: dict[str, tuple[Tensor, float]] = {
    "default": exact.default(HEAD, THETA),
    "linear": exact.linear(HEAD, THETA, 4.0),
    "dynamic": exact.dynamic(HEAD, THETA, 2.0, LENGTH, 3000),
    "yarn": exact.yarn(HEAD, THETA, 4.0, ORIGINAL, beta_fast=16.0),
    "longrope": exact.longrope(*LONGROPE, attention_factor=1.25, seq_len=3000),
    "llama3": exact.llama3(HEAD, THETA, 8.0, 1.0, 4.0, ORIGINAL),
    "proportional": exact.proportional(HEAD, THETA, 0.25, 2.0),
}


def assert_same(given: tuple[Tensor, float], wanted: tuple[Tensor, float]) -> None:
    assert torch.equal(given[0], wanted[0])
    assert given[1] == wanted[1]


@pytest.mark.parametrize("kind", MEANT)
def test_each_type(kind: str) -> None:
    assert_same(by_keys.frequencies(parameters(kind), HEAD, LENGTH, 3000), MEANT[kind])


def test_a_part_of_the_head() -> None:
    given = by_keys.frequencies({**parameters("linear"), "partial_rotary_factor": 0.3}, HEAD + 8)
    assert_same(given, exact.linear(12, THETA, 4.0))


@pytest.mark.parametrize("kind", ["yarn", "longrope"])
def test_the_factor_is_the_ratio_of_the_lengths(kind: str) -> None:
    keys = {**parameters(kind), "factor": None}
    assert_same(by_keys.frequencies(keys, HEAD, LENGTH, 3000), MEANT[kind])
    with pytest.raises(KeyError, match="max_position_embeddings"):
        by_keys.frequencies(keys, HEAD)


def test_layers_with_heads_of_two_sizes() -> None:
    keys = {"full_attention": parameters("proportional"), "sliding_attention": parameters("default")}
    given = by_keys.by_layer_type(keys, {"full_attention": HEAD, "sliding_attention": 8})
    assert_same(given["full_attention"], MEANT["proportional"])
    assert_same(given["sliding_attention"], exact.default(8, THETA))


def test_nothing_is_filled_in() -> None:
    with pytest.raises(KeyError, match="rope_theta"):
        by_keys.frequencies({"rope_type": "default"}, HEAD)
    with pytest.raises(KeyError, match="low_freq_factor"):
        by_keys.frequencies({**parameters("linear"), "rope_type": "llama3"}, HEAD)
    with pytest.raises(ValueError, match=r"rope_type='su' was given; expected one of default, linear"):
        by_keys.frequencies({**parameters("linear"), "rope_type": "su"}, HEAD)


def test_axes_written_out() -> None:
    assert angles.contiguous([2, 1, 3]) == [0, 0, 1, 2, 2, 2]
    assert angles.interleaved([4, 2, 2]) == [0, 1, 2, 0, 1, 2, 0, 0]
    assert angles.interleaved([3, 3, 2]) == [0, 1, 2, 0, 1, 2, 0, 1]
    for sections in ([24, 20, 20], [6, 5, 5], [4, 2, 2]):
        axes = angles.interleaved(sections)
        assert [axes.count(axis) for axis in range(3)] == sections


def test_two_axes_written_out() -> None:
    rates, axes = angles.axial(8, 16.0)
    assert rates.tolist() == [1, 16**-0.5, 1, 16**-0.5]
    assert axes == [0, 0, 1, 1]
    rates, axes = angles.dealt(8, 16.0)
    assert rates.tolist() == [1, 16**-0.5, 16**-0.25, 16**-0.75]
    assert axes == [0, 0, 1, 1]


def test_grids_written_out() -> None:
    assert angles.grid(2, 3).tolist() == [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]
    assert angles.grid(2, 4, merge=2).tolist() == [[0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 2, 3, 2, 3]]


def test_complex_numbers_with_a_factor() -> None:
    x, by = torch.randn(3, 8), torch.tensor([[0.5, 1.0, 2.0, 3.0]])
    turned = reference.rotate_by_cis(x, reference.cis(by, 1.25))
    assert torch.allclose(turned, 1.25 * reference.rotate_by_angle(x, by, "interleaved"), rtol=1e-14)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="2 axes were given for 4 pairs"):
        angles.by_axis(torch.zeros(3, 1), torch.ones(4), [0, 1])
    with pytest.raises(ValueError, match="a grid of 3 by 4 patches was given; expected multiples of 2"):
        angles.grid(3, 4, merge=2)
    with pytest.raises(ValueError, match="a head of 6 was given; expected a multiple of 4"):
        angles.axial(6, THETA)
    with pytest.raises(ValueError, match="a head of 6 was given; expected a multiple of 4"):
        angles.dealt(6, THETA)
    with pytest.raises(ValueError, match="a rotary width of 7 was given"):
        xpos.bases(7)


@pytest.mark.parametrize("module", [exact, angles, xpos, by_keys])
def test_definitions_take_nothing_from_the_production_code(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    taken = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rope_compat")
        for alias in node.names
    }
    assert taken <= {"exact", "reference"}
