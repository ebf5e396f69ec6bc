"""Honest stand-ins for packages that need an accelerator: the same functions, computed by torch.

Each is put into ``sys.modules`` when a record asks for it, and only if the package itself is not installed.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def _module(name: str, **contents: Any) -> ModuleType:
    """Make a module importable; a parent gets it as an attribute."""
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    vars(module).update(contents)
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


def _is_there(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def cuda_capability() -> None:
    """Patches refuse GPUs before Ampere; this says Ampere, where there is no GPU to ask."""
    if not torch.cuda.is_available():
        torch.cuda.get_device_capability = lambda device=None: (8, 0)


def _attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None) -> Tensor:
    """Attention of (s, h, d) tensors; the mask is aligned at the end, as flash-attn's is."""
    groups = q.shape[-2] // k.shape[-2]
    k, v = (part.repeat_interleave(groups, dim=-2) for part in (k, v))
    q, k, v = (part.transpose(-2, -3) for part in (q, k, v))
    mask = None
    if causal:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device)
        mask = mask.tril(k.shape[-2] - q.shape[-2])
    found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return found.transpose(-2, -3)


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
    **rest: Any,
) -> Any:
    """flash-attn's function of (b, s, h, d) tensors; with its log-sum-exp (b, h, s) if asked for."""
    found = _attention(q, k, v, causal, softmax_scale)
    return (found, _log_sum_exp(q, k, causal, softmax_scale), None) if return_attn_probs else found


def _log_sum_exp(q: Tensor, k: Tensor, causal: bool, scale: float | None) -> Tensor:
    k = k.repeat_interleave(q.shape[-2] // k.shape[-2], dim=-2)
    scores = q.transpose(1, 2) @ k.transpose(1, 2).transpose(2, 3) * (scale or q.shape[-1] ** -0.5)
    if causal:
        keep = torch.ones_like(scores[0, 0], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        scores = scores.masked_fill(~keep, -torch.inf)
    return scores.logsumexp(-1)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    **rest: Any,
) -> Tensor:
    """flash-attn's function of packed (s, h, d) tensors."""
    pieces = zip(
        q.split(cu_seqlens_q.diff().tolist()),
        k.split(cu_seqlens_k.diff().tolist()),
        v.split(cu_seqlens_k.diff().tolist()),
        strict=True,
    )
    return torch.cat([_attention(*piece, causal, softmax_scale) for piece in pieces])


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, dropout_p: float = 0.0, **rest: Any
) -> Tensor:
    """The same for (s, 3, h, d)."""
    lengths = (cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
    return flash_attn_varlen_func(*qkv.unbind(1), *lengths, dropout_p, **rest)


def flash_attn_varlen_kvpacked_func(q: Tensor, kv: Tensor, *lengths: Any, **rest: Any) -> Tensor:
    """The same for queries and (s, 2, h, d)."""
    return flash_attn_varlen_func(q, *kv.unbind(1), *lengths, **rest)


def flash_attn_qkvpacked_func(qkv: Tensor, dropout_p: float = 0.0, **rest: Any) -> Tensor:
    """The same for (b, s, 3, h, d)."""
    return flash_attn_func(*qkv.unbind(2), dropout_p, **rest)


def unpad_input(hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """flash-attn's `bert_padding`: the rows that a (b, s) mask keeps."""
    lengths = mask.sum(dim=-1, dtype=torch.int32)
    indices = mask.flatten().nonzero().flatten()
    cumulated = functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return hidden.flatten(0, 1)[indices], indices, cumulated, int(lengths.max())


def pad_input(hidden: Tensor, indices: Tensor, batch: int, length: int) -> Tensor:
    """The way back, with zeros where the mask had none."""
    whole = hidden.new_zeros(batch * length, *hidden.shape[1:])
    return whole.index_copy(0, indices, hidden).unflatten(0, (batch, length))


def apply_rotary_emb(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False, **rest: Any) -> Tensor:
    """flash-attn's rotation of (b, s, h, d) by half-width tables (s, d / 2)."""
    assert not interleaved
    cos, sin = (torch.cat((table, table), dim=-1)[:, None, :] for table in (cos, sin))
    return npu_rotary_mul(x, cos, sin)


def index_first_axis(hidden: Tensor, indices: Tensor) -> Tensor:
    """Rows of a tensor."""
    return hidden[indices]


def flash_attn() -> None:
    """flash-attn 2, with the names of flash-attn 1 beside them."""
    if _is_there("flash_attn"):
        return
    functions = {
        "flash_attn_func": flash_attn_func,
        "flash_attn_varlen_func": flash_attn_varlen_func,
        "flash_attn_qkvpacked_func": flash_attn_qkvpacked_func,
        "flash_attn_varlen_qkvpacked_func": flash_attn_varlen_qkvpacked_func,
        "flash_attn_varlen_kvpacked_func": flash_attn_varlen_kvpacked_func,
        "flash_attn_unpadded_func": flash_attn_varlen_func,
        "flash_attn_unpadded_qkvpacked_func": flash_attn_varlen_qkvpacked_func,
    }
    _module("flash_attn", __version__="2.6.3", **functions)
    _module("flash_attn.flash_attn_interface", **functions)
    _module(
        "flash_attn.bert_padding",
        unpad_input=unpad_input,
        pad_input=pad_input,
        index_first_axis=index_first_axis,
    )
    _module("flash_attn.layers")
    _module("flash_attn.layers.rotary", apply_rotary_emb=apply_rotary_emb)


def into_flash_class(module: Any, cls: type[Any]) -> None:
    """Give an attention module the class that it would have on a GPU, with ``flash_attention_2``."""
    module.__class__ = cls
    module._flash_attn_uses_top_left_mask = False


def flash_attn_in_transformers() -> None:
    """Make transformers' modules import flash-attn's functions, which they do on a GPU only."""
    for name in ("transformers.utils", "transformers.utils.import_utils"):
        module = importlib.import_module(name)
        if hasattr(module, "is_flash_attn_2_available"):
            module.is_flash_attn_2_available = lambda: True


class LowerTriangularMask:
    """xformers' name for causal attention."""


def memory_efficient_attention(
    q: Tensor, k: Tensor, v: Tensor, attn_bias: Any = None, p: float = 0.0, scale: float | None = None
) -> Tensor:
    """xformers' attention of (b, s, h, d) tensors."""
    if attn_bias is None or isinstance(attn_bias, LowerTriangularMask):
        return _attention(q, k, v, attn_bias is not None, scale)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_bias, scale=scale).transpose(1, 2)


def xformers() -> None:
    """The one function that patches use, and its causal mask."""
    if _is_there("xformers"):
        return
    _module("xformers")
    _module(
        "xformers.ops",
        memory_efficient_attention=memory_efficient_attention,
        LowerTriangularMask=LowerTriangularMask,
    )


def npu_rotary_mul(x: Tensor, cos: Tensor, sin: Tensor, rotary_mode: str = "half") -> Tensor:
    """Ascend's rotation, as its documentation defines the mode "half"."""
    one, other = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-other, one), dim=-1) * sin


