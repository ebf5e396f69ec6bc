"""Layouts of cos and sin: classification, look-up, conversions there and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_compat.errors import CallFormError, LayoutError
from rope_compat.rotary import layouts, reference

QUICK = settings(deadline=None, max_examples=30, database=None)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


def tables(
    rows: int = 9, dim: int = 8, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = reference.cos_sin(rows, dim)
    return cos.to(dtype), sin.to(dtype)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((9, 8), True),
        ((1, 1, 9, 8), True),
        ((2, 9, 8), False),
        ((1, 9, 8), False),
        ((2, 1, 9, 8), False),
        ((8,), False),
    ],
)
def test_is_table(shape, expected):
    assert layouts.is_table(torch.zeros(shape)) is expected


def test_is_position_ids_takes_integer_tensors_of_one_or_two_axes():
    assert layouts.is_position_ids(torch.arange(4))
    assert layouts.is_position_ids(torch.zeros(2, 4, dtype=torch.int32))
    assert not layouts.is_position_ids(torch.zeros(3, 2, 4, dtype=torch.int64))
    assert not layouts.is_position_ids(torch.zeros(2, 4))
    assert not layouts.is_position_ids(torch.zeros(2, 4, dtype=torch.bool))
    assert not layouts.is_position_ids(2)


def test_as_table_and_back_are_views():
    cos, _ = tables()
    assert layouts.as_table(cos) is cos
    assert torch.equal(layouts.as_table(cos[None, None]), cos)
    assert layouts.as_old_table(cos).shape == (1, 1, 9, 8)
    assert layouts.as_old_table(cos).data_ptr() == cos.data_ptr()
    with pytest.raises(CallFormError, match=r"\(2, 9, 8\); expected a table, \[S, D\].*leave these out"):
        layouts.as_table(cos.expand(2, 9, 8))


@QUICK
@given(data=st.data(), dtype=st.sampled_from(DTYPES), index=st.sampled_from(INTEGERS), old=st.booleans())
def test_index_tables_is_upstreams_look_up(data, dtype, index, old):
    rows, batch, length = (data.draw(st.integers(1, 6)) for _ in range(3))
    cos, sin = tables(rows, 4, dtype)
    ids = data.draw(st.lists(st.integers(0, rows - 1), min_size=batch * length, max_size=batch * length))
    position_ids = torch.tensor(ids, dtype=torch.int64).view(batch, length)
    given_cos, given_sin = (cos[None, None], sin[None, None]) if old else (cos, sin)
    got = layouts.index_tables(given_cos, given_sin, position_ids.to(index))
    assert torch.equal(got[0], cos[position_ids])
    assert torch.equal(got[1], sin[position_ids])
    assert got[0].shape == (batch, length, 4)
    assert got[0].dtype == dtype

    # transformers 4.28 to 4.30 gathered from [1, 1, S, D] instead.
    wanted = position_ids[:, None, :, None].repeat(1, 1, 1, 4)
    gathered = torch.gather(cos[None, None].repeat(batch, 1, 1, 1), 2, wanted)
    assert torch.equal(got[0], gathered[:, 0])


def test_index_tables_takes_one_row_of_positions():
    cos, sin = tables()
    got, _ = layouts.index_tables(cos, sin, torch.tensor([3, 1]))
    assert torch.equal(got, cos[None, [3, 1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_index_tables_refuses_positions_that_are_no_integers(dtype):
    cos, sin = tables()
    with pytest.raises(CallFormError, match=f"position_ids has dtype {dtype}; expected integers"):
        layouts.index_tables(cos, sin, torch.ones(1, 9, dtype=dtype))


def test_index_tables_refuses_other_shapes():
    cos, sin = tables()
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(CallFormError, match=r"cos has shape \(9, 8\), sin \(8, 8\)"):
        layouts.index_tables(cos, sin[:8], ids)
    with pytest.raises(CallFormError, match=r"\(3, 1, 4\); expected \[B, s\] or \[s\]"):
        layouts.index_tables(cos, sin, ids.expand(3, 1, 4))
    with pytest.raises(CallFormError, match="expected a table"):
        layouts.index_tables(cos[None], sin[None], ids)


def test_a_position_beyond_the_table_is_torchs_own_error():
    cos, sin = tables()
    with pytest.raises(IndexError, match="out of bounds"):
        layouts.index_tables(cos, sin, torch.tensor([9]))


@QUICK
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 5),
    half=st.integers(1, 4),
    dtype=st.sampled_from(DTYPES),
    flat=st.booleans(),
)
def test_flatten_to_table_then_indexing_is_the_identity(batch, length, half, dtype, flat):
    shape = (length, 2 * half) if flat else (batch, length, 2 * half)
    cos, sin = (torch.randn(shape).to(dtype) for _ in range(2))
    rows_cos, rows_sin, ids = layouts.flatten_to_table(cos, sin)
    assert ids.dtype == torch.int64
    assert rows_cos.ndim == rows_sin.ndim == 2
    expected = cos[None] if flat else cos, sin[None] if flat else sin
    assert torch.equal(rows_cos[ids], expected[0])
    assert torch.equal(rows_sin[ids], expected[1])
    old_cos, old_sin, old_ids = layouts.flatten_to_old_table(cos, sin)
    assert old_cos.shape == (1, 1, *rows_cos.shape)
    again = layouts.index_tables(old_cos, old_sin, old_ids)
    assert torch.equal(again[0], expected[0])
    assert torch.equal(again[1], expected[1])


def test_flatten_to_table_passes_gradients_and_takes_views():
    cos = torch.randn(1, 4, 8, requires_grad=True)
    rows, _, ids = layouts.flatten_to_table(cos.expand(3, 4, 8), cos.expand(3, 4, 8))
    rows[ids].sum().backward()
    assert torch.equal(cos.grad, torch.full((1, 4, 8), 3.0))


def test_flatten_to_table_refuses_other_shapes():
    with pytest.raises(CallFormError, match=r"\(3, 2, 4, 8\); expected gathered values"):
        layouts.flatten_to_table(torch.zeros(3, 2, 4, 8), torch.zeros(3, 2, 4, 8))
    with pytest.raises(CallFormError, match="expected one shape"):
        layouts.flatten_to_table(torch.zeros(2, 4, 8), torch.zeros(2, 4, 4))


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_half_and_full_width_undo_each_other(pairing, dtype):
    half = torch.randn(2, 5, 3).to(dtype)
    full = layouts.half_to_full(half, pairing)
    assert full.shape == (2, 5, 6)
    assert torch.equal(layouts.full_to_half(full, pairing), half)


def test_full_width_follows_the_pairing():
    assert layouts.half_to_full(torch.tensor([1, 2]), "half").tolist() == [1, 2, 1, 2]
    assert layouts.half_to_full(torch.tensor([1, 2]), "interleaved").tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_freqs_give_the_tables_of_the_reference(pairing):
    freqs = reference.freqs(7, 8)
    got = layouts.freqs_to_cos_sin(freqs, pairing)
    for a, b in zip(got, reference.cos_sin(7, 8, pairing=pairing), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-15)


# fp64 and fp32: the rounding of an angle of up to pi, and of a point not quite on the circle. Half precision:
# the rounding of the table itself, which moves the point off the circle.
@pytest.mark.parametrize(
    ("dtype", "atol"),
    [(torch.float64, 1e-15), (torch.float32, 3e-7), (torch.float16, 4e-4), (torch.bfloat16, 3e-3)],
)
@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_unscaled_tables_survive_the_way_through_angles(dtype, atol, pairing):
    cos, sin = (t.to(dtype) for t in reference.cos_sin(500, 16, pairing=pairing))
    freqs = layouts.cos_sin_to_freqs(cos, sin, pairing)
    assert freqs.shape == (500, 8)
    assert freqs.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    back = layouts.freqs_to_cos_sin(freqs, pairing)
    torch.testing.assert_close(back[0].double(), cos.double(), rtol=0, atol=atol)
    torch.testing.assert_close(back[1].double(), sin.double(), rtol=0, atol=atol)


def test_a_scaled_table_loses_its_scale_through_angles():
    plain = reference.cos_sin(20, 8)
    scaled = reference.cos_sin(20, 8, scaling=1.5)
    torch.testing.assert_close(layouts.cos_sin_to_freqs(*scaled), layouts.cos_sin_to_freqs(*plain))


def test_conversions_refuse_what_they_cannot_convert():
    with pytest.raises(LayoutError, match="odd width"):
        layouts.full_to_half(torch.zeros(2, 3))
    for convert in (layouts.half_to_full, layouts.full_to_half):
        with pytest.raises(CallFormError, match="pairing='neox'"):
            convert(torch.zeros(2, 4), "neox")  # type: ignore[arg-type]
    with pytest.raises(CallFormError, match="expected one shape"):
        layouts.cos_sin_to_freqs(torch.zeros(2, 4), torch.zeros(4))
