"""The modules whose `apply_rotary_pos_emb` had forms that no other module had."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from support.installed import RELEASE, has_module, installed_targets, load
from support.tensors import sample

import rope_compat
from rope_compat import catalog
from rope_compat._facts.function_names import NAMES
from rope_compat.rotary import reference

NAME = "apply_rotary_pos_emb"
INSTALLED = {module for module, _ in installed_targets(NAME)}
JAPANESE = "transformers.models.gpt_neox_japanese.modeling_gpt_neox_japanese"
ESM = "transformers.models.esm.modeling_esm"


def modules_that_had(word: str) -> list[str]:
    """Installed modules whose function once had `word` in its signature."""
    return [
        module
        for module, name in catalog.functions(NAMES)
        if name == NAME
        and module in INSTALLED
        and any(word in span.signature for span in catalog.spans(module, name))
    ]


def test_gpt_neox_japanese_takes_offset_on_every_release() -> None:
    data = sample()
    cos, sin = data.cos_table[None, None], data.sin_table[None, None]
    rows = torch.arange(3, 8)
    expected = reference.apply(data.q, data.k, data.cos_table, data.sin_table, rows[None])
    from_zero = reference.apply(data.q, data.k, data.cos_table, data.sin_table, (rows - 3)[None])
    function_module = load(JAPANESE)
    with rope_compat.patched(on_problem="ignore"):
        function = getattr(function_module, NAME)
        for found in (
            function(data.q, data.k, cos, sin, 3),
            function(data.q, data.k, cos, sin, offset=3),
        ):
            for one, other in zip(found, expected, strict=True):
                assert (one.double() - other).abs().max() < 2e-6
        for one, other in zip(function(data.q, data.k, cos, sin), from_zero, strict=True):
            assert (one.double() - other).abs().max() < 2e-6
        # An int beside gathered rows is the axis, as in 5.x, and never an offset.
        q, k = data.in_layout(2)
        turned = reference.apply(q, k, data.cos, data.sin, unsqueeze_dim=2)
        for one, other in zip(function(q, k, data.cos, data.sin, 2), turned, strict=True):
            assert (one.double() - other).abs().max() < 2e-6


@pytest.mark.parametrize(
    "module_name", modules_that_had("offset=0") if JAPANESE not in INSTALLED else [JAPANESE]
)
def test_offset_beside_rows_is_refused(module_name: str) -> None:
    data = sample()
    with rope_compat.patched(on_problem="ignore"), pytest.raises(rope_compat.CallFormError, match="offset"):
        getattr(load(module_name), NAME)(data.q, data.k, data.cos, data.sin, offset=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_esm_takes_one_tensor_and_two(dtype: torch.dtype) -> None:
    data = sample()
    q, k = data.q.to(dtype), data.k.to(dtype)
    cos, sin = data.cos_table[None, None], data.sin_table[None, None]
    first_rows = torch.arange(5)[None]
    expected = reference.apply(q, k, data.cos_table, data.sin_table, first_rows)
    with rope_compat.patched(on_problem="ignore"):
        function = getattr(load(ESM), NAME)
        # To 5.5.4: tables longer than the tensor, result promoted to their dtype.
        single = function(q, cos, sin)
        assert single.dtype == torch.float32
        assert (single.double() - expected[0]).abs().max() < 2e-6
        # From 5.6.0: gathered rows, each result in its tensor's own dtype.
        pair = function(q, k, data.cos_table[first_rows], data.sin_table[first_rows])
        for one, other, x in zip(pair, expected, (q, k), strict=True):
            assert one.dtype == x.dtype
            assert (one.double() - other).abs().max() < (2e-6 if dtype == torch.float32 else 6e-2)


@pytest.mark.parametrize("module_name", [m for m in modules_that_had("(x,") if m != ESM])
def test_single_tensor_modules_take_one_and_two(module_name: str) -> None:
    width = 8 if module_name.endswith("deepseek_v4") else None
    data = sample(width=width)
    q, k = data.in_layout(2)
    with rope_compat.patched(on_problem="ignore"):
        function = getattr(load(module_name), NAME)
        pair = function(q, k, data.cos, data.sin, unsqueeze_dim=2)
        one = function(q, data.cos, data.sin, unsqueeze_dim=2)
        by_position = function(k, data.cos, data.sin, 2)
        with_positions = function(q, data.cos, data.sin, data.position_ids, 2)
        from_tables = function(q, data.cos_table, data.sin_table, data.position_ids, 2)
    assert torch.equal(pair[0], one)
    assert torch.equal(pair[1], by_position)
    assert torch.equal(one, with_positions)
    assert torch.equal(one, from_tables)
    if width is None:
        expected = reference.apply(q, k, data.cos, data.sin, unsqueeze_dim=2)
        assert (one.double() - expected[0]).abs().max() < 2e-6


def test_an_axis_that_a_function_cannot_express_is_refused() -> None:
    def without_axis(q: object, k: object, cos: object, sin: object, position_ids: object) -> object:
        return q, k, cos, sin, position_ids

    data = sample()
    adapted = rope_compat.adapt(without_axis, f"{ESM}:{NAME}")
    with pytest.raises(rope_compat.CallFormError, match="unsqueeze_dim=0 cannot be expressed"):
        adapted(data.q, data.k, data.cos, data.sin, unsqueeze_dim=0)


def test_llama_refuses_one_tensor() -> None:
    """Llama never had `(x, cos, sin)`: three tensors there are a call with one missing."""
    data = sample()
    with rope_compat.patched(on_problem="ignore"):
        llama = load("transformers.models.llama.modeling_llama")
        with pytest.raises(rope_compat.CallFormError, match="rotates q and k"):
            llama.apply_rotary_pos_emb(data.q, data.cos, data.sin)


QWEN4 = "transformers.models.qwen4_exp.modeling_qwen4_exp"


@pytest.mark.parametrize("module_name", [QWEN4] if has_module(QWEN4) and QWEN4 in INSTALLED else [])
def test_qwen4_may_leave_k_out(module_name: str) -> None:
    data = sample()
    module = load(module_name)
    native = getattr(module, NAME)
    expected = native(data.q, None, data.cos, data.sin)
    with rope_compat.patched(on_problem="ignore"):
        function = getattr(module, NAME)
        assert torch.equal(function(data.q, None, data.cos, data.sin), expected)
        assert torch.equal(function(data.q, cos=data.cos, sin=data.sin), expected)
        assert torch.equal(function(data.q, data.cos, data.sin), expected)
        assert torch.equal(function(data.q, data.cos_table, data.sin_table, data.position_ids), expected)
    assert RELEASE


def test_a_function_of_custom_code_that_has_only_the_name_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Qwen-1 and others from Megatron: `(t, freqs)`, with freqs a list of two tensors, or angles."""
    module = ModuleType("transformers_modules.megatron_style")

    def apply_rotary_pos_emb(t: torch.Tensor, freqs: list[torch.Tensor]) -> torch.Tensor:
        return t * freqs[0] + t.flip(-1) * freqs[1]

    apply_rotary_pos_emb.__module__ = module.__name__
    module.__dict__["apply_rotary_pos_emb"] = apply_rotary_pos_emb
    monkeypatch.setitem(sys.modules, module.__name__, module)
    data = sample()
    with rope_compat.patched(on_problem="error"):
        assert module.apply_rotary_pos_emb is apply_rotary_pos_emb
        module.apply_rotary_pos_emb(data.q, [data.q, data.q])
        reasons = dict(rope_compat.status().skipped)
    assert "(t, freqs)" in reasons[f"{module.__name__}:apply_rotary_pos_emb"]
