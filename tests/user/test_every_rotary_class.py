"""Every rotary class of the installed release, in every form that it takes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.installed import RELEASE

import rope_compat
from rope_compat import catalog
from rope_compat._adapters.classes.shape import read_shape
from rope_compat._facts.classes import NOT_ADAPTED, PREFIX, RENAMED, is_rotary_name
from rope_compat._rules.gone_classes import source_of
from rope_compat.errors import CallFormError

DIM, LENGTH, BASE = 16, 64, 10000


#: Classes with positions of several axes, which have no table.
SEVERAL_AXES = {"Qwen2VLRotaryEmbedding"}
#: 4.42.0 to 4.47.1: the class reads an attribute that nothing sets.
BROKEN = {"GemmaLinearScalingRotaryEmbedding"}


def installed() -> list[tuple[str, str]]:
    return [
        (module, name)
        for module, name in catalog.targets(kinds=["class"])
        if module.startswith(PREFIX) and is_rotary_name(name) and ".modeling_" in module
        and catalog.signature_at(module, name, RELEASE) is not None
    ]  # fmt: skip


def had_dim(module: str, name: str) -> bool:
    old = [other for _, other, new in RENAMED if new == name]
    spans = [span for each in (name, *old) for span in catalog.spans(module, each)]
    return any(span.signature.startswith(("(dim, max", "(dim=None", "(dim, theta")) for span in spans)


CLASSES = installed()


@pytest.fixture(scope="module", autouse=True)
def patched() -> Iterator[None]:
    with rope_compat.patched(on_problem="ignore"):
        yield


def reference() -> torch.Tensor:
    inv_freq = 1.0 / BASE ** (torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    return torch.outer(torch.arange(8, dtype=torch.float64), inv_freq)


def in_layout(cos: torch.Tensor, angles: torch.Tensor) -> bool:
    """Channels of a pair are half a head apart, side by side (Cohere), or there is one a pair (GPT-OSS)."""
    layouts = (angles.repeat(1, 2), angles.repeat_interleave(2, dim=-1), angles)
    return any(
        cos.shape == layout.shape and torch.allclose(cos.double(), layout.cos(), atol=2e-6)
        for layout in layouts
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [each for each in CLASSES if had_dim(*each)],
    ids=lambda part: part.rpartition(".modeling_")[2],
)
def test_a_class_that_took_a_dim_takes_it(module: str, name: str) -> None:
    cls = getattr(importlib.import_module(module), name)
    shape = read_shape(cls)
    if (module.rpartition(".modeling_")[2], name) in NOT_ADAPTED:
        assert shape.constructor is None or not hasattr(vars(cls).get("forward"), "__rope_compat__")
        return
    if name not in BROKEN:
        (vision if shape.is_vision else text)(cls)


def text(cls: Any) -> None:
    x = torch.zeros(1, 2, 8, DIM)
    positions = torch.arange(8)[None]
    module = cls(DIM, base=BASE)
    if cls.__name__ in SEVERAL_AXES:
        with pytest.raises(CallFormError, match="no table of one axis of positions"):
            module(x, seq_len=8)
        return
    cos, sin = module(x, seq_len=8)
    assert in_layout(cos, reference())
    for found in (module(x, 8), module(x)):
        assert torch.equal(found[0], cos)
        assert torch.equal(found[1], sin)
    for found in (module(x, positions), module(x, position_ids=positions), module(x, positions, 8)):
        assert torch.equal(found[0][0], cos)
        assert torch.equal(found[1][0], sin)
    assert torch.equal(module.cos_cached[:8], cos)
    assert (module.dim, module.base) == (DIM, BASE)


def vision(cls: Any) -> None:
    patches = torch.tensor([[0, 1], [2, 3], [4, 0]])
    module = cls(DIM, theta=BASE)
    angles = module(8)
    torch.testing.assert_close(angles.double(), reference(), atol=2e-6, rtol=0.0)
    assert torch.equal(module(seqlen=8), angles)
    at = module(patches)
    assert torch.equal(at, angles[patches].flatten(1))
    assert torch.equal(module(position_ids=patches), at)
    for found in (module(torch.zeros(3, 4), patches), module(torch.zeros(3, 4), position_ids=patches)):
        both = torch.cat((at, at), dim=-1)
        torch.testing.assert_close(found[0], both.cos(), atol=1e-6, rtol=0.0)
        torch.testing.assert_close(found[1], both.sin(), atol=1e-6, rtol=0.0)


GONE = [
    (module, name)
    for module, name in catalog.targets(kinds=["class"])
    if source_of(module, name) and catalog.signature_at(module, name, RELEASE) is None
    and catalog.name_spans(module, "") and catalog.release_for(RELEASE) == RELEASE
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), GONE, ids=lambda part: part.rpartition(".modeling_")[2])
def test_a_class_that_is_not_there_is_restored(module: str, name: str) -> None:
    try:
        live = importlib.import_module(module)
    except ImportError:
        assert not any(m == module for m, _ in CLASSES)
        return
    cls = getattr(live, name)
    assert isinstance(cls, type)
    if "Scaling" in name and "Phi3" not in name:
        x = torch.zeros(1, 2, 8, DIM)
        linear = cls(DIM, LENGTH, BASE, None, 2.0)
        rows = linear(x, torch.arange(100)[None])[0][0]
        plain = cls(DIM, LENGTH, BASE)(x, torch.arange(100)[None])[0][0]
        assert not torch.equal(rows, plain)
        if "Linear" in name:
            assert torch.allclose(rows[::2], plain[:50], atol=1e-6)
