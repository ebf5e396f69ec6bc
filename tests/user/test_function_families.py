"""The other families: `_interleave`, `_2d`, `_esm`, in every form, and `rope_compat.adapt` for each."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.families import cases, draw, largest_error, tables
from support.installed import RELEASE, has_module, installed_targets
from support.tensors import sample
from torch import Tensor

import rope_compat
from rope_compat import catalog
from rope_compat._facts.function_names import NAMES
from rope_compat.rotary import reference
from rope_compat.rotary.operations import pairwise_2d, rotate, rotate_pair, vision

HERE = Version(RELEASE)
INTERLEAVE, TWO_D, ESM = (
    "apply_rotary_pos_emb_interleave",
    "apply_rotary_pos_emb_2d",
    "apply_rotary_pos_emb_esm",
)
DSA = "transformers.models.glm_moe_dsa.modeling_glm_moe_dsa"
SAM3 = "transformers.models.sam3.modeling_sam3"
EVOLLA = "transformers.models.evolla.modeling_evolla"
#: Installed, or restored.
INTERLEAVES = [module for module, _ in catalog.functions([INTERLEAVE]) if has_module(module)]
TWO_DS = [module for module, _ in installed_targets(TWO_D)]


def short(module: str) -> str:
    return module.rpartition(".")[2]


def load(module: str) -> Any:
    return importlib.import_module(module)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("module", INTERLEAVES, ids=short)
def test_interleave_takes_every_form(module: str, axis: int) -> None:
    native = getattr(load(module), INTERLEAVE, None)
    data = sample()
    q, k = data.in_layout(axis)
    cos, sin, rows, table = data.cos, data.sin, data.position_ids, (data.cos_table, data.sin_table)
    expected = reference.deinterleave(q, k, cos, sin, axis)
    with rope_compat.patched(on_problem="error"):
        function = getattr(load(module), INTERLEAVE)
        plain = function(q, k, cos, sin, unsqueeze_dim=axis)
        calls = {
            "plain": plain,
            "axis in fifth place": function(q, k, cos, sin, axis),
            "gathered": function(q, k, cos, sin, rows, axis),
            "None": function(q, k, cos, sin, None, axis),
            "gathered, by name": function(q, k, cos, sin, position_ids=rows, unsqueeze_dim=axis),
            "tables": function(q, k, *table, rows, axis),
            "rank-4 tables": function(q, k, *(t[None, None] for t in table), rows, unsqueeze_dim=axis),
        }
        for form, found in calls.items():
            assert largest_error(found, expected) < 2e-6, form
            assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True)), form
        with pytest.raises(rope_compat.CallFormError, match=r"(?s)interleave.*other forms"):
            function(q, k, cos, sin, rows.float())
    if native is not None:
        own = native(q, k, cos, sin, unsqueeze_dim=axis)
        assert all(torch.equal(one, other) for one, other in zip(plain, own, strict=True))


@pytest.mark.only(Version("5.22") <= HERE, reason="Mistral Large 4 came with 5.22.0")
def test_k_may_be_none_where_the_function_says_so() -> None:
    module = load("transformers.models.mistral_large4.modeling_mistral_large4")
    data = sample()
    with rope_compat.patched(on_problem="error"):
        q, k = module.apply_rotary_pos_emb_interleave(data.q, None, data.cos, data.sin)
    assert k is None
    assert largest_error(q, reference.deinterleave(data.q, data.k, data.cos, data.sin)[0]) < 2e-6


def options_2d() -> dict[str, tuple[Tensor, tuple[Tensor, Tensor], tuple[Any, ...]]]:
    """k, cos and sin, and what follows sin."""
    cos, sin = tables(8, pairing="interleaved")
    rank4 = (cos[None, None], sin[None, None])
    return {
        "none": (draw(2, 3, 8, 16, seed=2), (cos, sin), ()),
        "tokens that pass through": (draw(2, 3, 10, 16, seed=2), (cos, sin), (2,)),
        "all pass through": (draw(2, 3, 4, 16, seed=2), (cos, sin), (4, True)),
        "a longer k": (draw(2, 3, 16, 16, seed=2), rank4, (0, True)),
        "both": (draw(2, 3, 19, 16, seed=2), rank4, (3, True)),
    }


def expected_2d(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, excluded: int = 0) -> tuple[Tensor, Tensor]:
    turning = k.shape[-2] - excluded
    cos, sin = cos.reshape(-1, cos.shape[-1]), sin.reshape(-1, sin.shape[-1])
    rows = torch.arange(turning) % cos.shape[0]
    turned = reference.rotate(k[..., :turning, :], cos[rows], sin[rows], "interleaved")
    return reference.rotate(q, cos, sin, "interleaved"), torch.cat([turned, k[..., turning:, :].double()], -2)


@pytest.mark.parametrize("module", TWO_DS, ids=short)
def test_2d_takes_options_in_every_module(module: str) -> None:
    native, q = getattr(load(module), TWO_D), draw(2, 3, 8, 16)
    with rope_compat.patched(on_problem="error"):
        function = getattr(load(module), TWO_D)
        assert (function is native) == (module != SAM3)
        for form, (k, cos_sin, options) in options_2d().items():
            expected = expected_2d(q, k, *cos_sin, *options[:1])
            found = function(q, k, *cos_sin, *options)
            assert largest_error(found, expected) < 2e-6, form
            names = dict(zip(("num_k_exclude_rope", "repeat_freqs_k"), options, strict=False))
            by_name = function(q, k, *cos_sin, **names)
            assert all(torch.equal(one, other) for one, other in zip(found, by_name, strict=True)), form
            explicit = rope_compat.functional.apply_rotary_pos_emb_2d(q, k, *cos_sin, *options)
            assert all(torch.equal(one, other) for one, other in zip(found, explicit, strict=True)), form


@pytest.mark.only(SAM3 in TWO_DS, reason="SAM 3 came with 5.0.0")
def test_2d_of_sam3_refuses_what_is_no_form() -> None:
    q, k, (cos, sin) = draw(2, 3, 8, 16), draw(2, 3, 8, 16), tables(8, pairing="interleaved")
    with rope_compat.patched(on_problem="error"):
        function = load(SAM3).apply_rotary_pos_emb_2d
        for rest, names in (
            ((True,), {}),
            ((0, 1), {}),
            ((0, False, 1), {}),
            ((0,), {"k": k}),
            ((), {"x": 1}),
        ):
            with pytest.raises(rope_compat.CallFormError, match="num_k_exclude_rope"):
                function(q, k, cos, sin, *rest, **names)


@pytest.mark.only(has_module(EVOLLA), reason="Evolla came with 4.54.0")
def test_esm_of_evolla_takes_every_form() -> None:
    data = sample()
    table4 = tuple(table[None, None] for table in (data.cos_table, data.sin_table))
    length = data.q.shape[-2]
    first = reference.apply(data.q, data.k, data.cos_table[None, :length], data.sin_table[None, :length])
    gathered = reference.apply(data.q, data.k, data.cos, data.sin)
    native = getattr(load(EVOLLA), ESM, None)
    with rope_compat.patched(on_problem="error"):
        function = getattr(load(EVOLLA), ESM)
        one = function(data.q, *table4)
        assert largest_error(one, first[0]) < 2e-6
        assert native is None or torch.equal(one, native(data.q, *table4))
        assert largest_error(function(data.q, data.cos, data.sin), gathered[0]) < 2e-6
        assert largest_error(function(data.q, data.k, data.cos, data.sin), gathered) < 2e-6
        positions = (data.cos_table, data.sin_table, data.position_ids)
        assert largest_error(function(data.q, data.k, *positions), gathered) < 2e-6


@pytest.mark.only(has_module(DSA), reason="GLM-MoE-DSA came with 5.2.0")
def test_glm_moe_dsa_takes_one_tensor_and_two_wherever_it_has_the_function_or_not() -> None:
    data = sample()
    expected = reference.apply(data.q, data.k, data.cos, data.sin)
    with rope_compat.patched(on_problem="error"):
        function = load(DSA).apply_rotary_pos_emb
        assert largest_error(function(data.q, data.cos, data.sin), expected[0]) < 2e-6
        assert largest_error(function(data.q, data.k, data.cos, data.sin), expected) < 2e-6


def test_the_explicit_interleave() -> None:
    (case,) = cases("deinterleave")
    q, k, cos, sin = case.arguments
    function = rope_compat.functional.apply_rotary_pos_emb_interleave
    for rest in ((cos, sin), (cos, sin, None, 1), (cos, sin, 1), (cos, sin, torch.zeros(2, 5).long())):
        assert largest_error(function(q, k, *rest), case.expected(q, k, cos, sin)) < 2e-6


def esm_like(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return rotate(x, cos[:, :, : x.shape[-2]], sin[:, :, : x.shape[-2]])


def sections_like(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Any, unsqueeze_dim: int = 1
) -> Any:
    return reference.multimodal(q, k, cos, sin, mrope_section, unsqueeze_dim)


REPLACEMENTS: dict[str, Any] = {
    "apply_rotary_pos_emb": rotate_pair,
    "apply_rotary_pos_emb_vision": vision,
    "apply_rotary_pos_emb_flashatt": vision,
    INTERLEAVE: rotate_pair,
    "apply_multimodal_rotary_pos_emb": sections_like,
    TWO_D: pairwise_2d,
    ESM: esm_like,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_replacement_for_each_family_can_be_adapted(name: str) -> None:
    adapted = rope_compat.adapt(REPLACEMENTS[name], name)
    assert (adapted is pairwise_2d) == (name == TWO_D)
    with pytest.raises(rope_compat.ArgumentError, match="cannot stand for"):
        rope_compat.adapt(lambda nothing: nothing, name)


@pytest.mark.only(Version("4.51") <= HERE, reason="DeepSeek-V3 came with 4.51.0")
def test_a_users_replacement_is_adapted_in_place() -> None:
    module = load("transformers.models.deepseek_v3.modeling_deepseek_v3")
    data, native = sample(), getattr(module, INTERLEAVE)

    def mine(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> Any:
        return rotate_pair(q, k, cos, sin, unsqueeze_dim)

    setattr(module, INTERLEAVE, mine)
    try:
        with rope_compat.patched(on_problem="error"):
            found = getattr(module, INTERLEAVE)(data.q, data.k, data.cos, data.sin, data.position_ids, 1)
            assert largest_error(found, reference.apply(data.q, data.k, data.cos, data.sin)) < 2e-6
        assert getattr(module, INTERLEAVE) is mine
    finally:
        setattr(module, INTERLEAVE, native)


@pytest.mark.only(Version("5.17") <= HERE, reason="Qwen2-VL has the function to 5.16.1")
def test_an_assignment_that_nothing_looks_up_is_told() -> None:
    module = load("transformers.models.qwen2_vl.modeling_qwen2_vl")
    module.apply_multimodal_rotary_pos_emb = sections_like
    try:
        with rope_compat.patched(on_problem="ignore"):
            skipped = dict(rope_compat.status().skipped)
            target = f"{module.__name__}:apply_multimodal_rotary_pos_emb"
            assert "without effect" in skipped[target]
    finally:
        del module.apply_multimodal_rotary_pos_emb
