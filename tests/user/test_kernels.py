"""With a fitting ``kernels`` package, transformers binds decorated functions to `nn.Module` objects."""

from __future__ import annotations

import copy
import importlib.metadata
import inspect
from typing import Any

import pytest
import torch
from support.installed import LLAMA, load
from support.tensors import sample
from torch import nn

import rope_compat
from rope_compat.rotary import reference


def has_kernels() -> bool:
    try:
        importlib.metadata.version("kernels")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


pytestmark = pytest.mark.only(has_kernels(), reason="the environments called kernels have that package")


@pytest.fixture
def llama() -> Any:
    module = load(LLAMA)
    assert isinstance(module.apply_rotary_pos_emb, nn.Module)
    return module


def test_the_object_stays_and_takes_every_form(llama: Any) -> None:
    function = llama.apply_rotary_pos_emb
    members = dict(vars(type(function)))
    data = sample()
    native = function(data.q, data.k, data.cos, data.sin)
    with rope_compat.patched(on_problem="ignore"):
        assert llama.apply_rotary_pos_emb is function
        indexed = function(data.q, data.k, data.cos_table, data.sin_table, data.position_ids)
        ignored = function(data.q, data.k, data.cos, data.sin, position_ids=data.position_ids)
        again = function(data.q, data.k, data.cos, data.sin)
        with pytest.raises(rope_compat.LayoutError, match="unsqueeze_dim=2"):
            function(*data.in_layout(2), data.cos, data.sin)
        counts = {item.target: item.foreign_calls for item in rope_compat.status().adapted}
        assert counts[f"{LLAMA}:apply_rotary_pos_emb"] == {"indexed": 1, "gathered": 1}
    for found in (indexed, ignored, again):
        assert all(torch.equal(one, other) for one, other in zip(found, native, strict=True))
    assert dict(vars(type(function))) == members


def test_a_kernel_put_in_by_kernelize_is_what_adapters_call(llama: Any) -> None:
    """`kernelize` replaces `forward` on the instance; here the replacement shows that it ran."""
    function = llama.apply_rotary_pos_emb
    data = sample()
    expected = reference.apply(data.q, data.k, data.cos, data.sin)

    def forward(q: Any, k: Any, cos: Any, sin: Any, unsqueeze_dim: int = 1) -> Any:
        plain = type(function).forward(function, q, k, cos, sin, unsqueeze_dim)
        return tuple(2 * tensor for tensor in plain)

    with rope_compat.patched(on_problem="ignore"):
        function.forward = forward
        try:
            found = function(data.q, data.k, data.cos_table, data.sin_table, data.position_ids)
        finally:
            del function.forward
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - 2 * other).abs().max() < 4e-6


def test_a_copy_of_the_module_is_called_as_ever(llama: Any) -> None:
    data = sample()
    with rope_compat.patched(on_problem="ignore"):
        copied = copy.deepcopy(llama.apply_rotary_pos_emb)
        found = copied(data.q, data.k, data.cos, data.sin)
        expected = llama.apply_rotary_pos_emb(data.q, data.k, data.cos, data.sin)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_decorated_classes_still_take_the_function(llama: Any) -> None:
    """Remote code decorates its attention with functions that it imports from transformers."""
    from transformers.integrations import use_kernelized_func

    with rope_compat.patched(on_problem="ignore"):

        @use_kernelized_func(llama.apply_rotary_pos_emb)
        class Attention(nn.Module):
            pass

        assert isinstance(Attention(), nn.Module)


def test_it_compiles_into_one_graph(llama: Any) -> None:
    function = llama.apply_rotary_pos_emb
    data = sample()

    def native(q: Any, k: Any, cos: Any, sin: Any) -> Any:
        return function(q, k, cos, sin)

    def foreign(q: Any, k: Any, cos: Any, sin: Any, positions: Any) -> Any:
        return function(q, k, cos, sin, positions)

    expected = native(data.q, data.k, data.cos, data.sin)
    with rope_compat.patched(on_problem="ignore"):
        torch._dynamo.reset()
        one = torch.compile(native, fullgraph=True, backend="eager")
        other = torch.compile(foreign, fullgraph=True, backend="eager")
        found = one(data.q, data.k, data.cos, data.sin)
        indexed = other(data.q, data.k, data.cos_table, data.sin_table, data.position_ids)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(indexed, expected, strict=True))
    assert "forward" not in vars(function)
    assert inspect.isclass(type(function))
