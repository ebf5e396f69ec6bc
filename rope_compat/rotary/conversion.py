"""Weights of one pairing turned into weights of the other: a permutation of rows, exact to the bit.

A rotation of the pairs (i, i + R/2) and one of the pairs (2i, 2i + 1) are one rotation under a permutation of the
channels of a head. Scores do not change when q and k are permuted alike, so permuting the rows of the projections
that make q and k turns a checkpoint for code of one pairing into one for code of the other. Nothing else changes:
v, the output projection, caches and positions stay as they are.

| what | which rows move |
| --- | --- |
| weight of a q or k projection, ``[heads * D, hidden]`` | of each head |
| its bias, ``[heads * D]`` | of each head |
| LoRA: B, ``[heads * D, rank]`` | of each head; A, ``[rank, hidden]``, stays |
| norm of q or k per head, ``[D]`` (Qwen3, Gemma 3), or over all heads, ``[heads * D]`` (OLMo 2) | of the head, of each head |
| fused qkv | of q and k only, by the layout of the fused tensor, see `fused_groups` |

``permute`` of transformers' ``convert_llama_weights_to_hf.py`` is ``convert_pairing(w, heads=n, to="half")``.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..errors import ArgumentError
from .pairing import Pairing, half_to_interleaved, interleaved_to_half

__all__ = ["FusedLayout", "convert_fused", "convert_pairing", "convert_state_dict", "fused_groups"]

Part: TypeAlias = Literal["first", "last"]

FusedLayout: TypeAlias = Literal["q|k|v", "per head", "per group"]
"""How q, k and v share one projection.

