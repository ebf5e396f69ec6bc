"""The arguments of `patch`, `patched` and `plan`: the same ones, and each part can be left out."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import rope_compat

MODELING = "transformers.models.llama.modeling_llama"


def test_patched_and_plan_show_the_arguments_of_patch() -> None:
    of_patch = inspect.signature(rope_compat.patch).parameters
    assert inspect.signature(rope_compat.patched).parameters == of_patch
    of_plan = inspect.signature(rope_compat.plan).parameters
    assert of_plan == {name: each for name, each in of_patch.items() if name != "on_problem"}


@pytest.mark.parametrize("call", [rope_compat.patch, rope_compat.patched, rope_compat.plan])
def test_an_unknown_argument_is_named(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=f"{call.__name__}.*'name'"):
        call(name=False)
    with pytest.raises(TypeError, match="positional"):
        call("4.37")


def test_names_beside_rope_can_be_left_out() -> None:
    module = importlib.import_module(MODELING)
    before = vars(module).get("__getattr__")
    with rope_compat.patched(names=False) as patch:
        assert vars(module).get("__getattr__") is before
        assert dict(rope_compat.status().changes).keys() == {
            part for part, _ in rope_compat.status().changes if "names beside RoPE" not in part
        }
        assert dict(patch.plan.options)["names"] == "off"
        without = len(patch.journal)
    with rope_compat.patched() as patch:
        counts = dict(rope_compat.status().changes)
        assert sum(counts.values()) == len(patch.journal) > without
        assert f"names beside RoPE (names=): {counts['names beside RoPE (names=)']}" in str(
            rope_compat.status()
        )
    assert rope_compat.plan(names=False).digest != rope_compat.plan().digest


def test_torch_is_left_alone_where_no_model_is_constructed() -> None:
    torch = importlib.import_module("torch.nn.modules.module")
    hooks = {
        name: dict(value)
        for name, value in vars(torch).items()
        if name.startswith("_global_") and isinstance(value, dict)
    }
    importlib.import_module(MODELING)
    with rope_compat.patched():
        assert hooks == {name: dict(vars(torch)[name]) for name in hooks}
