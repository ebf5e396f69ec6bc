"""Any call at all: the reference's value, or a `TypeError` that shows the forms; never a wrong value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from support.installed import LLAMA, load
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
        if not isinstance(caught.value, rope_compat.LayoutError):
            message = str(caught.value)
            assert "native form in transformers" in message
            assert message.count("unsqueeze_dim=1)") >= 3, message
        return
    found = function(*args, **kwargs)
    expected = reference.apply(*tensors[:2], data.cos_table, data.sin_table, data.position_ids, layout)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one.double() - other).abs().max() < 2e-6
