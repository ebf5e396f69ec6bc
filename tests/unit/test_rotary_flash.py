"""flashatt and flashatt_single: which kernel is used when, what it gets, and torch's numbers without one."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_compat.errors import CallFormError, LayoutError
from rope_compat.rotary import flash, operations, reference

QUICK = settings(deadline=None, max_examples=30, database=None)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# float32 products and sums of numbers of size 6 at most, of inputs rounded to float32 (float64 ones).
FP32 = 4 * 6 * torch.finfo(torch.float32).eps


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.clamp(-6, 6).to(dtype)


def flash_attns_torch(x, cos, sin):
    """What ``apply_rotary_emb_torch`` in ``flash_attn/layers/rotary.py`` computes, for half pairing."""
    width = 2 * cos.shape[-1]
    full_cos, full_sin = (torch.cat((t, t), -1).unsqueeze(-2) for t in (cos, sin))
    first, second = x[..., :width].chunk(2, dim=-1)
    turned = x[..., :width] * full_cos + torch.cat((-second, first), dim=-1) * full_sin
    return torch.cat([turned, x[..., width:]], dim=-1)


def upstream(q, k, cos, sin):
    """``apply_rotary_pos_emb_flashatt`` of ``modeling_qwen2_5_vl.py`` 4.50.0 to 4.52.4."""
    cos = cos.chunk(2, dim=-1)[0].contiguous()
    sin = sin.chunk(2, dim=-1)[0].contiguous()
    q_embed = flash_attns_torch(q.float(), cos.float(), sin.float()).type_as(q)
    k_embed = flash_attns_torch(k.float(), cos.float(), sin.float()).type_as(k)
    return q_embed, k_embed


class OnCuda(torch.Tensor):
    """A CPU tensor that says it is a CUDA tensor, and so does whatever is computed from it."""

    is_cuda = True


def cuda(*shape: int, dtype: torch.dtype = torch.float32) -> OnCuda:
    return draw(1, *shape, dtype=dtype).as_subclass(OnCuda)


class Recorder:
    """A kernel that writes down what it is handed, and computes nothing new."""

    def __init__(self) -> None:
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def __call__(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        self.calls.append((x, cos, sin))
        return x * 2


@QUICK
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 5),
    half=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    q_dtype=st.sampled_from(DTYPES),
    k_dtype=st.sampled_from(DTYPES),
    table=st.sampled_from(DTYPES),
)
def test_flashatt_is_upstreams_formula_and_the_reference(batch, length, half, seed, q_dtype, k_dtype, table):
    q = draw(seed, batch, length, 3, 2 * half, dtype=q_dtype)
    k = draw(seed + 1, batch, length, 1, 2 * half, dtype=k_dtype)
    cos, sin = (t.to(table) for t in reference.cos_sin(length, 2 * half))
    got = operations.flashatt(q, k, cos, sin)
    half_width = operations.flashatt(q, k, cos[:, :half], sin[:, :half])
    for mine, theirs, narrow in zip(got, upstream(q, k, cos, sin), half_width, strict=True):
        assert torch.equal(mine, theirs)
        assert torch.equal(mine, narrow)
    for x, mine, expected in zip((q, k), got, reference.flashatt(q, k, cos, sin), strict=True):
        assert mine.dtype == x.dtype
        # Beside float32's own, the rounding of the result, of size 1.5 * 6 at most, to the input's dtype.
        atol = FP32 + (0 if x.dtype.itemsize >= 4 else 6 * torch.finfo(x.dtype).eps)
        torch.testing.assert_close(mine.double(), expected, rtol=0, atol=atol)


@QUICK
@given(
    length=st.integers(1, 5),
    half=st.integers(1, 6),
    extra=st.integers(0, 4),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(DTYPES),
)
def test_flashatt_single_is_the_reference_and_passes_what_has_no_angle(length, half, extra, seed, dtype):
    tensor = draw(seed, 2, length, 3, 2 * half + extra, dtype=dtype)
    freqs = reference.freqs(length, 2 * half).float()
    got = operations.flashatt_single(tensor, freqs)
    assert got.dtype == dtype
    assert torch.equal(got, flash_attns_torch(tensor.float(), freqs.cos(), freqs.sin()).type_as(tensor))
    atol = FP32 + (0 if dtype.itemsize >= 4 else 6 * torch.finfo(dtype).eps)
    torch.testing.assert_close(
        got.double(), reference.rotate_by_angle(tensor, freqs[:, None]), rtol=0, atol=atol
    )


def test_both_forms_agree():
    q, k = draw(1, 1, 5, 2, 8), draw(2, 1, 5, 2, 8)
    freqs = reference.freqs(5, 8).float()
    emb = torch.cat((freqs, freqs), dim=-1)
    pair = operations.flashatt(q, k, emb.cos(), emb.sin())
    assert torch.equal(pair[0], operations.flashatt_single(q, freqs))
    assert torch.equal(pair[1], operations.flashatt_single(k, freqs))


def test_rows_beyond_the_sequence_are_not_used_as_the_kernel_does_not():
    q = draw(3, 1, 5, 2, 8)
    cos, sin = (t.float() for t in reference.cos_sin(9, 8))
    longer = operations.flashatt(q, q, cos, sin)
    exact = operations.flashatt(q, q, cos[:5], sin[:5])
    assert torch.equal(longer[0], exact[0])
    freqs = reference.freqs(9, 8).float()
    assert torch.equal(operations.flashatt_single(q, freqs), operations.flashatt_single(q, freqs[:5]))


def test_gradients_are_the_references():
    cos, sin = (t.float() for t in reference.cos_sin(5, 8))
    values, weight = (draw(1, 1, 5, 2, 8), draw(2, 1, 5, 3, 8)), (draw(3, 1, 5, 2, 8), draw(4, 1, 5, 3, 8))

    def gradients(function):
        q, k, c, s = (t.clone().requires_grad_() for t in (*values, cos, sin))
        out = function(q, k, c, s)
        return torch.autograd.grad(
            out, (q, k, c, s), [w.to(o.dtype) for w, o in zip(weight, out, strict=True)]
        )

    for a, b in zip(gradients(operations.flashatt), gradients(reference.flashatt), strict=True):
        # The gradients of cos and sin sum ten products.
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=10 * FP32)


@pytest.mark.parametrize("table", DTYPES)
def test_a_cuda_tensor_goes_to_the_kernel_in_float32_with_contiguous_half_width_tables(table):
    kernel = Recorder()
    q, k = cuda(1, 5, 2, 8, dtype=torch.bfloat16), cuda(1, 5, 1, 8, dtype=torch.float16)
    cos, sin = cuda(5, 8, dtype=table), cuda(5, 8, dtype=table) / 2
    out = operations.make_flashatt(kernel)(q, k, cos, sin)
    for x, got, (seen, seen_cos, seen_sin) in zip((q, k), out, kernel.calls, strict=True):
        assert got.dtype == x.dtype
        assert torch.equal(got, x * 2)
        assert seen.dtype == seen_cos.dtype == seen_sin.dtype == torch.float32
        assert torch.equal(seen, x.float())
        assert torch.equal(seen_cos, cos[:, :4].float())
        assert torch.equal(seen_sin, sin[:, :4].float())
        assert seen_cos.is_contiguous()
        assert seen_sin.is_contiguous()


def test_the_single_form_goes_to_the_kernel_too():
    kernel = Recorder()
    tensor, freqs = cuda(1, 5, 2, 8, dtype=torch.bfloat16), cuda(5, 4)
    out = operations.make_flashatt_single(kernel)(tensor, freqs)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, tensor * 2)
    ((seen, seen_cos, seen_sin),) = kernel.calls
    assert torch.equal(seen, tensor.float())
    assert torch.equal(seen_cos, freqs.cos())
    assert torch.equal(seen_sin, freqs.sin())


def test_a_cpu_tensor_never_goes_to_the_kernel():
    kernel = Recorder()
    q, freqs = draw(1, 1, 5, 2, 8), reference.freqs(5, 8).float()
    cos, sin = (t.float() for t in reference.cos_sin(5, 8))
    assert torch.equal(
        operations.make_flashatt(kernel)(q, q, cos, sin)[0], operations.flashatt(q, q, cos, sin)[0]
    )
    operations.make_flashatt_single(kernel)(q, freqs)
    assert kernel.calls == []


@pytest.fixture
def forgetful(monkeypatch):
    """flash_kernel looks again, before and after the test."""
    flash.flash_kernel.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    flash.flash_kernel.cache_clear()


def install_fake_flash_attn(monkeypatch: pytest.MonkeyPatch, **contents: object) -> None:
    for name in ("flash_attn", "flash_attn.layers"):
        package = types.ModuleType(name)
        package.__path__ = []
        package.__spec__ = types.SimpleNamespace(name=name)  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, package)
    module = types.ModuleType("flash_attn.layers.rotary")
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, "flash_attn.layers.rotary", module)


def test_flash_kernel_is_flash_attns_function_looked_up_once(forgetful):
    kernel = Recorder()
    install_fake_flash_attn(forgetful, apply_rotary_emb=kernel)
    assert operations.flash_kernel() is kernel
    forgetful.delitem(sys.modules, "flash_attn.layers.rotary")
    assert operations.flash_kernel() is kernel


def test_flashatt_finds_the_kernel_by_itself_for_cuda_tensors_alone(forgetful):
    kernel = Recorder()
    install_fake_flash_attn(forgetful, apply_rotary_emb=kernel)
    q, cos = draw(1, 1, 5, 2, 8), torch.ones(5, 8)
    operations.flashatt(q, q, cos, cos)
    operations.flashatt_single(q, cos[:, :4])
    assert flash.flash_kernel.cache_info().currsize == 0
    q = cuda(1, 5, 2, 8)
    operations.flashatt(q, q, cuda(5, 8), cuda(5, 8))
    operations.flashatt_single(q, cuda(5, 4))
    assert len(kernel.calls) == 3


def test_flash_kernel_is_none_when_flash_attn_has_no_rotary(forgetful):
    install_fake_flash_attn(forgetful)
    assert operations.flash_kernel() is None


def test_flash_kernel_is_none_when_flash_attn_does_not_import(forgetful):
    install_fake_flash_attn(forgetful)
    forgetful.setitem(sys.modules, "flash_attn.layers.rotary", None)
    assert operations.flash_kernel() is None


def test_flash_kernel_is_none_when_flash_attn_is_not_installed(forgetful):
    for name in [name for name in sys.modules if name.split(".")[0] == "flash_attn"]:
        forgetful.delitem(sys.modules, name)
    forgetful.setattr(flash.importlib.util, "find_spec", lambda name: None)
    assert operations.flash_kernel() is None


def test_without_a_kernel_cuda_tensors_are_computed_by_torch(forgetful):
    install_fake_flash_attn(forgetful)
    q, cos, sin = cuda(1, 5, 2, 8, dtype=torch.float16), cuda(5, 8), cuda(5, 8)
    for function in (operations.flashatt, operations.make_flashatt(None)):
        for mine, theirs in zip(function(q, q, cos, sin), upstream(q, q, cos, sin), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("q", "k", "cos", "said"),
    [
        ((5, 2, 8), (5, 2, 8), (5, 8), r"q has shape \(5, 2, 8\).*\.unsqueeze\(0\)"),
        ((1, 7, 2, 8), (1, 7, 2, 8), (5, 8), r"q has shape \(1, 7, 2, 8\).*at least s positions"),
        ((1, 5, 2, 8), (1, 6, 2, 8), (5, 8), r"k has shape \(1, 6, 2, 8\)"),
        ((1, 5, 2, 8), (1, 5, 2, 8), (1, 5, 8), r"\(1, 5, 4\) \(positions, pairs\)"),
        (
            (1, 5, 2, 8),
            (1, 5, 2, 8),
            (5, 6),
            "expected cos and sin of width 8, whose first half is used, or 4",
        ),
    ],
)
def test_flashatt_refuses_shapes_that_do_not_meet(q, k, cos, said):
    with pytest.raises(LayoutError, match=said):
        operations.flashatt(torch.zeros(q), torch.zeros(k), torch.zeros(cos), torch.zeros(cos))


def test_flashatt_single_refuses_shapes_that_do_not_meet():
    for freqs in ((4, 4), (5, 8), (1, 5, 4)):
        with pytest.raises(LayoutError, match="tensor has shape"):
            operations.flashatt_single(torch.zeros(1, 5, 2, 8), torch.zeros(freqs))
    with pytest.raises(CallFormError, match="expected one shape"):
        operations.flashatt(
            torch.zeros(1, 5, 2, 8), torch.zeros(1, 5, 2, 8), torch.zeros(5, 8), torch.zeros(5, 4)
        )


@pytest.mark.gpu
@pytest.mark.only(torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_cuda_the_numbers_are_the_references_with_and_without_flash_attn(dtype):
    q, k = (draw(seed, 2, 65, 3, 64, dtype=dtype).cuda() for seed in (1, 2))
    cos, sin = (t.float().cuda() for t in reference.cos_sin(65, 64))
    expected = reference.flashatt(q.cpu(), k.cpu(), cos.cpu(), sin.cpu())
    for function in (operations.flashatt, operations.make_flashatt(None)):
        for mine, theirs in zip(function(q, k, cos, sin), expected, strict=True):
            assert mine.dtype == dtype
            atol = FP32 + (0 if dtype.itemsize >= 4 else 6 * torch.finfo(dtype).eps)
            torch.testing.assert_close(mine.double().cpu(), theirs, rtol=0, atol=atol)
