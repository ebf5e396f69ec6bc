"""rotate, vision and vision_single: upstream's formulas to the bit, the reference within rounding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_compat.errors import CallFormError, LayoutError
from rope_compat.rotary import layouts, operations, reference

QUICK = settings(deadline=None, max_examples=30, database=None)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = {
    "batch": st.integers(1, 3),
    "heads": st.integers(1, 3),
    "length": st.integers(1, 5),
    "half": st.integers(1, 6),
}
SEEDS = st.integers(0, 2**31)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def upstream(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, pairing: str = "half") -> torch.Tensor:
    """The formula as ``modeling_llama.py`` ("half") and ``modeling_gptj.py`` ("interleaved") write it."""
    if pairing == "half":
        half = x.shape[-1] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    else:
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return (x * cos) + (turned * sin)


def rounding(x: torch.Tensor, computed_in: torch.dtype, kept_in: torch.dtype) -> float:
    """The largest error that rounding explains.

    Two products and a sum, each rounded once, with |cos| and |sin| at most 1: eps (|x cos| + |y sin|), so
    2 eps max|x|; and the rounding of the result, 1.5 max|x| at most, to the dtype that is handed back.
    """
    largest = x.double().abs().max().item()
    kept = 0.0 if kept_in == computed_in else torch.finfo(kept_in).eps * largest
    return 2 * torch.finfo(computed_in).eps * largest + kept + torch.finfo(kept_in).tiny


@QUICK
@given(
    **SIZES,
    seed=SEEDS,
    pairing=st.sampled_from(["half", "interleaved"]),
    dtype=st.sampled_from(DTYPES),
    table=st.sampled_from(DTYPES),
)
def test_rotate_is_upstreams_formula_and_the_reference(
    batch, heads, length, half, seed, pairing, dtype, table
):
    x = draw(seed, batch, heads, length, 2 * half, dtype=dtype)
    cos, sin = (t.to(table) for t in reference.cos_sin(length, 2 * half, pairing=pairing))
    got = operations.rotate(x, cos, sin, pairing=pairing)
    assert torch.equal(got, upstream(x, cos, sin, pairing))
    assert got.dtype == torch.promote_types(dtype, table)
    assert got.shape == x.shape
    expected = reference.rotate(x, cos, sin, pairing)
    atol = rounding(x, got.dtype, got.dtype)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=atol)


@QUICK
@given(**SIZES, seed=SEEDS, extra=st.integers(1, 5), pairing=st.sampled_from(["half", "interleaved"]))
def test_rotate_turns_only_as_many_channels_as_cos_has(batch, heads, length, half, seed, extra, pairing):
    x = draw(seed, batch, heads, length, 2 * half + extra)
    cos, sin = (t.float() for t in reference.cos_sin(length, 2 * half, pairing=pairing))
    got = operations.rotate(x, cos, sin, pairing=pairing)
    assert got.shape == x.shape
    assert torch.equal(got[..., : 2 * half], upstream(x[..., : 2 * half], cos, sin, pairing))
    assert torch.equal(got[..., 2 * half :], x[..., 2 * half :])


def test_rotate_takes_tables_whose_columns_differ_within_a_pair():
    # Multimodal sections may be merged so that the two columns of a pair come from different positions.
    x, cos, sin = draw(1, 2, 5, 8), draw(2, 5, 8), draw(3, 5, 8)
    expected = reference.rotate(x, cos, sin)
    torch.testing.assert_close(operations.rotate(x, cos, sin).double(), expected, rtol=0, atol=1e-5)


def test_rotate_refuses_widths_that_cannot_be():
    x = torch.zeros(2, 3, 5, 8)
    for width_cos, width_sin in ((10, 10), (3, 3), (8, 4)):
        with pytest.raises(LayoutError, match=r"expected cos and sin of one even width of at most 8"):
            operations.rotate(x, torch.zeros(5, width_cos), torch.zeros(5, width_sin))
    with pytest.raises(CallFormError, match="pairing='neox'"):
        operations.rotate(x, torch.zeros(5, 8), torch.zeros(5, 8), pairing="neox")  # type: ignore[arg-type]


def upstream_vision(q, k, cos, sin):
    """``apply_rotary_pos_emb_vision`` of ``modeling_qwen2_vl.py`` 4.50.0 and later."""
    cos, sin = cos.unsqueeze(-2).float(), sin.unsqueeze(-2).float()
    return upstream(q.float(), cos, sin).to(q.dtype), upstream(k.float(), cos, sin).to(k.dtype)


def upstream_vision_single(tensor, freqs):
    """``apply_rotary_pos_emb_vision`` of ``modeling_qwen2_vl.py`` 4.45.0 to 4.48.3."""
    cos = freqs.cos().unsqueeze(1).repeat(1, 1, 2).unsqueeze(0).float()
    sin = freqs.sin().unsqueeze(1).repeat(1, 1, 2).unsqueeze(0).float()
    return upstream(tensor.float(), cos, sin).to(tensor.dtype)


@QUICK
@given(
    **SIZES,
    seed=SEEDS,
    q_dtype=st.sampled_from(DTYPES),
    k_dtype=st.sampled_from(DTYPES),
    table=st.sampled_from(DTYPES),
    ranks=st.sampled_from([(3, 2), (4, 2), (4, 3)]),
)
def test_vision_is_upstreams_formula_and_the_reference(
    batch, heads, length, half, seed, q_dtype, k_dtype, table, ranks
):
    lead = () if ranks[0] == 3 else (batch,)
    q = draw(seed, *lead, length, heads, 2 * half, dtype=q_dtype)
    k = draw(seed + 1, *lead, length, 2, 2 * half, dtype=k_dtype)
    cos, sin = (t.to(table) for t in reference.cos_sin(length, 2 * half))
    if ranks[1] == 3:
        cos, sin = cos.expand(batch, -1, -1), sin.expand(batch, -1, -1)
    got = operations.vision(q, k, cos, sin)
    for mine, theirs in zip(got, upstream_vision(q, k, cos, sin), strict=True):
        assert torch.equal(mine, theirs)
    for x, mine, expected in zip((q, k), got, reference.vision(q, k, cos, sin), strict=True):
        assert mine.dtype == x.dtype
        # float64 input and tables are themselves rounded to float32 first: as much again.
        atol = 2 * rounding(x, torch.float32, x.dtype)
        torch.testing.assert_close(mine.double(), expected, rtol=0, atol=atol)


@QUICK
@given(**SIZES, seed=SEEDS, dtype=st.sampled_from(DTYPES), table=st.sampled_from(DTYPES))
def test_vision_single_is_upstreams_formula_and_the_reference(batch, heads, length, half, seed, dtype, table):
    tensor = draw(seed, batch, length, heads, 2 * half, dtype=dtype)
    freqs = reference.freqs(length, 2 * half).to(table)
    got = operations.vision_single(tensor, freqs)
    assert torch.equal(got, upstream_vision_single(tensor, freqs))
    assert got.dtype == dtype
    assert got.shape == tensor.shape
    # cos and sin are taken in the dtype of freqs: their rounding, times x, on top.
    largest = tensor.double().abs().max().item()
    atol = 2 * rounding(tensor, torch.float32, dtype) + 2 * torch.finfo(table).eps * largest
    expected = reference.rotate_by_angle(tensor, freqs[:, None])
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=atol)


def test_vision_names_the_layout_it_expects():
    q, cos = torch.zeros(2, 4, 7, 8), torch.zeros(7, 8)
    with pytest.raises(LayoutError, match=r"expected \(b, s, h, d\)\. Transpose q and k"):
        operations.vision(q, q, cos, cos)
    with pytest.raises(LayoutError, match=r"^k has shape \(2, 4, 7, 8\)"):
        operations.vision(q.transpose(1, 2), q, cos, cos)
    with pytest.raises(CallFormError, match="expected one shape for both"):
        operations.vision(q.transpose(1, 2), q.transpose(1, 2), cos, cos[None])


def test_vision_does_not_spread_one_head_over_all_positions():
    q, cos = torch.zeros(1, 1, 7, 8), torch.zeros(7, 8)
    with pytest.raises(LayoutError, match=r"layout \(b, h, s, d\)"):
        operations.vision(q, q, cos, cos)


@pytest.mark.parametrize("freqs", [(7, 8), (6, 4), (1, 7, 4)])
def test_vision_single_refuses_angles_that_do_not_fit(freqs):
    with pytest.raises(LayoutError, match=r"expected a tensor \(b, s, h, d\) and freqs \(s, d / 2\)"):
        operations.vision_single(torch.zeros(1, 7, 2, 8), torch.zeros(freqs))


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("width", [8, 4])
def test_gradients_of_rotate_are_the_references(pairing, width):
    inputs = [draw(1, 2, 3, 5, 8), draw(2, 5, width), draw(3, 5, width)]
    weight = draw(4, 2, 3, 5, 8, dtype=torch.float64)

    def gradients(function):
        leaves = [t.double().requires_grad_() for t in inputs]
        return torch.autograd.grad((function(*leaves) * weight).sum(), leaves)

    mine = gradients(lambda x, c, s: operations.rotate(x, c, s, pairing=pairing))
    theirs = gradients(lambda x, c, s: reference.rotate(x, c, s, pairing))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_gradients_reach_q_through_look_up_and_rotation():
    cos, sin = reference.cos_sin(9, 8)
    ids = torch.tensor([[0, 2, 8], [3, 4, 5]])
    weight = draw(6, 2, 3, 3, 8, dtype=torch.float64)

    def gradients(function):
        x, c, s = (t.clone().requires_grad_() for t in (draw(5, 2, 3, 3, 8, dtype=torch.float64), cos, sin))
        return torch.autograd.grad((function(x, c, s) * weight).sum(), (x, c, s))

    def production(x, c, s):
        c, s = layouts.index_tables(c, s, ids)
        return operations.rotate(x, c.unsqueeze(1), s.unsqueeze(1))

    for a, b in zip(
        gradients(production), gradients(lambda x, c, s: reference.apply(x, x, c, s, ids)[0]), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_vision_are_the_references(dtype):
    cos, sin = (t.float() for t in reference.cos_sin(5, 8))
    values = draw(1, 5, 3, 8, dtype=dtype), draw(2, 5, 3, 8, dtype=dtype)
    weight = draw(3, 5, 3, 8, dtype=dtype)

    def gradients(function):
        q, k = (t.clone().requires_grad_() for t in values)
        out = function(q, k, cos, sin)
        return torch.autograd.grad(out, (q, k), [weight.to(o.dtype) for o in out])

    for a, b in zip(gradients(operations.vision), gradients(reference.vision), strict=True):
        assert a.dtype == dtype
        # The gradient of a rotation is a rotation of the weight; the reference's own is rounded to dtype too.
        atol = 2 * rounding(weight, torch.float32, dtype) + torch.finfo(dtype).eps * weight.abs().max().item()
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=atol)
