"""Constructors under a meta device: what they compute is real, what the checkpoint brings stays on meta."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rope_compat._adapters.loading.construction import LARGEST_UNSET, real_values


@contextmanager
def under_meta() -> Iterator[None]:
    with torch.device("meta"), real_values():
        yield


def test_what_a_constructor_computes_has_values() -> None:
    with under_meta():
        inv_freq = 1.0 / 500.0 ** (torch.arange(0, 8, 2).float() / 8)
        angles = torch.outer(torch.arange(6.0), inv_freq)
        table = torch.zeros(6, 8)
        table[:, 0::2] = angles.sin()
        table[:, 1::2] = angles.cos()
        complex_table = torch.polar(torch.ones_like(angles), angles)
        slopes = [step.item() for step in torch.linspace(0, 1, 3)]
        mask = torch.tril(torch.ones(4, 4, dtype=torch.bool))
        spectrum = torch.fft.fftfreq(4)
        listed = torch.tensor([1.0, 2.0])
        taken = torch.from_numpy(np.arange(3.0))
    expected = 1.0 / 500.0 ** (torch.arange(0, 8, 2).float() / 8)
    assert torch.equal(inv_freq, expected)
    assert torch.equal(table[:, 1::2], torch.outer(torch.arange(6.0), expected).cos())
    assert torch.equal(complex_table.imag, torch.outer(torch.arange(6.0), expected).sin())
    assert slopes == [0.0, 0.5, 1.0]
    assert [tensor.device.type for tensor in (mask, spectrum, listed, taken)] == ["cpu"] * 4


def test_parameters_are_on_meta_however_they_are_made() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 4)
            self.ones = nn.Parameter(torch.ones(4), requires_grad=False)
            self.drawn = nn.Parameter(torch.ones(4) * torch.randn(4))
            shared = nn.Parameter(torch.zeros(2))
            shared.is_special = True  # type: ignore[attr-defined]
            self.first, self.second = shared, shared
            self.linear.weight.data = torch.zeros(4, 3)
            self.listed = nn.ParameterList([nn.Parameter(torch.zeros(2))])

    with under_meta():
        module = Module()
    assert all(parameter.is_meta for parameter in module.parameters())
    assert not module.ones.requires_grad
    assert module.drawn.requires_grad
    assert module.first is module.second
    assert module.first.is_special  # type: ignore[attr-defined]


def test_large_unset_tensors_are_not_made() -> None:
    with under_meta():
        weight = torch.empty(LARGEST_UNSET + 1)
        drawn = torch.randn(LARGEST_UNSET, 2)
        sized = torch.empty(size=(LARGEST_UNSET, 2))
        small = torch.empty(3)
        mixed = weight[:4] + torch.ones(4)
        joined = torch.cat([torch.zeros(2), weight[:2]])
    assert [tensor.is_meta for tensor in (weight, drawn, sized, small)] == [True, True, True, False]
    assert mixed.is_meta
    assert joined.is_meta


def test_a_device_that_is_asked_for_is_given() -> None:
    with under_meta():
        on_meta = torch.arange(3, device="meta")
        with torch.device("meta"):
            inner = torch.arange(3)
        like = torch.as_tensor(on_meta)
    assert on_meta.is_meta
    assert inner.is_meta
    assert like.is_meta


def test_the_question_for_the_device_is_answered_as_before() -> None:
    with torch.device("meta"):
        before = torch.tensor([]).device, torch.get_default_device()
        with real_values():
            assert (torch.tensor([]).device, torch.get_default_device()) == before


def test_outside_of_meta_nothing_happens() -> None:
    with real_values():
        module = nn.Linear(2, 2)
    assert not module.weight.is_meta
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with real_values():
        assert torch.equal(torch.rand(2), expected)


def test_the_random_generator_is_as_before() -> None:
    state = torch.get_rng_state()
    with under_meta():
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_other_threads_and_later_modules_are_not_touched() -> None:
    made: list[Any] = []
    with under_meta():
        thread = threading.Thread(target=lambda: made.append(nn.Linear(2, 2)))
        thread.start()
        thread.join()
    assert not made[0].weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize("failing", [False, True])
def test_it_ends_with_its_body(failing: bool) -> None:
    def body() -> None:
        with under_meta():
            assert isinstance(torch.arange(2), Tensor)
            if failing:
                raise KeyError("inside")

    if failing:
        with pytest.raises(KeyError, match="inside"):
            body()
    else:
        body()
    with torch.device("meta"):
        assert torch.arange(2).is_meta


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_default_dtype_holds(dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        expected = torch.ones(2) * 3
        with under_meta():
            found = torch.ones(2) * 3
    finally:
        torch.set_default_dtype(before)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
