"""Functions that are put back: there where they are missing, and right, by fp64 and by transformers' own."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.families import as_list, cases, largest_error
from support.installed import RELEASE, has_module

import rope_compat
from rope_compat._adapters.functions.base import Context, is_restored
from rope_compat._adapters.functions.restoring import OPERATIONS, restore
from rope_compat._facts.functions import RESTORED, Restored, places
from rope_compat._rules.restored import has_name

HERE = Version(RELEASE)


def meant(record: Restored) -> bool:
    """Whether a record's meaning is that of the installed release, where the release has the function."""
    others = [
        each for each in RESTORED if each.name == record.name and set(places(each)) & set(places(record))
    ]
    later = [Version(each.first) for each in others if each.first and each.first > record.first]
    return (not record.first or Version(record.first) <= HERE) and not any(first <= HERE for first in later)


THERE = [(record, module) for record in RESTORED for module in places(record) if has_module(module)]
NATIVE = [(r, m) for r, m in THERE if has_name(m, r.name, RELEASE) and meant(r)]
#: torch_npu and flash-attn compute these, natively.
NEEDS_KERNEL = ("npu_apply_rotary_emb", "apply_rotary_unpadded")
MISSING = sorted({(m, r.name) for r, m in THERE if not has_name(m, r.name, RELEASE)})


def label(value: Any) -> str:
    return value.name if isinstance(value, Restored) else str(value).rpartition(".")[2]


@pytest.mark.parametrize(
    ("record", "module"), [pair for pair in NATIVE if pair[0].name not in NEEDS_KERNEL], ids=label
)
def test_an_operation_gives_the_bits_of_the_function_that_it_stands_for(
    record: Restored, module: str
) -> None:
    native = getattr(importlib.import_module(module), record.name)
    compute = restore(record.operation, Context(f"{module}:{record.name}"))
    for case in cases(record.operation):
        arguments = case.arguments
        if record.operation == "plain" and next(iter(inspect.signature(native).parameters)) == "x":
            # GLM-MoE-DSA's rotates one tensor, to 5.10.4; what is restored takes both forms.
            rotated = [native(x, *arguments[2:]) for x in arguments[:2]]
        else:
            rotated = native(*arguments)
        found, expected = as_list(compute(*arguments)), as_list(rotated)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            if record.operation == "deinterleave":
                # 5.11.0 took the sum of products apart; both are right.
                torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
            else:
                assert torch.equal(one, other)


@pytest.mark.parametrize(("module", "name"), MISSING, ids=label)
def test_a_missing_name_is_there_while_the_patch_is_on(module: str, name: str) -> None:
    loaded = importlib.import_module(module)
    assert not hasattr(loaded, name)
    with rope_compat.patched():
        function = getattr(loaded, name)
        assert is_restored(function)
        assert (function.__module__, function.__name__) == (module, name)
        assert f"{module}:{name}" in {item.target for item in rope_compat.status().adapted}
        with rope_compat.patched():
            assert getattr(loaded, name) is function
        records = [r for r, m in THERE if (m, r.name) == (module, name)]
        assert any(is_right(function, record) for record in records)
    assert not hasattr(loaded, name)
    with rope_compat.patched(targets="apply_rotary_pos_emb_flashatt"):
        assert not hasattr(loaded, name)


def is_right(function: Any, record: Restored) -> bool:
    return all(
        largest_error(function(*case.arguments), case.expected(*case.arguments)) <= case.tolerance
        for case in cases(record.operation)
    )


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"pairwise 2d"}))
def test_operations_are_right_by_the_reference(operation: str) -> None:
    for case in cases(operation):
        found, expected = OPERATIONS[operation](*case.arguments), case.expected(*case.arguments)
        assert largest_error(found, expected) <= case.tolerance


@pytest.mark.parametrize(("version", "operation"), [("5.3.0", "pairs of halves"), ("5.17.0", "pairs")])
@pytest.mark.only(Version("4.53") <= HERE < Version("5"), reason="GLM-4V lacks apply_rotary_pos_emb there")
def test_written_for_chooses_between_two_meanings(version: str, operation: str) -> None:
    glm4v = importlib.import_module("transformers.models.glm4v.modeling_glm4v")
    (case,) = cases(operation)
    with rope_compat.patched(written_for=version):
        found = glm4v.apply_rotary_pos_emb(*case.arguments)
        assert largest_error(found, case.expected(*case.arguments)) <= case.tolerance


@pytest.mark.only(has_module("transformers.models.modernbert") and Version("5.1") <= HERE, reason="restored")
def test_unpadded_wants_to_know_where_sequences_begin() -> None:
    modernbert = importlib.import_module("transformers.models.modernbert.modeling_modernbert")
    (case,) = cases("unpadded")
    qkv, cos, sin, starts, longest = case.arguments
    with rope_compat.patched():
        with pytest.raises(rope_compat.CallFormError, match="cu_seqlens"):
            modernbert.apply_rotary_unpadded(qkv, cos, sin)
        leaf = qkv.clone().requires_grad_()
        modernbert.apply_rotary_unpadded(
            leaf, cos, sin, cu_seqlens=starts, max_seqlen=longest
        ).sum().backward()
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad[:, 2], torch.ones_like(leaf.grad[:, 2]))


def test_restored_functions_are_undone_one_patch_at_a_time() -> None:
    first, second = rope_compat.patch(), rope_compat.patch()
    for module, name in MISSING:
        assert is_restored(getattr(importlib.import_module(module), name))
    first.undo()
    for module, name in MISSING:
        assert is_restored(getattr(importlib.import_module(module), name))
    second.undo()
    assert not [m for m, name in MISSING if hasattr(importlib.import_module(m), name)]