- ``q|k|v``: all heads of q, then of k, then of v (Phi-3, ChatGLM, Qwen-1, GPT-2's order).
- ``per head``: q, k and v of the first head, then of the second (GPT-NeoX, BLOOM, Falcon with as many kv
heads). - ``per group``: for each kv head its query heads, its k, its v (InternLM2, Falcon 40B, Megatron's
GQA).
"""

_AXIS = 0
_LAYOUTS = '"q|k|v", "per head" or "per group"'


def convert_pairing(
    weight: Tensor,
    *,
    heads: int,
    to: Pairing,
    rotary_dim: int | None = None,
    part: Part = "first",
) -> Tensor:
    """Permute the rows of a q or k projection from the other pairing to `to`.

    Args:
        weight: ``[heads * D, ...]``, any dtype: a weight, a bias, LoRA's B, or a norm of all heads; with
            ``heads=1`` a norm of one head, ``[D]``.
        heads: how many heads it makes: for k those of k (``num_key_value_heads``).
        to: the pairing that the weight is to have, "half" or "interleaved". It is taken to have the other
            one.
        rotary_dim: how many channels of each head are turned; all if None.
        part: whether these are the first or the last channels of the head (DeepSeek-V3: the last).

    Returns:
        A new tensor of the same shape, dtype and device. Converting there and back gives the same bits.

    Raises:
        ArgumentError: the rows are not a multiple of the heads, the turned channels are odd or too many,
            or `to` or `part` is unknown.
    """
    dim = _head_dim(weight, heads)
    order = _order(dim, to, rotary_dim, part).to(weight.device)
    by_head = weight.reshape(heads, dim, *weight.shape[1:])
    return by_head.index_select(_AXIS + 1, order).reshape(weight.shape)


def fused_groups(layout: FusedLayout, heads: int, kv_heads: int) -> list[str]:
    """What each block of ``head_dim`` rows of a fused projection makes: ``q``, ``k`` or ``v``, in order.

    Raises:
        ArgumentError: the layout is unknown, or the heads are not a multiple of the kv heads (for ``per
            head``: not equal).
    """
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        raise ArgumentError(
            f"heads={heads}, kv_heads={kv_heads}: expected heads to be a multiple of kv_heads"
        )
    if layout == "q|k|v":
        return ["q"] * heads + ["k"] * kv_heads + ["v"] * kv_heads
    if layout == "per head":
        if heads != kv_heads:
            raise ArgumentError(
                f'layout="per head" has one k and v for each q; heads={heads}, kv_heads={kv_heads}. '
                'With fewer kv heads the layout is "per group" or "q|k|v"'
            )
        return ["q", "k", "v"] * heads
    if layout == "per group":
        return (["q"] * (heads // kv_heads) + ["k", "v"]) * kv_heads
    raise ArgumentError(f"layout={layout!r} was given; expected {_LAYOUTS}")


def convert_fused(
    weight: Tensor,
    *,
    heads: int,
    to: Pairing,
    layout: FusedLayout,
    kv_heads: int | None = None,
    rotary_dim: int | None = None,
    part: Part = "first",
) -> Tensor:
    """Permute the q and k rows of a fused qkv projection, and leave those of v.

    Args:
        weight: ``[(heads + 2 * kv_heads) * D, ...]``, any dtype: a weight, a bias, or LoRA's B.
        heads: query heads.
        to: the pairing that it is to have.
        layout: see `FusedLayout`.
        kv_heads: key heads; as many as query heads if None.
        rotary_dim: how many channels of each head are turned; all if None.
        part: whether these are the first or the last of the head.

    Raises:
        ArgumentError: as for `convert_pairing` and `fused_groups`.
    """
    blocks = fused_groups(layout, heads, heads if kv_heads is None else kv_heads)
    dim = _head_dim(weight, len(blocks), f"{len(blocks)} blocks of q, k and v")
    order = _order(dim, to, rotary_dim, part)
    stay = torch.arange(dim)
    rows = torch.cat([dim * i + (stay if block == "v" else order) for i, block in enumerate(blocks)])
    return weight.index_select(_AXIS, rows.to(weight.device))


def convert_state_dict(
    weights: Mapping[str, Tensor],
    *,
    heads: int,
    to: Pairing,
    kv_heads: int | None = None,
    rotary_dim: int | None = None,
    part: Part = "first",
    head_dim: int | None = None,
    q: tuple[str, ...] = ("q_proj", "wq"),
    k: tuple[str, ...] = ("k_proj", "wk"),
    norms: tuple[str, ...] = ("q_norm", "k_norm", "q_layernorm", "k_layernorm"),
    fused: tuple[str, ...] = (),
    layout: FusedLayout | None = None,
) -> dict[str, Tensor]:
    """Convert all q and k projections of a state dict, with biases, norms and LoRA pairs.

    A tensor is converted if one part of its dotted name is one of `q`, `k`, `norms` or `fused`, and its
    last parts are ``weight`` or ``bias``, or those of LoRA's B (``lora_B.default.weight``). LoRA's A
    works on what comes in, and stays.

    Args:
        weights: names and tensors, such as `torch.nn.Module.state_dict` gives.
        heads: query heads.
        to: the pairing that they are to have.
        kv_heads: key heads; as many as query heads if None.
        rotary_dim: how many channels of each head are turned; all if None.
        part: whether these are the first or the last of the head.
        head_dim: channels of a head, for norms whose length could be that of one or of all heads; found
            from the projections if None.
        q: names of projections for q.
        k: names of projections for k.
        norms: names of norms of q and k. Those that begin with ``k`` have the kv heads.
        fused: names of fused projections, such as ``query_key_value``, ``qkv_proj`` or ``wqkv``; needs
            `layout`.
        layout: of the fused projections.

    Returns:
        A new dict with the same names in the same order; tensors that are not concerned are the same objects.

    Raises:
        ArgumentError: no tensor is converted, a fused name is given without a layout, or a shape does not
            fit; the message names the tensor.
    """
    kv_heads = heads if kv_heads is None else kv_heads
    if fused and layout is None:
        raise ArgumentError(f"fused={fused!r} was given without layout; expected {_LAYOUTS}")
    dim = head_dim or _dim_of(weights, heads, kv_heads, q, k)
    kinds = {"q": q, "k": k, "norm": norms, "fused": fused}
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        kind, own = _kind_of(name, kinds)
        try:
            if kind == "fused" and layout is not None:
                found[name] = convert_fused(
                    tensor,
                    heads=heads,
                    kv_heads=kv_heads,
                    to=to,
                    layout=layout,
                    rotary_dim=rotary_dim,
                    part=part,
                )
            elif kind:
                count = kv_heads if own.startswith("k") or kind == "k" else heads
                if kind == "norm":
                    count = _heads_of_norm(tensor, count, dim)
                found[name] = convert_pairing(tensor, heads=count, to=to, rotary_dim=rotary_dim, part=part)
        except ArgumentError as error:
            raise ArgumentError(f"{name}: {error}") from error
    if not found:
        raise ArgumentError(
            f"none of {len(weights)} tensors is a projection of q or k by its name; expected a part of it "
            f"to be one of {', '.join((*q, *k, *norms, *fused))}. Give q=, k= and fused= the names"
        )
    return {name: found.get(name, tensor) for name, tensor in weights.items()}


def _kind_of(name: str, kinds: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    """What a tensor is, and the part of its name that says so; two empty words for what stays."""
    parts = name.split(".")
    if not name.endswith((".weight", ".bias")) or any(part.startswith("lora_A") for part in parts):
        return "", ""
    return next(((kind, part) for kind, names in kinds.items() for part in parts if part in names), ("", ""))


def _dim_of(
    weights: Mapping[str, Tensor], heads: int, kv_heads: int, q: tuple[str, ...], k: tuple[str, ...]
) -> int | None:
    for names, count in ((q, heads), (k, kv_heads)):
        for name, tensor in weights.items():
            if set(name.split(".")) & set(names) and name.endswith(".weight") and "lora_" not in name:
                return _head_dim(tensor, count)
    return None


def _heads_of_norm(tensor: Tensor, heads: int, dim: int | None) -> int:
    """1 for a norm of one head, `heads` for one of all."""
    length = tensor.shape[0] if tensor.ndim else 0
    if dim is None:
        raise ArgumentError("a norm cannot be told from its length alone; give head_dim")
    if length == dim:
        return 1
    if length == dim * heads:
        return heads
    raise ArgumentError(f"a norm of length {length} is neither that of one head, {dim}, nor of {heads} heads")


def _head_dim(weight: Tensor, blocks: int, what: str = "") -> int:
    if not isinstance(blocks, int) or blocks < 1:
        raise ArgumentError(
            f"heads={blocks!r} was given; expected the number of heads that the projection makes"
        )
    if weight.ndim == 0 or weight.shape[_AXIS] % blocks:
        raise ArgumentError(
            f"a tensor of shape {tuple(weight.shape)} was given with {what or f'heads={blocks}'}; expected "
            "the rows, axis 0, to be a multiple of that. For k give the number of key heads"
        )
    return int(weight.shape[_AXIS]) // blocks


def _order(dim: int, to: Pairing, rotary_dim: int | None, part: Part) -> Tensor:
    """Which channel comes to each place of a head."""
    size = dim if rotary_dim is None else rotary_dim
    if size % 2 or not 0 < size <= dim:
        said = f"rotary_dim={rotary_dim}" if rotary_dim is not None else f"a head of {dim} channels"
        raise ArgumentError(f"{said} was given; expected an even number of turned channels, at most {dim}")
    if to not in ("half", "interleaved"):
        raise ArgumentError(f'to={to!r} was given; expected "half" or "interleaved"')
    if part not in ("first", "last"):
        raise ArgumentError(f'part={part!r} was given; expected "first" or "last"')
    channels = torch.arange(dim)
    start = 0 if part == "first" else dim - size
    turned = channels[start : start + size]
    moved = interleaved_to_half(turned) if to == "half" else half_to_interleaved(turned)
    return torch.cat((channels[:start], moved, channels[start + size :]))
