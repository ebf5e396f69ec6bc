"""Weights of one pairing as weights of the other: a permutation, exact, and no score changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rope_compat.errors import ArgumentError
from rope_compat.rotary import reference
from rope_compat.rotary.conversion import convert_fused, convert_pairing, convert_state_dict, fused_groups

QUICK = settings(deadline=None, max_examples=25, database=None)
SIZES = st.fixed_dictionaries(
    {
        "kv_heads": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "turned": st.integers(1, 4),
        "rest": st.integers(0, 3),
        "part": st.sampled_from(["first", "last"]),
        "seed": st.integers(0, 2**31),
    }
)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def scores(
    hidden: Tensor, q: Tensor, k: Tensor, heads: int, kv_heads: int, turned: int, part: str, pairing: str
):
    """Attention scores ``[heads, S, S]`` with code of the given pairing."""
    length = len(hidden)
    cos, sin = reference.cos_sin(length, turned, pairing=pairing)
    found = []
    for weight, count in ((q, heads), (k, kv_heads)):
        x = (hidden @ weight.T).unflatten(-1, (count, -1)).transpose(0, 1)
        if part == "last":
            rest = x.shape[-1] - turned
            x = torch.cat((x[..., :rest], reference.rotate(x[..., rest:], cos, sin, pairing)), -1)
        else:
            x = reference.rotate(x, cos, sin, pairing)
        found.append(x.repeat_interleave(heads // count, 0))
    return found[0] @ found[1].transpose(-1, -2)


@QUICK
@given(sizes=SIZES, to=st.sampled_from(["half", "interleaved"]))
def test_scores_stay_the_same(sizes, to):
    heads, kv_heads = sizes["kv_heads"] * sizes["groups"], sizes["kv_heads"]
    turned, part = 2 * sizes["turned"], sizes["part"]
    dim, seed = turned + sizes["rest"], sizes["seed"]
    hidden, q, k = draw(seed, 5, 7), draw(seed + 1, heads * dim, 7), draw(seed + 2, kv_heads * dim, 7)
    options = {"to": to, "rotary_dim": turned, "part": part}
    new_q = convert_pairing(q, heads=heads, **options)
    new_k = convert_pairing(k, heads=kv_heads, **options)
    before = "interleaved" if to == "half" else "half"
    wanted = scores(hidden, q, k, heads, kv_heads, turned, part, before)
    found = scores(hidden, new_q, new_k, heads, kv_heads, turned, part, to)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)
    if turned > 2:
        unconverted = scores(hidden, q, k, heads, kv_heads, turned, part, to)
        assert not torch.allclose(unconverted, wanted, atol=1e-6)


@QUICK
@given(sizes=SIZES, dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int8]))
def test_there_and_back_gives_the_same_bits(sizes, dtype):
    dim = 2 * sizes["turned"] + sizes["rest"]
    weight = (10 * draw(sizes["seed"], sizes["kv_heads"] * dim, 3)).to(dtype)
    options = {"heads": sizes["kv_heads"], "rotary_dim": 2 * sizes["turned"], "part": sizes["part"]}
    there = convert_pairing(weight, to="half", **options)
    assert there.dtype == dtype
    assert sorted(there.flatten().tolist()) == sorted(weight.flatten().tolist())
    assert torch.equal(convert_pairing(there, to="interleaved", **options), weight)


def test_meta_and_transformers_agree():
    """The permutation of transformers' script that converts Llama's first weights, for q and for k."""
    heads, dim, hidden = 4, 8, 6
    weight = draw(0, heads * dim, hidden)
    upstream = weight.view(heads, dim // 2, 2, hidden).transpose(1, 2).reshape(heads * dim, hidden)
    assert torch.equal(convert_pairing(weight, heads=heads, to="half"), upstream)
    assert torch.equal(convert_pairing(upstream, heads=heads, to="interleaved"), weight)


def test_a_bias_and_a_norm_are_converted_as_weights_are():
    weight, bias = draw(0, 16, 5), draw(1, 16)
    both = torch.cat((weight, bias[:, None]), 1)
    converted = convert_pairing(both, heads=2, to="half")
    assert torch.equal(convert_pairing(weight, heads=2, to="half"), converted[:, :-1])
    assert torch.equal(convert_pairing(bias, heads=2, to="half"), converted[:, -1])


def test_lora_moves_rows_of_b_only():
    a, b = torch.arange(10.0).view(2, 5), torch.arange(32.0).view(16, 2)
    weights = {
        "layers.0.q_proj.lora_A.default.weight": a,
        "layers.0.q_proj.lora_B.default.weight": b,
        "layers.0.v_proj.lora_B.default.weight": b,
    }
    found = convert_state_dict(weights, heads=2, to="interleaved")
    assert found["layers.0.q_proj.lora_A.default.weight"] is a
    assert found["layers.0.v_proj.lora_B.default.weight"] is b
    product = found["layers.0.q_proj.lora_B.default.weight"] @ a
    assert torch.equal(product, convert_pairing(b @ a, heads=2, to="interleaved"))


@pytest.mark.parametrize(
    ("layout", "heads", "kv_heads", "order"),
    [
        ("q|k|v", 4, 2, "qqqqkkvv"),
        ("per head", 2, 2, "qkvqkv"),
        ("per group", 4, 2, "qqkvqqkv"),
        ("per group", 2, 1, "qqkv"),
    ],
)
def test_fused_projections(layout, heads, kv_heads, order):
    assert fused_groups(layout, heads, kv_heads) == list(order)
    fused = draw(3, len(order) * 6, 5)
    found = convert_fused(fused, heads=heads, kv_heads=kv_heads, to="half", layout=layout, rotary_dim=4)
    for kind, before, after in zip(order, fused.split(6), found.split(6), strict=True):
        wanted = before if kind == "v" else convert_pairing(before, heads=1, to="half", rotary_dim=4)
        assert torch.equal(after, wanted)
        assert (kind == "v") == torch.equal(after, before)


def test_a_state_dict_keeps_its_order_and_what_is_not_concerned():
    names = ["embed.weight", "a.q_proj.weight", "a.k_proj.weight", "a.k_proj.bias", "a.v_proj.weight"]
    rows = [3, 16, 8, 8, 8]
    weights = {name: draw(i, count, 4) for i, (name, count) in enumerate(zip(names, rows, strict=True))}
    weights |= {"a.q_norm.weight": draw(9, 4), "b.k_norm.weight": draw(10, 8), "a.q_proj.scale": draw(11, 16)}
    found = convert_state_dict(weights, heads=4, kv_heads=2, to="half")
    assert list(found) == list(weights)
    same = {name for name in weights if found[name] is weights[name]}
    assert same == {"embed.weight", "a.v_proj.weight", "a.q_proj.scale"}
    assert torch.equal(found["a.q_norm.weight"], weights["a.q_norm.weight"][[0, 2, 1, 3]])
    assert torch.equal(found["b.k_norm.weight"], weights["b.k_norm.weight"][[0, 2, 1, 3, 4, 6, 5, 7]])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: convert_pairing(draw(0, 10, 4), heads=3, to="half"), r"shape \(10, 4\).*heads=3.*multiple"),
        (lambda: convert_pairing(draw(0, 6, 4), heads=2, to="half"), r"head of 3 channels.*even"),
        (lambda: convert_pairing(draw(0, 8), heads=2, to="half", rotary_dim=6), r"rotary_dim=6.*at most 4"),
        (lambda: convert_pairing(draw(0, 8), heads=2, to="neox"), r"to='neox'.*\"half\" or \"interleaved\""),
        (lambda: convert_pairing(draw(0, 8), heads=2, to="half", part="mid"), r"part='mid'"),
        (lambda: convert_pairing(draw(0, 8), heads=0, to="half"), r"heads=0.*number of heads"),
        (lambda: convert_fused(draw(0, 24), heads=2, to="half", layout="kqv"), r"layout='kqv'.*per group"),
        (
            lambda: convert_fused(draw(0, 24), heads=4, kv_heads=2, to="half", layout="per head"),
            r"one k and v for each q.*kv_heads=2",
        ),
        (lambda: fused_groups("q|k|v", 4, 3), r"heads=4, kv_heads=3.*multiple"),
        (
            lambda: convert_state_dict({"a.weight": draw(0, 8)}, heads=2, to="half"),
            r"none of 1 tensors.*q_proj",
        ),
        (
            lambda: convert_state_dict({"l.q_proj.weight": draw(0, 9, 2)}, heads=2, to="half"),
            r"shape \(9, 2\)",
        ),
        (
            lambda: convert_state_dict({"l.wqkv.weight": draw(0, 9, 2)}, heads=2, to="half", fused=("wqkv",)),
            r"without layout",
        ),
        (
            lambda: convert_state_dict({"l.q_norm.weight": draw(0, 8)}, heads=2, to="half"),
            r"l\.q_norm\.weight: .*head_dim",
        ),
        (
            lambda: convert_state_dict({"l.q_norm.weight": draw(0, 6)}, heads=2, to="half", head_dim=4),
            r"length 6 is neither",
        ),
    ],
)
def test_what_does_not_fit_is_said(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
