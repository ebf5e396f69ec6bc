"""explain_mismatch: None exactly where torch broadcasts, and advice that works where it does not."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rope_compat.rotary.layouts import explain_mismatch

QUICK = settings(deadline=None, max_examples=200, database=None)
AXIS = st.sampled_from([1, 2, 3, 4])


def broadcasts(q: tuple[int, ...], cos: tuple[int, ...], dim: int) -> tuple[int, ...] | None:
    try:
        return tuple((torch.empty(q, device="meta") * torch.empty(cos, device="meta").unsqueeze(dim)).shape)
    except RuntimeError:
        return None


@QUICK
@given(
    q=st.one_of(st.tuples(AXIS, AXIS, AXIS), st.tuples(AXIS, AXIS, AXIS, AXIS)),
    cos=st.one_of(
        st.tuples(AXIS, AXIS), st.tuples(AXIS, AXIS, AXIS), st.tuples(st.just(1), st.just(1), AXIS, AXIS)
    ),
    dim=st.integers(-3, 2),
)
def test_none_exactly_where_torch_broadcasts(q, cos, dim):
    shape = broadcasts(q, cos, dim)
    assert (explain_mismatch(q, cos, dim) is None) == (shape is not None)
    assert (explain_mismatch(q, cos, dim, allow_growth=False) is None) == (shape == q)


@QUICK
@given(
    batch=st.integers(1, 4), heads=st.integers(1, 6), length=st.integers(2, 6), shared=st.booleans(),
    late=st.booleans(), rank2=st.booleans(),
)  # fmt: skip
def test_the_advice_given_for_a_layout_works(batch, heads, length, shared, late, rank2):
    assume(heads not in (1, length))
    q = (batch, length, heads, 8) if late else (batch, heads, length, 8)
    cos = (length, 8) if rank2 else (1 if shared else batch, length, 8)
    wrong = (1 if late else 2) if not rank2 else (0 if late else 1)
    message = explain_mismatch(q, cos, wrong)
    assert message is not None
    found = re.search(
        r"its axis of length (\d+), the sequence, is axis (\d), layout \((.*?)\); unsqueeze_dim=(\d) expects "
        r"\((.*?)\)\. Pass unsqueeze_dim=(\d), or transpose q and k with \.transpose\((\d), (\d)\)$",
        message,
    )
    assert found is not None, message
    assert int(found[1]) == q[int(found[2])] == length
    assert found[3] == ("b, s, h, d" if late else "b, h, s, d")
    assert found[5] == ("b, h, s, d" if late else "b, s, h, d")
    assert broadcasts(q, cos, int(found[6])) == q
    swapped = list(q)
    first, second = int(found[7]), int(found[8])
    swapped[first], swapped[second] = swapped[second], swapped[first]
    assert broadcasts(tuple(swapped), cos, wrong) == tuple(swapped)


@pytest.mark.parametrize(
    ("q", "cos", "dim", "said"),
    [
        (
            (2, 7, 4, 64), (2, 7, 64), 1,
            "q has shape (2, 7, 4, 64): its axis of length 7, the sequence, is axis 1, layout (b, s, h, d); "
            "unsqueeze_dim=1 expects (b, h, s, d). Pass unsqueeze_dim=2, or transpose q and k with "
            ".transpose(1, 2)",
        ),
        ((7, 4, 64), (7, 64), 0, "layout (s, h, d); unsqueeze_dim=0 expects (h, s, d). Pass unsqueeze_dim=1"),
        ((2, 4, 7, 64), (2, 7, 32), 1, "cos and sin are half width: pass torch.cat((cos, cos), dim=-1)"),
        ((2, 4, 7, 64), (2, 7, 128), 1, "wider than head_dim: make them with dim=64"),
        ((2, 4, 7, 64), (2, 7, 16), 1, "(partial rotary), rotate q[..., :16] alone"),
        ((2, 4, 7, 64), (2, 9, 64), 1, "axis 2, the sequence in layout (b, h, s, d), has length 7, but cos"),
        ((2, 4, 7, 64), (3, 7, 64), 1, "a batch of 2; cos has shape (3, 7, 64), a batch of 3"),
        ((2, 4, 7, 64), (1, 1, 9, 64), 1, "a table: pass position_ids with it"),
        ((2, 4, 7, 64), (2, 7, 64), 5, "unsqueeze_dim=5 is out of range"),
        ((2, 4, 7, 64), (64,), 1, "expected (b, h, s, d) or (h, s, d), and [S, D] or [B, S, D]"),
    ],
)  # fmt: skip
def test_what_is_said(q, cos, dim, said):
    message = explain_mismatch(q, cos, dim)
    assert message is not None
    assert said in message


def test_as_many_heads_as_the_batch_do_not_lead_the_advice_astray():
    # unsqueeze_dim=0 would broadcast as well, and turn head i by the angles of sample i.
    message = explain_mismatch((3, 3, 7, 8), (3, 7, 8), 2)
    assert message is not None
    assert "Pass unsqueeze_dim=1, or" in message


def test_partial_rotary_allows_a_narrower_cos_and_still_sees_the_layout():
    assert explain_mismatch((2, 4, 7, 64), (2, 7, 16), 1, partial_rotary=True) is None
    message = explain_mismatch((2, 7, 4, 64), (2, 7, 16), 1, name="k", partial_rotary=True)
    assert message is not None
    assert message.startswith("k has shape (2, 7, 4, 64): its axis of length 7")


def test_one_head_in_the_wrong_layout_is_seen_when_growth_is_not_allowed():
    assert explain_mismatch((2, 7, 1, 64), (2, 7, 64), 1) is None
    message = explain_mismatch((2, 7, 1, 64), (2, 7, 64), 1, allow_growth=False)
    assert message is not None
    assert "Pass unsqueeze_dim=2" in message


def test_no_unsqueeze_dim_is_advised_to_a_function_without_one():
    message = explain_mismatch((2, 4, 7, 64), (7, 64), -2, adjustable=False)
    assert message is not None
    assert message.endswith("expected (b, s, h, d). Transpose q and k with .transpose(1, 2)")
    assert "unsqueeze_dim" not in message
