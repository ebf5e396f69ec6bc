"""Every form that RotaryEmbedding.forward has had, on the installed x-transformers, against float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support import xt
from torch import Tensor

import rope_compat
from rope_compat.errors import CallFormError

pytestmark = xt.present

DIM, LENGTH = 8, 6
ROW = torch.tensor([3, 4, 9, 27])
ROWS = torch.tensor([[0, 1, 2, 5], [7, 3, 31, 11]])

#: A length in every form that had one; each gives (freqs [n, d], scale).
LENGTHS: dict[str, Callable[[Any], Any]] = {
    "(seq_len, device)": lambda rotary: rotary(LENGTH, torch.device("cpu")),
    "(seq_len, text)": lambda rotary: rotary(LENGTH, "cpu"),
    "(seq_len, device=)": lambda rotary: rotary(LENGTH, device=torch.device("cpu")),
    "(seq_len=, device=)": lambda rotary: rotary(seq_len=LENGTH, device="cpu"),
    "(seq_len)": lambda rotary: rotary(LENGTH),
    "(seq_len=)": lambda rotary: rotary(seq_len=LENGTH),
    "(seq_len, offset=None)": lambda rotary: rotary(LENGTH, offset=None),
    "(tensor without axes)": lambda rotary: rotary(torch.tensor(LENGTH)),
    "(seq_arange_or_len)": lambda rotary: rotary(seq_arange_or_len=LENGTH),
}
POSITIONS: dict[str, Callable[[Any, Tensor], Any]] = {
    "(t)": lambda rotary, t: rotary(t),
    "(t=)": lambda rotary, t: rotary(t=t),
    "(seq_arange_or_len=)": lambda rotary, t: rotary(seq_arange_or_len=t),
    "(t, offset)": lambda rotary, t: rotary(t, 0),
    "(t, offset=)": lambda rotary, t: rotary(t, offset=0),
}


@pytest.fixture(autouse=True)
def _patched() -> Iterator[None]:
    with rope_compat.patched():
        yield


@pytest.fixture(params=[False, True], ids=["plain", "xpos"])
def rotary(request: pytest.FixtureRequest) -> Any:
    return xt.home().RotaryEmbedding(DIM, use_xpos=request.param)


def holds(rotary: Any, found: Any, positions: Tensor) -> None:
    freqs, scale = found
    torch.testing.assert_close(freqs.double(), xt.angles(positions, DIM), rtol=3e-7, atol=0)
    if rotary.scale is None:
        assert scale == 1.0
    else:
        torch.testing.assert_close(scale.double(), xt.scales(positions, DIM), rtol=3e-7, atol=0)


@pytest.mark.parametrize("form", LENGTHS)
def test_a_length(rotary: Any, form: str) -> None:
    found = LENGTHS[form](rotary)
    is_native_of_1_22_10 = xt.between("1.22.10", "1.22.10") and found[0].dim() == 3
    if is_native_of_1_22_10:
        found = found[0][0], found[1]
    assert found[0].shape == (LENGTH, DIM)
    holds(rotary, found, torch.arange(LENGTH))


@pytest.mark.parametrize("form", POSITIONS)
@pytest.mark.parametrize("positions", [ROW, ROW.float(), ROWS], ids=["row", "float", "rows"])
def test_positions(rotary: Any, form: str, positions: Tensor) -> None:
    found = POSITIONS[form](rotary, positions)
    is_row_in_a_batch = xt.BATCHED and positions.dim() == 1
    holds(rotary, found, positions[None] if is_row_in_a_batch else positions)


@pytest.mark.parametrize(
    "call",
    [
        lambda rotary: rotary(LENGTH, offset=torch.tensor([0, 2, 5])),
        lambda rotary: rotary(LENGTH, torch.tensor([0, 2, 5])),
    ],
    ids=["named", "placed"],
)
def test_an_offset_for_each_sample(rotary: Any, call: Callable[[Any], Any]) -> None:
    freqs, scale = call(rotary)
    positions = torch.arange(LENGTH) + torch.tensor([[0], [2], [5]])
    if xt.between("1.22.10", "1.22.10"):
        assert freqs.shape == (3, 1, LENGTH, DIM)
        freqs = freqs[:, 0]
    torch.testing.assert_close(freqs.double(), xt.angles(positions, DIM), rtol=3e-7, atol=0)
    if rotary.scale is not None:
        torch.testing.assert_close(scale.double(), xt.scales(torch.arange(LENGTH), DIM), rtol=3e-7, atol=0)


@pytest.mark.parametrize(("axis", "call"), [
    (1, lambda rotary, x: rotary(x)),
    (1, lambda rotary, x: rotary(x, 1)),
    (2, lambda rotary, x: rotary(x, seq_dim=2)),
    (-2, lambda rotary, x: rotary(x=x, seq_dim=-2)),
], ids=["default", "placed", "named", "all named"])  # fmt: skip
def test_the_length_of_x_gives_freqs_alone(axis: int, call: Callable[[Any, Tensor], Any]) -> None:
    x = torch.randn(2, 5, 7)
    freqs = call(xt.home().RotaryEmbedding(DIM), x)
    expected = xt.angles(torch.arange(x.shape[axis]), DIM)[None, None]
    torch.testing.assert_close(freqs.double(), expected, rtol=3e-7, atol=0)


def test_max_seq_len_gives_freqs_alone() -> None:
    freqs = xt.home().RotaryEmbedding(DIM)(max_seq_len=LENGTH, device="cpu")
    torch.testing.assert_close(freqs.double(), xt.angles(torch.arange(LENGTH), DIM), rtol=3e-7, atol=0)


def test_forward_from_seq_len(rotary: Any) -> None:
    found = rotary.forward_from_seq_len(LENGTH)
    positions = torch.arange(LENGTH)
    holds(rotary, (found[0].reshape(LENGTH, DIM), found[1] if rotary.scale is None
                   else found[1].reshape(LENGTH, DIM)), positions)  # fmt: skip


def test_interpolated_positions() -> None:
    rotary = xt.home().RotaryEmbedding(DIM)
    rotary.interpolation_factor = 2.0  # A parameter from 1.16.10 on.
    if xt.between("1.16.16"):
        freqs, _ = rotary(ROWS)
        torch.testing.assert_close(freqs.double(), xt.angles(ROWS / 2, DIM), rtol=3e-7, atol=0)


@pytest.mark.parametrize(("args", "kwargs"), [
    ((), {}),
    ((None,), {}),
    (([0, 1],), {}),
    ((2.5,), {}),
    ((torch.ones(2, 3, 4, dtype=torch.int64),), {}),
    ((torch.randn(2, 3, 4), 7), {}),
    ((4, 0.5), {}),
    ((4,), {"offset": 3}),
    ((4,), {"seq_dim": 1}),
    ((4,), {"length": 3}),
    ((torch.arange(3),), {"seq_dim": 0}),
], ids=str)  # fmt: skip
def test_what_is_in_no_form_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    rotary = xt.home().RotaryEmbedding(DIM)
    with pytest.raises(CallFormError) as caught:
        rotary(*args, **kwargs)
    text = str(caught.value)
    assert f"native form in x-transformers {xt.HERE}" in text
    assert "(x, seq_dim=1)" in text
    assert "(t, offset=0)" in text


def test_foreign_calls_are_counted_and_native_ones_are_not() -> None:
    rotary = xt.home().RotaryEmbedding(DIM)
    xt.native_call(rotary)
    counts = {each.target: each.foreign_calls for each in rope_compat.status().adapted}
    assert counts[f"{xt.HOME}:RotaryEmbedding.forward"] in ({}, {"positions": 1})
    before = counts[f"{xt.HOME}:RotaryEmbedding.forward"]
    rotary(torch.randn(1, 3, 4))
    counts = {each.target: each.foreign_calls for each in rope_compat.status().adapted}
    assert counts[f"{xt.HOME}:RotaryEmbedding.forward"] == before | {"x": 1}
