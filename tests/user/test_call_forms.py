"""The calls that users' code makes, on whatever release is installed, against the fp64 reference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, QWEN2_5_VL, QWEN2_VL, RELEASE, has_module, installed_targets, load
from support.tensors import Sample, sample
from torch import Tensor

import rope_compat
from rope_compat import catalog
from rope_compat.rotary import reference

HOME = Path(rope_compat.__file__).parent
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: One rounding of each of two products and of their sum, on values up to about 5.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 6e-2, torch.float16: 8e-3}

VISION_MODULES = [m for m in (QWEN2_VL, QWEN2_5_VL) if has_module(m)]
VISION_TARGETS = [m for m, _ in installed_targets("apply_rotary_pos_emb_vision")]
FLASHATT_MODULES = [m for m in (QWEN2_5_VL,) if has_module(m)]


@pytest.fixture(autouse=True)
def _patched() -> Iterator[None]:
    with rope_compat.patched(on_problem="ignore"):
        yield


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert (found.double() - expected).abs().max() <= TOLERANCE[dtype]


def llama_calls(data: Sample, axis: int) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    pos = data.position_ids
    table = (data.cos_table, data.sin_table)
    table4 = (data.cos_table[None, None], data.sin_table[None, None])
    rows = (data.cos, data.sin)
    return {
        "5.x": (rows, {"unsqueeze_dim": axis}),
        "5.x, by position": ((*rows, axis), {}),
        "4.38 to 4.57": ((*rows, pos, axis), {}),
        "4.38 to 4.57, by name": (rows, {"position_ids": pos, "unsqueeze_dim": axis}),
        "4.36": ((*table, pos, axis), {}),
        "4.36, by name": (table, {"position_ids": pos, "unsqueeze_dim": axis}),
        "4.28, [1, 1, S, D]": ((*table4, pos), {"unsqueeze_dim": axis}),
        "4.28, [1, 1, S, D], by name": (table4, {"position_ids": pos, "unsqueeze_dim": axis}),
    }


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_apply_rotary_pos_emb(dtype: torch.dtype, axis: int) -> None:
    llama = load(LLAMA)
    data = sample(dtype)
    q, k = data.in_layout(axis)
    expected = reference.apply(q, k, data.cos_table, data.sin_table, data.position_ids, axis)
    for form, (rest, options) in llama_calls(data, axis).items():
        found = llama.apply_rotary_pos_emb(q, k, *rest, **options)
        for one, other in zip(found, expected, strict=True):
            close(one, other, dtype), form


def frames_of(call: Callable[[], Any]) -> list[str]:
    """The files of rope_compat that a call runs through, one for each frame."""
    files: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and str(HOME) in frame.f_code.co_filename:
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files


@pytest.mark.only(
    find_spec("kernels") is None, reason="with kernels the name is a module, whose call comes first"
)
def test_a_native_call_takes_one_frame_and_a_foreign_one_stays_in_three_files() -> None:
    llama, data = load(LLAMA), sample(torch.float32)
    q, k = data.in_layout(1)
    for rest, options in llama_calls(data, 1).values():
        frames = frames_of(lambda r=rest, o=options: llama.apply_rotary_pos_emb(q, k, *r, **o))  # type: ignore[misc]
        assert len(set(frames)) <= 3
        assert len(frames) <= 21
    if Version(RELEASE) >= Version("4.38.0"):
        assert len(frames_of(lambda: llama.apply_rotary_pos_emb(q, k, data.cos, data.sin))) == 1


def test_gradients_are_those_of_the_native_call() -> None:
    llama = load(LLAMA)
    data = sample()
    gradients = {}
    for form, (rest, options) in llama_calls(data, 1).items():
        q, k = data.q.clone().requires_grad_(), data.k.clone().requires_grad_()
        out_q, out_k = llama.apply_rotary_pos_emb(q, k, *rest, **options)
        (out_q.square().sum() + out_k.cos().sum()).backward()
        gradients[form] = (q.grad, k.grad)
    expected = gradients.pop("5.x")
    for form, found in gradients.items():
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)), form


def test_tables_receive_gradients_through_the_index() -> None:
    llama = load(LLAMA)
    data = sample()
    cos, sin = data.cos_table.clone().requires_grad_(), data.sin_table.clone().requires_grad_()
    out, _ = llama.apply_rotary_pos_emb(data.q, data.k, cos, sin, data.position_ids)
    out.sum().backward()
    assert cos.grad is not None
    untouched = sorted(set(range(32)) - set(data.position_ids.flatten().tolist()))
    assert cos.grad[untouched].abs().max() == 0
    assert cos.grad.abs().max() > 0


def angles(length: int = 6, width: int = 8) -> Tensor:
    return reference.freqs(length, 2 * width).float()


def cos_sin(freqs: Tensor) -> tuple[Tensor, Tensor]:
    full = torch.cat((freqs, freqs), dim=-1)
    return full.cos(), full.sin()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("module_name", VISION_MODULES)
def test_apply_rotary_pos_emb_vision_in_both_forms(module_name: str, dtype: torch.dtype) -> None:
    function = load(module_name).apply_rotary_pos_emb_vision
    q, k = torch.randn(2, 1, 6, 4, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    freqs = angles()
    cos, sin = cos_sin(freqs)
    expected = reference.vision(q, k, cos, sin)
    for found, other in zip(function(q, k, cos, sin), expected, strict=True):
        close(found, other, dtype)
    for found, other in zip(function(q[0], k[0], cos=cos, sin=sin), expected, strict=True):
        close(found, other[0], dtype)
    close(function(q, freqs), expected[0], dtype)
    close(function(tensor=k, freqs=freqs), expected[1], dtype)
    # (tensor, freqs) of 4.45.0 to 4.48.3 gave a tensor without batch back with one.
    close(function(q[0], freqs), expected[0], dtype)


@pytest.mark.parametrize("module_name", VISION_TARGETS)
def test_every_vision_function_takes_or_refuses_freqs(module_name: str) -> None:
    """Inkling 2 pairs neighbours, so angles cannot be laid out for it; all others pair halves."""
    function = load(module_name).apply_rotary_pos_emb_vision
    q = torch.randn(1, 6, 4, 16, generator=torch.Generator().manual_seed(2))
    freqs = angles()
    cos, sin = cos_sin(freqs)
    if module_name.endswith("modeling_inkling2"):
        with pytest.raises(rope_compat.CallFormError, match="q, k, cos, sin"):
            function(q, freqs)
        return
    expected = reference.vision(q, q, cos, sin)
    close(function(q, freqs).reshape(q.shape), expected[0], torch.float32)
    for found, other in zip(function(q, q, cos, sin), expected, strict=True):
        close(found.reshape(q.shape), other, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("module_name", FLASHATT_MODULES)
def test_the_vlm_r1_call(module_name: str, dtype: torch.dtype) -> None:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_flashatt

    q, k = torch.randn(2, 6, 4, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    freqs = angles()
    position_embeddings = cos_sin(freqs)
    expected = reference.flashatt(q[None], k[None], *position_embeddings)

    cos, sin = position_embeddings
    new_q, new_k = apply_rotary_pos_emb_flashatt(q.unsqueeze(0), k.unsqueeze(0), cos, sin)
    close(new_q, expected[0], dtype)
    close(new_k, expected[1], dtype)

    close(apply_rotary_pos_emb_flashatt(q.unsqueeze(0), freqs), expected[0], dtype)
    close(apply_rotary_pos_emb_flashatt(tensor=k.unsqueeze(0), freqs=freqs), expected[1], dtype)


@pytest.mark.parametrize("module_name", FLASHATT_MODULES)
def test_flashatt_gradients(module_name: str) -> None:
    function = load(module_name).apply_rotary_pos_emb_flashatt
    freqs = angles()
    leaf = torch.randn(1, 6, 4, 16, generator=torch.Generator().manual_seed(4)).requires_grad_()
    function(leaf, leaf, *cos_sin(freqs))[0].square().sum().backward()
    # A rotation keeps lengths, so the gradient of the squared length is twice the input.
    assert leaf.grad is not None
    assert (leaf.grad - 2 * leaf.detach()).abs().max() < 1e-5


@pytest.mark.parametrize("axis", [1, 2])
def test_layout_mismatch_names_the_axes_and_the_way_out(axis: int) -> None:
    llama = load(LLAMA)
    data = sample(length=7)
    q, k = data.in_layout(3 - axis)
    with pytest.raises(rope_compat.LayoutError) as caught:
        llama.apply_rotary_pos_emb(q, k, data.cos, data.sin, unsqueeze_dim=axis)
    message = str(caught.value)
    assert f"Pass unsqueeze_dim={3 - axis}" in message
    assert "(b, s, h, d)" in message
    assert "(b, h, s, d)" in message
    assert isinstance(caught.value, TypeError)
    # torch reports the same mistake as a RuntimeError, which callers may catch.
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (([0, 1],), "position_ids must be an integer tensor"),
        ((torch.zeros(2, 5),), "position_ids must be integers"),
        ((True,), "position_ids must be"),
        ((torch.tensor(1),), "rank 1 or more"),
        ((torch.ones(2, 5, dtype=torch.bool),), "must be an integer tensor"),
        ((1, torch.zeros(2, 5, dtype=torch.long)), "follows the axis"),
    ],
    ids=["list", "float tensor", "bool", "scalar tensor", "mask", "axis before positions"],
)
def test_other_calls_are_refused_with_all_forms_shown(rest: tuple[Any, ...], why: str) -> None:
    llama = load(LLAMA)
    data = sample()
    with pytest.raises(TypeError) as caught:
        llama.apply_rotary_pos_emb(data.q, data.k, data.cos, data.sin, *rest)
    message = str(caught.value)
    assert why in message
    assert "native form in transformers" in message
    assert "unsqueeze_dim=1)" in message
    assert "position_ids" in message


def test_unknown_keyword_is_refused() -> None:
    data = sample()
    with pytest.raises(rope_compat.CallFormError, match="no form has an argument 'positions'"):
        load(LLAMA).apply_rotary_pos_emb(data.q, data.k, data.cos, data.sin, positions=data.position_ids)


def test_table_without_positions_is_refused() -> None:
    data = sample()
    with pytest.raises(rope_compat.CallFormError, match="without position_ids"):
        load(LLAMA).apply_rotary_pos_emb(
            data.q, data.k, data.cos_table[None, None], data.sin_table[None, None]
        )


def test_foreign_calls_are_counted_by_form_and_native_ones_are_not() -> None:
    llama = load(LLAMA)
    data = sample()
    info = llama.apply_rotary_pos_emb
    before = rope_compat.status()
    assert all(not item.foreign_calls for item in before.adapted)
    for rest, options in llama_calls(data, 1).values():
        info(data.q, data.k, *rest, **options)
    counts = {item.target: item.foreign_calls for item in rope_compat.status().adapted}
    found = counts[f"{LLAMA}:apply_rotary_pos_emb"]
    assert found
    assert sum(found.values()) < len(llama_calls(data, 1))


def test_packed_tokens_are_ambiguous_unless_native_or_said() -> None:
    """q [S, H, D], cos [S, D], position_ids [S]: rows of a table to 4.37, ignored from 4.38 to 4.57."""
    rope_compat.unpatch()
    data = sample(batch=1)
    q, k = data.q[0].transpose(0, 1), data.k[0].transpose(0, 1)
    cos, sin, pos = data.cos_table[:5], data.sin_table[:5], torch.tensor([4, 3, 2, 1, 0])
    ignored = reference.apply(q, k, cos, sin)
    indexed = reference.apply(q, k, cos[pos], sin[pos])
    llama = load(LLAMA)
    signature = catalog.signature_at(LLAMA, "apply_rotary_pos_emb", RELEASE) or ""
    for written_for, expected in (("4.37", indexed), ("4.57", ignored)):
        with rope_compat.patched(written_for=written_for, on_problem="ignore"):
            required = "position_ids, " in signature
            if required and written_for == "4.57":
                # Native on this release, where transformers' own code calls it so: untouched.
                continue
            found = llama.apply_rotary_pos_emb(q, k, cos, sin, pos)
            close(found[0], expected[0], torch.float32)
            close(found[1], expected[1], torch.float32)
    with rope_compat.patched(on_problem="ignore"):
        if "position_ids" in signature:
            expected = ignored if "position_ids=None" in signature else indexed
            close(llama.apply_rotary_pos_emb(q, k, cos, sin, pos)[0], expected[0], torch.float32)
        else:
            with pytest.raises(rope_compat.CallFormError, match="written_for"):
                llama.apply_rotary_pos_emb(q, k, cos, sin, pos)
