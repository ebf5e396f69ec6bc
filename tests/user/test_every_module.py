"""Every module of the installed release that defines `apply_rotary_pos_emb`: every form, same bits.

The expected value is the module's own function, called in its own form before anything is
patched. So this also holds for functions that do more than the textbook formula.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.installed import installed_targets, load, native_of
from support.tensors import Sample, sample
from torch import Tensor

import rope_compat

NAME = "apply_rotary_pos_emb"
MODULES = [module for module, _ in installed_targets(NAME)]

#: Functions with one form in all releases: sin first and half-width, or cos and sin that broadcast.
SIN_FIRST = ("modeling_gptj", "modeling_codegen")
BROADCAST = ("modeling_dinov3_vit", "modeling_eomt_dinov3", "modeling_sapiens2")
#: Functions that take cos and sin of half the rotated width and widen them.
HALF_WIDTH = ("modeling_deepseek_v4", "modeling_gpt_oss", "modeling_openai_privacy_filter")
#: Required position_ids that the function ignores.
IGNORED_THOUGH_REQUIRED = (("4.38.0", "modeling_gemma"), ("4.38.1", "modeling_gemma"))


@pytest.fixture(scope="module")
def natives() -> Iterator[dict[str, Any]]:
    """The functions of all modules, callable past their adapters, while everything is patched."""
    found = {name: past_adapter(native_of(load(name), NAME)) for name in MODULES}
    with rope_compat.patched(on_problem="error"):
        yield found


def past_adapter(function: Any) -> Any:
    """A function is itself; of a module of ``kernels``, `forward` is called past its class."""
    return function.forward if isinstance(function, torch.nn.Module) else function


def short(module: str) -> str:
    return module.rpartition(".")[2]


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def call_native(
    function: Callable[..., Any], xs: tuple[Tensor, ...], data: Sample, axis: int
) -> tuple[Tensor, ...]:
    """Call a function in its own form, as its signature and its release's model code say."""
    names = parameters(function)
    count = names.index("cos")
    cos, sin = data.cos, data.sin
    rest: list[Any] = [axis] if "unsqueeze_dim" in names else []
    if "offset" in names or names == ["x", "cos", "sin"]:
        assert axis == 1
        cos, sin = cos[:, None], sin[:, None]
    elif "position_ids" in names:
        required = inspect.signature(function).parameters["position_ids"].default is inspect.Parameter.empty
        rest.insert(0, data.position_ids if required else None)
        if required:
            cos, sin = data.cos_table, data.sin_table
    if count == 1:
        return tuple(function(x, cos, sin, *rest) for x in xs)
    return tuple(function(*xs, cos, sin, *rest))


def two_tensor_calls(data: Sample, axis: int) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """The same call in every form: what follows the tensors to rotate."""
    cos, sin, pos = data.cos, data.sin, data.position_ids
    table = (data.cos_table, data.sin_table)
    table4 = tuple(t[None, None] for t in table)
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "plain, int in fifth place": ((cos, sin, axis), {}),
        "plain, unsqueeze_dim by name": ((cos, sin), {"unsqueeze_dim": axis}),
        "plain, cos and sin by name": ((), {"cos": cos, "sin": sin, "unsqueeze_dim": axis}),
        "gathered, by position": ((cos, sin, pos, axis), {}),
        "gathered, position_ids by name": ((cos, sin), {"position_ids": pos, "unsqueeze_dim": axis}),
        "gathered, None": ((cos, sin, None, axis), {}),
        "indexed, [S, D], by position": ((*table, pos, axis), {}),
        "indexed, [S, D], by name": (table, {"position_ids": pos, "unsqueeze_dim": axis}),
        "indexed, [1, 1, S, D], by position": ((*table4, pos, axis), {}),
        "indexed, [1, 1, S, D], by name": (table4, {"position_ids": pos, "unsqueeze_dim": axis}),
    }
    if axis == 1:
        calls |= {
            "plain, default axis": ((cos, sin), {}),
            "gathered, default axis": ((cos, sin, pos), {}),
            "indexed, [S, D], default axis": ((*table, pos), {}),
            "indexed, [1, 1, S, D], default axis": ((*table4, pos), {}),
        }
    return calls


@pytest.mark.parametrize("module_name", [m for m in MODULES if short(m) not in SIN_FIRST + BROADCAST])
def test_every_form_gives_the_bits_of_the_native_one(module_name: str, natives: dict[str, Any]) -> None:
    native, adapted = natives[module_name], getattr(load(module_name), NAME)
    names = parameters(native)
    data = sample(width=8 if short(module_name) in HALF_WIDTH else None)
    for axis in (1, 2):
        xs = data.in_layout(axis)
        if names.index("cos") == 3:
            xs = (*xs, xs[1] + 1)
        if "unsqueeze_dim" in names or axis == 1:
            expected = call_native(native, xs, data, axis)
        else:
            turned = call_native(native, data.in_layout(1), data, 1)
            expected = tuple(x.transpose(1, 2) for x in turned)
        for form, (rest, options) in two_tensor_calls(data, axis).items():
            found = adapted(*xs, *rest, **options)
            assert len(found) == len(expected), form
            for one, other in zip(found, expected, strict=True):
                assert torch.equal(one, other), (form, axis)
                assert one.dtype == other.dtype


@pytest.mark.parametrize("module_name", [m for m in MODULES if short(m) in SIN_FIRST])
def test_sin_first_functions_refuse_the_common_form(module_name: str, natives: dict[str, Any]) -> None:
    native, adapted = natives[module_name], getattr(load(module_name), NAME)
    data = sample(width=8)
    x = data.q.transpose(1, 2)
    assert torch.equal(adapted(x, data.sin, data.cos), native(x, data.sin, data.cos))
    with pytest.raises(rope_compat.CallFormError, match=r"(?s)sin before cos.*\(tensor, sin, cos\)"):
        adapted(x, x, data.cos, data.sin)


@pytest.mark.parametrize("module_name", [m for m in MODULES if short(m) in BROADCAST])
def test_broadcast_functions_refuse_position_ids(module_name: str, natives: dict[str, Any]) -> None:
    native, adapted = natives[module_name], getattr(load(module_name), NAME)
    data = sample()
    cos, sin = data.cos[0], data.sin[0]
    expected = native(data.q, data.k, cos, sin)
    found = adapted(data.q, data.k, cos, sin)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with pytest.raises(rope_compat.CallFormError, match="one form in all releases"):
        adapted(data.q, data.k, cos, sin, data.position_ids)


def test_nothing_is_left_alone() -> None:
    """All definitions are adapted: none has a signature that is not known."""
    with rope_compat.patched(on_problem="error") as patch:
        for module, _ in installed_targets():
            load(module)
        adapted = {item.target for item in rope_compat.status().adapted}
        assert rope_compat.status().skipped == ()
        wanted = {
            f"{module}:{name}"
            for module, name in installed_targets()
            # The functions of the video models take every form themselves.
            if name != "apply_rotary_pos_emb_2d" or "sam3.modeling_sam3" in module
        }
        assert wanted <= adapted
        assert patch.active
