"""`verify_installation`: a healthy installation is right; mistakes put into it are found and named."""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from support.installed import RELEASE, has_module
from torch import Tensor

import rope_compat
from rope_compat._facts import conventions as installation_conventions
from rope_compat._outcome import Item, Report
from rope_compat._verify.installation.run import verify_installation

LLAMA = "transformers.models.llama.modeling_llama"
CLVP = "transformers.models.clvp.modeling_clvp"
GPTJ = "transformers.models.gptj.modeling_gptj"
NEOX = "transformers.models.gpt_neox.modeling_gpt_neox"
FEW = (
    LLAMA,
    CLVP,
    GPTJ,
    NEOX,
    "*.modeling_esm",
    "*.modeling_cohere",
    "*.modeling_qwen2*_vl",
    "*.modeling_gemma*",
)
MANY = (
    *FEW, "*.modeling_deepseek_v*", "*.modeling_sam*video", "*.modeling_edgetam_video", "*.modeling_llama4",
    "*.modeling_gpt_oss", "*.modeling_dinov3_vit", "*.modeling_pe_audio", "*.modeling_glm4v",
)  # fmt: skip


def function(report: Report, module: str, name: str = "apply_rotary_pos_emb") -> Item:
    return next(item for item in report if item.name == f"{module}:{name}")


def test_a_healthy_installation_is_right() -> None:
    report = verify_installation(modules=MANY)
    assert report.purpose == "verify"
    assert report.subject.startswith("transformers ")
    assert [(item.name, item.fault, item.reason) for item in report.wrong] == []
    right = [item for item in report if item.status == "ok"]
    assert len(right) >= 14
    assert {item.kind for item in right} == {"function", "class"}
    assert all(item.reason for item in report if item.status == "skipped")
    judged = [item for item in right if item.kind == "function" and item.tolerance]
    assert all(item.max_error is not None and item.max_error <= (item.tolerance or 0) for item in judged)
    # The bounds are no wider than they have to be: rounding comes near to them.
    assert max((item.max_error or 0) / (item.tolerance or 1) for item in judged) > 0.5


@pytest.mark.only(RELEASE == "5.24.0", reason="half a minute, in one environment of the matrix")
def test_a_whole_installation_in_less_than_a_minute() -> None:
    seen: list[str] = []

    @contextmanager
    def progress(names: Sequence[str], title: str) -> Iterator[Iterator[str]]:
        seen.append(title)
        yield iter(names)

    began = time.process_time()
    report = verify_installation(progress=progress)
    assert time.process_time() - began < 60
    assert [(item.name, item.fault) for item in report.wrong] == []
    assert len(report.items) > 700
    assert sum(item.status == "ok" for item in report) > 650
    assert len({item.name for item in report}) == len(report.items)
    assert len(seen) == 1
    assert "functions and classes of transformers 5.24.0" in seen[0]
    assert not rope_compat.status().active


def halves(x: Tensor) -> Tensor:
    return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)


def neighbours(x: Tensor) -> Tensor:
    return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)


def rotated(
    turn: Callable[[Tensor], Tensor] = halves,
    cos_sin: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda cos, sin: (cos, sin),
    after: Callable[[Tensor], Tensor] = lambda x: x,
) -> Callable[..., Any]:
    """A function of Llama's form with a mistake in it, for cos and sin of tokens."""

    def apply_rotary_pos_emb(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Any = None, unsqueeze_dim: int = 1
    ) -> Any:
        cos, sin = cos_sin(cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim))
        return tuple(after(x * cos + turn(x) * sin) for x in (q, k))

    return apply_rotary_pos_emb


