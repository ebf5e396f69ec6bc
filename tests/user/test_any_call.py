"""Any call at all: the reference's value, or a `TypeError` that shows the forms; never a wrong value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from support.installed import LLAMA, QWEN2_5_VL, QWEN2_VL, has_module, load
from support.tensors import Sample, sample
from torch import Tensor

import rope_compat
from rope_compat.rotary import reference

LENGTH, HEADS = 5, 4  # Different, and no axis is 1: a wrong axis cannot pass for a right one.


def rows_of(data: Sample, kind: str) -> tuple[Tensor, Tensor]:
    if kind == "gathered":
        return data.cos, data.sin
    if kind == "table":
        return data.cos_table, data.sin_table
    return data.cos_table[None, None], data.sin_table[None, None]


def value_of(data: Sample, kind: str) -> Any:
    return {
        "absent": ...,
        "None": None,
        "tensor": data.position_ids,
        "int32": data.position_ids.int(),
        "list": data.position_ids.tolist(),
        "float": data.position_ids.float(),
    }[kind]


def arguments(
    tensors: tuple[Tensor, ...], positions: Any, axis: Any, positions_by_name: bool, axis_by_name: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args: tuple[Any, ...] = tensors
    kwargs: dict[str, Any] = {}
    if positions is not ...:
        if positions_by_name:
            kwargs["position_ids"] = positions
        else:
            args += (positions,)
    if axis != "absent":
        if axis_by_name or "position_ids" in kwargs:
            kwargs["unsqueeze_dim"] = axis
        else:
            args += (axis,)
    return args, kwargs


def is_legal(rows: str, positions: str, axis: Any, layout: int) -> bool:
    """Whether any release gave the call a meaning, and the layout is the one that the axis says."""
    if positions in ("list", "float") or axis == "two":
        return False
    if (1 if axis == "absent" else axis) != layout:
        return False
    return rows == "gathered" or positions in ("tensor", "int32")


@pytest.fixture(autouse=True, scope="module")
def _patched() -> Iterator[None]:
    load(LLAMA)
    with rope_compat.patched(on_problem="ignore"):
        yield


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.sampled_from(["gathered", "table", "table4"]),
    positions=st.sampled_from(["absent", "None", "tensor", "int32", "list", "float"]),
    axis=st.sampled_from(["absent", 1, 2, "two"]),
    layout=st.sampled_from([1, 2]),
    by_name=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 50),
)
def test_value_or_type_error(
    rows: str, positions: str, axis: Any, layout: int, by_name: tuple[bool, bool], seed: int
) -> None:
    data = sample(heads=HEADS, length=LENGTH, seed=seed)
    tensors = (*data.in_layout(layout), *rows_of(data, rows))
    args, kwargs = arguments(tensors, value_of(data, positions), axis, *by_name)
    function = load(LLAMA).apply_rotary_pos_emb
    if not is_legal(rows, positions, axis, layout):
        with pytest.raises(TypeError) as caught:
            function(*args, **kwargs)
        message = str(caught.value)
        assert "native form in transformers" in message
        assert message.count("unsqueeze_dim=1)") >= 3, message
        return
    found = function(*args, **kwargs)
    expected = reference.apply(*tensors[:2], data.cos_table, data.sin_table, data.position_ids, layout)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one.double() - other).abs().max() < 2e-6


TWO_FORMS = [
    (module, name)
    for name in ("apply_rotary_pos_emb_vision", "apply_rotary_pos_emb_flashatt")
    for module in (QWEN2_VL, QWEN2_5_VL)
    if has_module(module) and (module, name) != (QWEN2_VL, "apply_rotary_pos_emb_flashatt")
]


@pytest.mark.parametrize(("module", "name"), TWO_FORMS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(st.sampled_from(["x", "cos", "sin", "freqs", "int"]), min_size=0, max_size=5),
    layout=st.sampled_from([1, 2]),
    seed=st.integers(0, 50),
)
@example(kinds=["x", "x", "cos", "sin"], layout=2, seed=0)
@example(kinds=["x", "freqs"], layout=2, seed=0)
def test_vision_value_or_type_error(module: str, name: str, kinds: list[str], layout: int, seed: int) -> None:
    """Any sequence of tensors: `(q, k, cos, sin)` and `(tensor, freqs)` have a value, all else is refused."""
    data = sample(batch=1, heads=HEADS, kv_heads=HEADS, length=LENGTH, seed=seed)
    x = data.in_layout(layout)[0]
    freqs = reference.freqs(LENGTH, 16).float()
    full = torch.cat((freqs, freqs), dim=-1)
    values = {"x": x, "cos": full.cos(), "sin": full.sin(), "freqs": freqs, "int": 1}
    args = [values[kind] for kind in kinds]
    function = getattr(load(module), name)
    if layout == 2 and kinds in (["x", "x", "cos", "sin"], ["x", "freqs"]):
        found = function(*args)
        found = found[0] if len(kinds) == 4 else found
        assert (found.double() - reference.vision(x, x, full.cos(), full.sin())[0]).abs().max() < 2e-6
        return
    if "int" not in kinds and (len(kinds) == 4 or (len(kinds) == 2 and kinds[1] != "x")):
        # In the form of a native call: what the function makes of other tensors is its own affair.
        return
    with pytest.raises(TypeError) as caught:
        function(*args)
    assert "(q, k, cos, sin)" in str(caught.value)
    assert "(tensor, freqs)" in str(caught.value)
