"""Liger's kernels, run for real: interpreted on the CPU (``TRITON_INTERPRET=1``), compiled on a GPU.

Only the RoPE kernels: Triton's interpreter cannot run those of RMSNorm and SwiGLU.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import models
from support.installed import LLAMA, QWEN2_5_VL, QWEN2_VL, has_module, load
from support.tensors import sample

import rope_compat
from rope_compat.rotary import reference

HAS_LIGER = importlib.util.find_spec("liger_kernel") is not None
pytestmark = pytest.mark.only(HAS_LIGER, reason="the environment called liger has that package")

#: Name of Liger's function, module of transformers, the name that is replaced there.
MULTIMODAL = "apply_multimodal_rotary_pos_emb"
PATCHES = {
    "llama": (LLAMA, "apply_rotary_pos_emb"),
    "gemma": ("transformers.models.gemma.modeling_gemma", "apply_rotary_pos_emb"),
    "phi3": ("transformers.models.phi3.modeling_phi3", "apply_rotary_pos_emb"),
    "qwen2_vl": (QWEN2_VL, MULTIMODAL),
    "qwen2_5_vl": (QWEN2_5_VL, MULTIMODAL),
}
#: Qwen2-VL's names are gone from 5.17.0 on: there Liger's replacement is dead.
LIVE = [name for name, (module, _) in PATCHES.items() if has_module(module)]
if HAS_LIGER:
    LIVE = [name for name in LIVE if hasattr(load(PATCHES[name][0]), PATCHES[name][1])]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of Liger's RoPE kernels, each time that one is called; Liger's functions themselves stay."""
    found: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **kwargs: Any) -> Any:
            found.append(name)
            return function(*args, **kwargs)

        return count

    rope = load("liger_kernel.transformers.rope")
    mrope = load("liger_kernel.transformers.qwen2vl_mrope")
    monkeypatch.setattr(rope, "dispatch", counted("rope", rope.dispatch))
    kernel = SimpleNamespace(apply=counted("mrope", mrope.LigerQwen2VLMRopeFunction.apply))
    monkeypatch.setattr(mrope, "LigerQwen2VLMRopeFunction", kernel)
    return found


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    """What Liger replaces is put back when the test is over, after `rope_compat` is off."""
    places = [(load(PATCHES[name][0]), PATCHES[name][1]) for name in LIVE]
    before = [getattr(module, name) for module, name in places]
    yield
    rope_compat.unpatch()
    for (module, name), value in zip(places, before, strict=True):
        setattr(module, name, value)


def liger_function(name: str) -> Callable[..., Any]:
    """The function that Liger puts in the place of transformers'."""
    if PATCHES[name][1] == MULTIMODAL:
        found: Callable[..., Any] = load(
            "liger_kernel.transformers.qwen2vl_mrope"
        ).liger_multimodal_rotary_pos_emb
    else:
        found = load("liger_kernel.transformers.rope").liger_rotary_pos_emb
    return found


def apply_liger(name: str, model: Any = None) -> None:
    """`apply_liger_kernel_to_<name>` with RoPE alone; with a model, as trainers apply it to an instance."""
    patches = load("liger_kernel.transformers.monkey_patch")
    function = getattr(patches, f"apply_liger_kernel_to_{name}")
    options = {
        option: option == "rope" for option in inspect.signature(function).parameters if option != "model"
    }
    if model is None:
        function(**options)
    else:
        patches._apply_liger_kernel_to_instance(model=model, **options)