def npu_rms_norm(x: Tensor, weight: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Ascend's RMS norm: the result, and the reciprocal of the standard deviation."""
    scale = x.float().square().mean(-1, keepdim=True).add(epsilon).rsqrt()
    return weight * (x.float() * scale).to(x.dtype), scale


def npu_swiglu(x: Tensor, dim: int = -1) -> Tensor:
    """Ascend's gated unit."""
    gate, up = x.chunk(2, dim=dim)
    return functional.silu(gate) * up


def torch_npu() -> None:
    """The three functions that RoPE patches use; the others raise if they are called."""
    if not _is_there("torch_npu"):
        _module(
            "torch_npu",
            npu_rotary_mul=npu_rotary_mul,
            npu_rms_norm=npu_rms_norm,
            npu_swiglu=npu_swiglu,
        )


def deepspeed() -> None:
    """What VLM-R1's module imports for another fix in it; nothing of it runs."""
    if _is_there("deepspeed"):
        return
    for name in ("deepspeed", "deepspeed.runtime", "deepspeed.runtime.checkpoint_engine"):
        _module(name)
    _module(
        "deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine",
        TorchCheckpointEngine=type("TorchCheckpointEngine", (), {}),
    )
    import logging

    _module("deepspeed.utils", logger=logging.getLogger("deepspeed"), log_dist=print)


def modelscope() -> None:
    """The logger that ms-swift takes from it."""
    import logging

    if not _is_there("modelscope"):
        for name in ("modelscope", "modelscope.utils"):
            _module(name)
        logger = logging.getLogger("modelscope")
        logger.addHandler(logging.NullHandler())
        _module("modelscope.utils.logger", get_logger=lambda *args, **kwargs: logger)


def peft() -> None:
    """Two file names that LLaMA-Factory takes from it."""
    if not _is_there("peft"):
        _module("peft")
        _module(
            "peft.utils",
            SAFETENSORS_WEIGHTS_NAME="adapter_model.safetensors",
            WEIGHTS_NAME="adapter_model.bin",
        )


STAND_INS: dict[str, Callable[[], None]] = {
    "cuda_capability": cuda_capability,
    "deepspeed": deepspeed,
    "flash_attn": flash_attn,
    "flash_attn_in_transformers": flash_attn_in_transformers,
    "modelscope": modelscope,
    "peft": peft,
    "torch_npu": torch_npu,
    "xformers": xformers,
}
