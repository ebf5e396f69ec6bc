"""Replacements of `apply_rotary_pos_emb` with signatures that no release of transformers has had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.installed import LLAMA, load
from support.tensors import sample

import rope_compat
from rope_compat.rotary import reference


def rotate(q: Any, k: Any, cos: Any, sin: Any, unsqueeze_dim: int) -> Any:
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)

    def turned(x: Any) -> Any:
        one, other = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-other, one), dim=-1) * sin

    return turned(q), turned(k)


def hands_on(
    q: Any,
    k: Any,
    cos: Any,
    sin: Any,
    position_ids: Any = None,
    unsqueeze_dim: int = 1,
    rotary_dim: Any = None,
) -> Any:
    """As Liger 0.8.5: positions are read, and handed to something that ignores them."""
    return kernel(q, k, cos, sin, position_ids, unsqueeze_dim, rotary_dim)


def kernel(q: Any, k: Any, cos: Any, sin: Any, position_ids: Any, unsqueeze_dim: int, rotary_dim: Any) -> Any:
    assert rotary_dim in (None, q.shape[-1])
    return rotate(q, k, cos, sin, unsqueeze_dim)


def indexes_if_given(
    q: Any, k: Any, cos: Any, sin: Any, position_ids: Any = None, unsqueeze_dim: int = 1, scale: float = 1.0
) -> Any:
    if position_ids is not None:
        cos, sin = cos[position_ids], sin[position_ids]
    return rotate(q, k, cos * scale, sin * scale, unsqueeze_dim)


def no_positions(q: Any, k: Any, cos: Any, sin: Any, unsqueeze_dim: int = 1, *, check: bool = False) -> Any:
    return rotate(q, k, cos, sin, unsqueeze_dim)


def needs_more(q: Any, k: Any, cos: Any, sin: Any, unsqueeze_dim: int, width: int) -> Any:
    return rotate(q, k, cos, sin, unsqueeze_dim)


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Puts a function in the place of Llama's, and returns the module."""

    def put(function: Any) -> Any:
        module = load(LLAMA)
        monkeypatch.setattr(module, "apply_rotary_pos_emb", function)
        return module

    return put


@pytest.mark.parametrize("function", [hands_on, indexes_if_given])
@pytest.mark.parametrize("form", ["plain", "indexed", "axis", "keywords"])
def test_further_parameters_with_defaults(function: Any, form: str, replaced: Any) -> None:
    module, data = replaced(function), sample()
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "plain": ((data.cos, data.sin), {}),
        "indexed": ((data.cos_table, data.sin_table, data.position_ids), {}),
        "axis": ((data.cos, data.sin, 1), {}),
        "keywords": ((), {"cos": data.cos_table, "sin": data.sin_table, "position_ids": data.position_ids}),
    }
    expected = reference.apply(data.q, data.k, data.cos, data.sin)
    args, kwargs = calls[form]
    with rope_compat.patched(on_problem="ignore"):
        assert module.apply_rotary_pos_emb is not function
        found = module.apply_rotary_pos_emb(data.q, data.k, *args, **kwargs)
    assert module.apply_rotary_pos_emb is function
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).abs().max() < 4e-6


def test_the_replacements_own_keyword_is_a_native_call(replaced: Any) -> None:
    module, data = replaced(indexes_if_given), sample()
    rest = (data.q, data.k, data.cos, data.sin)
    with rope_compat.patched(on_problem="ignore"):
        found = module.apply_rotary_pos_emb(*rest, scale=2.0)
        also = module.apply_rotary_pos_emb(*rest, None, 1, 2.0)
        with pytest.raises(rope_compat.CallFormError, match="scales"):
            module.apply_rotary_pos_emb(*rest, scales=2.0)
    for one, two, other in zip(found, also, indexes_if_given(*rest, scale=2.0), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(two, other)


@pytest.mark.parametrize("function", [needs_more, no_positions])
def test_what_cannot_be_told_is_left_alone_and_said(function: Any, replaced: Any) -> None:
    """A parameter without a default, or by keyword only: nobody has looked at what calls mean there."""
    module = replaced(function)
    with pytest.warns(rope_compat.SkippedTargetWarning, match="apply_rotary_pos_emb is left alone"):
        patch = rope_compat.patch()
    assert module.apply_rotary_pos_emb is function
    patch.undo()