def evaluate(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient at the embedding."""
    model.zero_grad()
    logits = model(**models.inputs_for("llama")).logits
    logits.float().square().sum().backward()
    return logits.detach(), model.get_input_embeddings().weight.grad.clone()


def same_bits(found: Any, expected: Any) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("name", LIVE)
def test_liger_first(name: str, calls: list[str]) -> None:
    """Same bits as without rope_compat, through Liger's kernel; afterwards its function is there again."""
    module, attribute = load(PATCHES[name][0]), PATCHES[name][1]
    plain = evaluate(models.ALL[name]())
    assert not calls
    apply_liger(name)
    model = models.ALL[name]()
    expected = evaluate(model)
    alone = len(calls)
    assert alone == 2
    with rope_compat.patched(on_problem="ignore"):
        found = evaluate(model)
        again = evaluate(models.ALL[name]())
    assert len(calls) == 3 * alone
    assert same_bits(found, expected)
    assert same_bits(again, expected)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert getattr(module, attribute) is liger_function(name)


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("name", LIVE)
def test_rope_compat_first(name: str, calls: list[str]) -> None:
    """What Liger assigns after patch() is called, and stays when patch() is undone."""
    module, attribute = load(PATCHES[name][0]), PATCHES[name][1]
    native = getattr(module, attribute)
    apply_liger(name)
    expected = evaluate(models.ALL[name]())
    setattr(module, attribute, native)
    del calls[:]
    with rope_compat.patched(on_problem="ignore"):
        apply_liger(name)
        found = evaluate(models.ALL[name]())
    assert len(calls) == 2
    assert same_bits(found, expected)
    assert getattr(module, attribute) is liger_function(name)


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("liger_is_first", [True, False])
def test_liger_on_an_instance(liger_is_first: bool, calls: list[str]) -> None:
    """As trainers do it with ``use_liger_kernel=True``: the model is made before Liger is asked."""
    plain = evaluate(models.ALL["llama"]())
    model = models.ALL["llama"]()
    if liger_is_first:
        apply_liger("llama", model)
    with rope_compat.patched(on_problem="ignore"):
        if not liger_is_first:
            apply_liger("llama", model)
        found = evaluate(model)
    assert len(calls) == 2
    assert load(LLAMA).apply_rotary_pos_emb is liger_function("llama")
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


FORMS = ("plain", "gathered", "indexed", "axis")


def old_calls() -> dict[str, Any]:
    """Calls in the forms of other releases, by name: everything after q and k."""
    data = sample()
    return {
        "plain": (data.cos, data.sin),
        "gathered": (data.cos, data.sin, data.position_ids),
        "indexed": (data.cos_table, data.sin_table, data.position_ids),
        "axis": (data.cos, data.sin, 1),
    }


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("liger_is_first", [True, False])
def test_calls_of_other_releases(form: str, liger_is_first: bool, calls: list[str]) -> None:
    """Liger's function takes position_ids and ignores them: rows of a table are picked before its call.

    What is put in place after patch() is adapted when the next model is made.
    """
    data = sample()
    expected = reference.apply(data.q, data.k, data.cos, data.sin)
    if liger_is_first:
        apply_liger("llama")
    with rope_compat.patched(on_problem="ignore"):
        if not liger_is_first:
            apply_liger("llama")
            models.ALL["llama"]()
        found = load(LLAMA).apply_rotary_pos_emb(data.q, data.k, *old_calls()[form])
    assert calls == ["rope"]
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).abs().max() < 4e-6


@pytest.mark.usefixtures("_as_it_was")
def test_a_call_that_fits_no_form_is_refused() -> None:
    data = sample()
    apply_liger("llama")
    with rope_compat.patched(on_problem="ignore"):
        rotate = load(LLAMA).apply_rotary_pos_emb
        with pytest.raises(rope_compat.CallFormError, match="rotates q and k"):
            rotate(data.q, data.cos, data.sin)
        with pytest.raises(rope_compat.CallFormError, match="rotary_dims"):
            rotate(data.q, data.k, data.cos, data.sin, rotary_dims=8)


@pytest.mark.usefixtures("_as_it_was")
def test_ligers_own_keywords_pass() -> None:
    """GPT-OSS's function gives half-width tables and says the rotary width."""
    data = sample()
    width = data.cos.shape[-1]
    halves = (data.cos[..., : width // 2], data.sin[..., : width // 2])
    apply_liger("llama")
    expected = liger_function("llama")(data.q, data.k, *halves, rotary_dim=width)
    with rope_compat.patched(on_problem="ignore"):
        found = load(LLAMA).apply_rotary_pos_emb(data.q, data.k, *halves, rotary_dim=width)
    assert same_bits(found, expected)


@pytest.mark.gpu
@pytest.mark.only(torch.cuda.is_available(), reason="the compiled kernel needs a CUDA device")
@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
def test_the_compiled_kernel(form: str, dtype: torch.dtype, calls: list[str]) -> None:
    data = sample()
    expected = reference.apply(data.q, data.k, data.cos, data.sin)
    rest = [item.cuda() if isinstance(item, torch.Tensor) else item for item in old_calls()[form]]
    apply_liger("llama")
    with rope_compat.patched(on_problem="ignore"):
        rotate = load(LLAMA).apply_rotary_pos_emb
        found = rotate(data.q.cuda().to(dtype), data.k.cuda().to(dtype), *rest)
    assert calls == ["rope"]
    bound = 4e-6 if dtype is torch.float32 else 4e-2
    for one, other in zip(found, expected, strict=True):
        assert (one.double().cpu() - other).abs().max() < bound


@pytest.mark.gpu
@pytest.mark.only(torch.cuda.is_available(), reason="the compiled kernel needs a CUDA device")
@pytest.mark.usefixtures("_as_it_was")
def test_a_model_with_all_of_ligers_kernels() -> None:
    """On a GPU every kernel of Liger's runs: same bits with and without patch()."""
    patches = load("liger_kernel.transformers.monkey_patch")
    model = models.ALL["llama"]().cuda()
    patches._apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False)
    inputs = {name: value.cuda() for name, value in models.inputs_for("llama").items()}
    with torch.no_grad():
        expected = model(**inputs).logits
        with rope_compat.patched(on_problem="ignore"):
            found = model(**inputs).logits
    assert torch.equal(found, expected)
