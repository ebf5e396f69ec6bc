"""`apply_multimodal_rotary_pos_emb`: by axis, in tables, or merged already; native and restored."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.families import SECTIONS, D, as_list, draw, largest_error, positions, tables
from support.installed import has_module
from support.lanes import GENERATION
from torch import Tensor

import rope_compat
from rope_compat import catalog
from rope_compat.rotary import reference

NAME = "apply_multimodal_rotary_pos_emb"
MODULES = [module for module, _ in catalog.functions([NAME]) if has_module(module)]
HUNYUAN = "transformers.models.hunyuan_vl.modeling_hunyuan_vl"
GLM4V = "transformers.models.glm4v.modeling_glm4v"

pytestmark = pytest.mark.only(bool(MODULES), reason="no module has, or had, the function")


@pytest.fixture(scope="module", autouse=True)
def patch() -> Iterator[Any]:
    for module in MODULES:
        importlib.import_module(module)
    with rope_compat.patched(on_problem="error") as applied:
        yield applied


def short(module: str) -> str:
    return module.rpartition(".")[2]


def function_of(module: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module(module), NAME)
    return found


def sections(module: str) -> list[int]:
    return [2, 2, 2, 2] if module == HUNYUAN else SECTIONS


class Data:
    """q and k, tables, positions by axis; what they are by axis, and merged."""

    def __init__(self, module: str, axis: int = 1) -> None:
        self.sections = sections(module)
        shape = (2, 4, 5, D) if axis == 1 else (2, 5, 4, D)
        self.q, self.k = draw(*shape), draw(*shape, seed=2)
        self.table = tables()
        self.rows = positions(len(self.sections), 2, 5)
        self.cos, self.sin = (table[self.rows] for table in self.table)
        axes = reference.channel_axes(self.sections, doubled=module == HUNYUAN)
        self.merged = tuple(
            torch.stack([t[a, ..., i] for i, a in enumerate(axes)], dim=-1) for t in (self.cos, self.sin)
        )


def expected(module: str, data: Data, axis: int = 1) -> tuple[Tensor, Tensor]:
    pairing = "interleaved" if module == GLM4V else "half"
    return reference.multimodal(
        data.q, data.k, data.cos, data.sin, data.sections, axis, pairing, doubled=module == HUNYUAN
    )


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("module", MODULES, ids=short)
def test_axes_and_tables(module: str, axis: int) -> None:
    function, data = function_of(module), Data(module, axis)
    q, k, cos, sin, sections = data.q, data.k, data.cos, data.sin, data.sections
    old = tuple(table[None, None] for table in data.table)
    by_name = {"mrope_section": sections, "unsqueeze_dim": axis}
    calls = {
        "native": function(q, k, cos, sin, sections, axis),
        "native, by name": function(q, k, cos=cos, sin=sin, **by_name),
        "positions beside axes": function(q, k, cos, sin, data.rows, sections, axis),
        "None beside axes": function(q, k, cos, sin, None, sections, axis),
        "tables": function(q, k, *data.table, data.rows, sections, axis),
        "tables, by name": function(q, k, *data.table, position_ids=data.rows, **by_name),
        "rank-4 tables": function(q, k, *old, data.rows, sections, unsqueeze_dim=axis),
    }
    for form, found in calls.items():
        assert largest_error(found, expected(module, data, axis)) < 2e-6, form
        assert all(torch.equal(one, other) for one, other in zip(found, calls["native"], strict=True)), form


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("module", [m for m in MODULES if m != GLM4V], ids=short)
def test_what_is_merged_is_not_merged_again(module: str, axis: int) -> None:
    function, data = function_of(module), Data(module, axis)
    q, k, sections = data.q, data.k, data.sections
    calls = {
        "with sections": function(q, k, *data.merged, sections, axis),
        "sections by name": function(q, k, *data.merged, mrope_section=sections, unsqueeze_dim=axis),
        "without": function(q, k, *data.merged, unsqueeze_dim=axis),
        "axis in fifth place": function(q, k, *data.merged, axis),
        "None": function(q, k, *data.merged, None, axis),
        "positions": function(q, k, *data.merged, data.rows, sections, axis),
    }
    for form, found in calls.items():
        assert largest_error(found, expected(module, data, axis)) < 2e-6, form


@pytest.mark.only(GLM4V in MODULES, reason="the model came with 4.53.0")
def test_what_is_merged_for_glm4v_is_laid_out_as_its_release_does() -> None:
    module, data = importlib.import_module(GLM4V), Data(GLM4V)
    found = getattr(module, NAME)(data.q, data.k, *data.merged)
    plain = module.apply_rotary_pos_emb(data.q, data.k, *data.merged)
    assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_other_ranks_and_shapes_are_refused(module: str) -> None:
    function, data = function_of(module), Data(module)
    q, k, sections = data.q, data.k, data.sections
    wrong: dict[str, tuple[Any, ...]] = {
        "a table without positions": (*data.table, sections),
        "a table and positions of one axis": (*data.table, data.rows[0], sections),
        "three axes and no batch": (data.cos[:, 0], data.sin[:, 0], sections),
        "five axes": (data.cos[None], data.sin[None], sections),
        "axes, no sections": (data.cos, data.sin),
        "float positions": (data.cos, data.sin, data.rows.float(), sections),
        "too much": (data.cos, data.sin, sections, 1, 1),
    }
    for form, rest in wrong.items():
        with pytest.raises(rope_compat.CallFormError, match=r"(?s)mrope_section.*other forms") as raised:
            function(q, k, *rest)
        assert NAME in str(raised.value), form
    with pytest.raises(rope_compat.CallFormError, match="no form has an argument 'sections'"):
        function(q, k, data.cos, data.sin, sections=sections)
    with pytest.raises(rope_compat.CallFormError, match="given twice"):
        function(q, k, data.cos, data.sin, sections, 1, mrope_section=sections)


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_a_wrong_layout_is_named(module: str) -> None:
    function, data = function_of(module), Data(module)
    with pytest.raises(rope_compat.LayoutError, match=NAME):
        function(data.q.transpose(1, 2), data.k.transpose(1, 2), data.cos, data.sin, data.rows, data.sections)


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_dtypes_are_those_of_the_release_that_had_the_function(module: str) -> None:
    function, data = function_of(module), Data(module)
    q = data.q.bfloat16()
    for found in as_list(function(q, q, data.cos, data.sin, data.sections)):
        assert found.dtype == (torch.bfloat16 if module == HUNYUAN else torch.float32)


def test_native_calls_are_not_counted_and_foreign_ones_are() -> None:
    module = MODULES[0]
    function, data = function_of(module), Data(module)
    counts = dict(vars(function)["__rope_compat__"].counts)
    function(data.q, data.k, data.cos, data.sin, data.sections)
    assert vars(function)["__rope_compat__"].counts == counts
    function(data.q, data.k, *data.merged)
    assert vars(function)["__rope_compat__"].counts["merged"] == counts.get("merged", 0) + 1


@pytest.mark.lane(GENERATION)
@pytest.mark.parametrize("module", [m for m in MODULES if m != GLM4V][:1], ids=short)
def test_every_form_compiles_without_a_graph_break(module: str) -> None:
    function, data = function_of(module), Data(module)
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    for rest in ((data.cos, data.sin, data.sections), data.merged, (*data.table, data.rows, data.sections)):
        found = compiled(data.q, data.k, *rest)
        assert largest_error(found, expected(module, data)) < 2e-6


def replacement(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    position_ids: Tensor,
    mrope_section: Any,
    unsqueeze_dim: int = 1,
) -> tuple[Tensor, Tensor]:
    """As copies of Qwen2-VL's first code write it."""
    axes = reference.channel_axes(mrope_section)
    cos, sin = cos[position_ids], sin[position_ids]
    cos, sin = (torch.stack([t[a, ..., i] for i, a in enumerate(axes)], -1) for t in (cos, sin))
    return reference.apply(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)


def test_a_replacement_with_positions_takes_every_form() -> None:
    function = rope_compat.adapt(replacement, NAME)
    data = Data("any")
    for rest in (
        (*data.table, data.rows, data.sections),
        (data.cos, data.sin, data.sections),
        (data.cos, data.sin, data.rows, data.sections),
        data.merged,
    ):
        assert largest_error(function(data.q, data.k, *rest), expected("any", data)) < 2e-6


def test_the_explicit_function() -> None:
    function, data = rope_compat.functional.apply_multimodal_rotary_pos_emb, Data("any")
    for rest in ((data.cos, data.sin, data.sections), data.merged, (*data.table, data.rows, data.sections)):
        assert largest_error(function(data.q, data.k, *rest), expected("any", data)) < 2e-6
