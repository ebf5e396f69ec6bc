"""apply_rotary_pos_emb with freqs and scale of every rank, as installed, against float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from support import xt
from torch import Tensor

import rope_compat
from rope_compat.errors import CallFormError, LayoutError

pytestmark = xt.present

BATCH, HEADS, LENGTH, DIM = 2, 3, 5, 8
ROWS = torch.tensor([[0, 1, 2, 3, 4], [7, 8, 9, 13, 20]])
ROW = torch.tensor([2, 3, 4, 9, 27])

#: freqs as releases have handed them over: what they are made of, and their axes before [n, d].
FREQS = {
    "[n, d]": (ROW, ()),
    "[1, n, d]": (ROW, (1,)),
    "[1, 1, n, d]": (ROW, (1, 1)),
    "[b, n, d]": (ROWS, (BATCH,)),
    "[b, 1, n, d]": (ROWS, (BATCH, 1)),
}


@pytest.fixture(autouse=True)
def _patched() -> Iterator[None]:
    with rope_compat.patched():
        yield


def apply(*args: object) -> Tensor:
    result: Tensor = xt.home().apply_rotary_pos_emb(*args)
    return result


def shaped(values: Tensor, leading: tuple[int, ...]) -> Tensor:
    return values.reshape(*leading, *values.shape[-2:])


def over_heads(values: Tensor) -> Tensor:
    return values[:, None] if values.dim() == 3 else values


@pytest.mark.parametrize("form", FREQS)
@pytest.mark.parametrize("dim", [DIM, DIM + 4], ids=["whole", "partial"])
@pytest.mark.parametrize("queries", [LENGTH, 2], ids=["all", "last"])
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "xpos"])
def test_every_rank(form: str, dim: int, queries: int, scaled: bool) -> None:
    positions, leading = FREQS[form]
    t = torch.randn(BATCH, HEADS, queries, dim)
    freqs, scale = xt.angles(positions, DIM), xt.scales(positions, DIM) if scaled else torch.ones(())
    given = shaped(scale.float(), leading) if scaled else 1
    found = apply(t, shaped(freqs.float(), leading), given)
    expected = xt.rotate(t, over_heads(freqs[..., -queries:, :]))
    if scaled:
        expected[..., :DIM] *= over_heads(scale[..., -queries:, :])
    assert found.dtype == t.dtype
    torch.testing.assert_close(found.double(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("form", ["[n, d]", "[1, n, d]", "[b, n, d]"])
def test_keys_of_one_head_have_rank_three(form: str) -> None:
    positions, leading = FREQS[form]
    t = torch.randn(BATCH, LENGTH, DIM)
    freqs = xt.angles(positions, DIM)
    found = apply(t, shaped(freqs.float(), leading))
    torch.testing.assert_close(found.double(), xt.rotate(t, freqs), rtol=2e-6, atol=2e-6)


def test_as_many_heads_as_samples_each_has_the_scale_of_its_own_sample() -> None:
    t, freqs, scale = torch.randn(2, 2, LENGTH, DIM), xt.angles(ROWS, DIM), xt.scales(ROWS, DIM)
    found = apply(t, freqs.float(), scale.float())
    expected = xt.rotate(t, freqs[:, None]) * scale[:, None]
    torch.testing.assert_close(found.double(), expected, rtol=2e-6, atol=2e-6)


def test_a_larger_batch_than_there_are_positions() -> None:
    rows = torch.arange(21).reshape(7, 3)
    t = torch.randn(7, HEADS, 3, DIM)
    found = apply(t, xt.angles(rows, DIM).float())
    torch.testing.assert_close(
        found.double(), xt.rotate(t, xt.angles(rows, DIM)[:, None]), rtol=2e-6, atol=2e-6
    )


def test_the_pair_that_a_module_gives_stands_for_its_freqs() -> None:
    t = torch.randn(BATCH, HEADS, LENGTH, DIM)
    found = apply(t, xt.home().RotaryEmbedding(DIM)(LENGTH, "cpu"))
    expected = xt.rotate(t, xt.angles(torch.arange(LENGTH), DIM))
    torch.testing.assert_close(found.double(), expected, rtol=2e-6, atol=2e-6)


def test_the_pair_of_xpos_does_not_say_whether_q_or_k_is_meant() -> None:
    pair = xt.home().RotaryEmbedding(DIM, use_xpos=True)(LENGTH, "cpu")
    with pytest.raises(CallFormError, match=r"scale \*\* -1 for k"):
        apply(torch.randn(BATCH, HEADS, LENGTH, DIM), pair)


@pytest.mark.parametrize("shape", [(1, 1, 1, LENGTH, DIM), (DIM,)], ids=str)
def test_freqs_of_another_rank_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CallFormError, match="rank 2, 3 or 4"):
        apply(torch.randn(BATCH, HEADS, LENGTH, DIM), torch.zeros(shape))


@pytest.mark.parametrize(
    "shape",
    [(BATCH + 1, 1, LENGTH, DIM), (BATCH, HEADS + 1, LENGTH, DIM), (BATCH, 1, LENGTH - 1, DIM)],
    ids=str,
)
def test_axes_that_do_not_meet_are_named(shape: tuple[int, ...]) -> None:
    if xt.between("1.22.10", "1.22.12"):
        # Rank 4 is its own form: the error is torch's.
        with pytest.raises(RuntimeError):
            apply(torch.randn(BATCH, HEADS, LENGTH, DIM), torch.zeros(shape))
        return
    with pytest.raises(LayoutError, match="freqs"):
        apply(torch.randn(BATCH, HEADS, LENGTH, DIM), torch.zeros(shape))


def test_gradients() -> None:
    t = torch.randn(BATCH, HEADS, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    freqs = shaped(xt.angles(ROWS, DIM), (BATCH, 1))
    assert torch.autograd.gradcheck(lambda x: apply(x, freqs), (t,))