def widened(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    half = cos.shape[-1] // 2
    return cos[..., :half].repeat_interleave(2, -1), sin[..., :half].repeat_interleave(2, -1)


def rounded(dtype: torch.dtype) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda cos, sin: (cos.to(dtype).to(cos.dtype), sin.to(dtype).to(sin.dtype))


FAULTS = {
    "sign": rotated(cos_sin=lambda cos, sin: (cos, -sin)),
    "swapped": rotated(cos_sin=lambda cos, sin: (sin, cos)),
    "pairing": rotated(neighbours, widened),
    "crossed": rotated(neighbours),
    "half-precision": rotated(cos_sin=rounded(torch.bfloat16)),
    "unrotated": rotated(cos_sin=lambda cos, sin: (torch.ones_like(cos), torch.zeros_like(sin))),
    "gradient": rotated(after=lambda x: x.detach()),
    "non-finite": rotated(after=lambda x: x / 0.0),
    "numbers": rotated(after=lambda x: x * 1.1),
    "shape": rotated(after=lambda x: x[..., :-2]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_mistakes_in_a_function_are_named(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module(LLAMA), "apply_rotary_pos_emb", FAULTS[fault])
    report = verify_installation(modules=LLAMA)
    assert not report.ok
    item = function(report, LLAMA)
    assert (item.status, item.fault) == ("wrong", fault)
    assert item.advice
    if fault in ("sign", "swapped", "pairing", "crossed", "unrotated"):
        assert item.max_error is not None
        assert item.max_error > 0.1 > (item.tolerance or 1.0)
        assert item.position is not None
    assert len(report.wrong) == 1


def test_half_precision_is_told_from_its_own_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 tables are wrong in float32, and right for float16."""
    monkeypatch.setattr(
        importlib.import_module(LLAMA), "apply_rotary_pos_emb", rotated(cos_sin=rounded(torch.float16))
    )
    item = function(verify_installation(modules=LLAMA), LLAMA)
    assert (item.fault, "float16" in item.reason, "fp32" in item.reason) == ("half-precision", True, True)


def clvp(rows: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    """CLVP's function, which takes tables and looks `position_ids` up in them."""

    def apply_rotary_pos_emb(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cos: Tensor,
        sin: Tensor,
        position_ids: Tensor,
        unsqueeze_dim: int = 1,
    ) -> Any:
        at = rows(position_ids, cos)
        c, s = cos[at].unsqueeze(unsqueeze_dim), sin[at].unsqueeze(unsqueeze_dim)
        return tuple(x * c + halves(x) * s for x in (q, k, v))

    return apply_rotary_pos_emb


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("off-by-one", lambda at, cos: (at + 1) % len(cos)),
        ("off-by-one", lambda at, cos: (at - 1) % len(cos)),
        ("positions-ignored", lambda at, cos: torch.arange(at.shape[-1]).expand(at.shape)),
    ],
)
def test_mistakes_in_positions_are_named(fault: str, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module(CLVP), "apply_rotary_pos_emb", clvp(rows))
    item = function(verify_installation(modules=CLVP), CLVP)
    assert (item.status, item.fault) == ("wrong", fault)


def test_positions_that_are_required_and_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply_rotary_pos_emb(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor, unsqueeze_dim: int = 1
    ) -> Any:
        return rotated()(q, k, cos, sin, None, unsqueeze_dim)

    monkeypatch.setattr(importlib.import_module(LLAMA), "apply_rotary_pos_emb", apply_rotary_pos_emb)
    item = function(verify_installation(modules=LLAMA), LLAMA)
    assert (item.status, item.fault) == ("wrong", "positions-ignored")


def test_a_function_below_others_is_found_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """rotate_half of GPT-NeoX: its own item, and that of the function which calls it."""
    monkeypatch.setattr(importlib.import_module(NEOX), "rotate_half", lambda x: -halves(x))
    report = verify_installation(modules=NEOX)
    for name in ("rotate_half", "apply_rotary_pos_emb"):
        assert function(report, NEOX, name).fault == "sign"


def test_sin_first_is_not_cos_first(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(GPTJ)
    native = module.apply_rotary_pos_emb

    def apply_rotary_pos_emb(tensor: Tensor, sin: Tensor, cos: Tensor) -> Any:
        return native(tensor, cos, sin)

    monkeypatch.setattr(module, "apply_rotary_pos_emb", apply_rotary_pos_emb)
    monkeypatch.setattr(module, "create_sinusoidal_positions", torch.zeros)
    report = verify_installation(modules=GPTJ)
    assert function(report, GPTJ).fault == "swapped"
    assert function(report, GPTJ, "create_sinusoidal_positions").status == "wrong"


QWEN = "transformers.models.qwen2_vl.modeling_qwen2_vl"
MULTIMODAL = "apply_multimodal_rotary_pos_emb"


@pytest.mark.only(
    has_module(QWEN) and hasattr(importlib.import_module(QWEN), MULTIMODAL), reason="4.45.0 to 5.16.1"
)
def test_sections_that_are_cut_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(QWEN)
    native = getattr(module, MULTIMODAL)

    def apply_multimodal_rotary_pos_emb(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Any, unsqueeze_dim: int = 1
    ) -> Any:
        return native(q, k, cos, sin, list(reversed(mrope_section)), unsqueeze_dim)

    monkeypatch.setattr(module, MULTIMODAL, apply_multimodal_rotary_pos_emb)
    item = function(verify_installation(modules=QWEN), QWEN, MULTIMODAL)
    assert item.status == "wrong"


def constructed(change: Callable[[Any], None]) -> Callable[[Any], Any]:
    """Changes what a class has constructed."""

    def seed(native: Any) -> Any:
        @functools.wraps(native)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            native(self, *args, **kwargs)
            change(self)

        return __init__

    return seed


def forwarded(change: Callable[[Tensor, Tensor], Any]) -> Callable[[Any], Any]:
    """Changes what forward gives."""

    def seed(native: Any) -> Any:
        @functools.wraps(native)
        def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            return change(*native(self, *args, **kwargs))

        return forward

    return seed


def scale(factor: float) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        module.inv_freq = module.inv_freq * factor

    return change


def other_theta(module: Any) -> None:
    module.inv_freq = module.inv_freq**1.1


def coarse(module: Any) -> None:
    module.inv_freq = module.inv_freq.bfloat16()


CLASS_FAULTS = {
    "inverse frequencies scaled": ("__init__", constructed(scale(0.5))),
    "another theta": ("__init__", constructed(other_theta)),
    "half precision": ("__init__", constructed(coarse)),
    "garbage": ("__init__", constructed(scale(1e22))),
    "not a number": ("__init__", constructed(scale(float("nan")))),
    "sign": ("forward", forwarded(lambda cos, sin: (cos, -sin))),
    "swapped": ("forward", forwarded(lambda cos, sin: (sin, cos))),
    "one position off": ("forward", forwarded(lambda cos, sin: (cos.roll(1, -2), sin.roll(1, -2)))),
    "amplitude": ("forward", forwarded(lambda cos, sin: (2 * cos, 2 * sin))),
    "tables in bfloat16": ("forward", forwarded(lambda c, s: (c.bfloat16().float(), s.bfloat16().float()))),
}


@pytest.mark.parametrize("fault", CLASS_FAULTS)
def test_mistakes_in_a_class_are_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = importlib.import_module(LLAMA).LlamaRotaryEmbedding
    method, seed = CLASS_FAULTS[fault]
    monkeypatch.setattr(cls, method, seed(getattr(cls, method)))
    item = function(verify_installation(modules=LLAMA), LLAMA, "LlamaRotaryEmbedding")
    assert item.status == "wrong"
    assert item.fault
    assert item.reason


def test_what_patch_has_put_there_is_seen_through() -> None:
    with rope_compat.patched(on_problem="ignore"):
        report = verify_installation(modules=LLAMA)
        assert rope_compat.status().active
    assert report.ok
    assert function(report, LLAMA).status == "ok"


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(rope_compat.ArgumentError, match="matches no module"):
        verify_installation(modules="transformers.models.no_such_model.*")


def test_conventions_are_about_models_that_exist() -> None:
    models = {
        target.module.split(".")[2] for target in rope_compat.catalog.targets() if ".models." in target.module
    }
    known = {*installation_conventions._BY_MODEL, *(each[0] for each in installation_conventions._EXCEPTIONS)}
    assert known <= models
