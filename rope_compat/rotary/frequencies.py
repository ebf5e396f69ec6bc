"""Inverse frequencies of every rope type, with the factor for cos and sin, equal to the bit to upstream.

Upstream: ``transformers/modeling_rope_utils.py``, the functions of ``ROPE_INIT_FUNCTIONS``. Where releases
differ, these are the numbers of 4.56 and later, which 5.x kept: yarn takes the declared factor and the
original length, longrope chooses by the length of the text.

Every function returns ``(inv_freq, attention_factor)``: ``inv_freq`` is float32 ``[dim / 2]`` on `device`,
the default device if None, and the factor is a float by which cos and sin are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .._facts.rope_types import ROPE_TYPES

__all__ = [
    "Device",
    "arguments",
    "default",
    "dynamic",
    "linear",
    "llama3",
    "longrope",
    "mscale",
    "proportional",
    "scale_attention",
    "yarn",
]

Device = torch.device | str | int | None
Frequencies = tuple[Tensor, float]


def arguments(rope_type: str, value: Callable[[str], Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the function of a known type takes, by name, here and in `exact`.

    `value` gives what the type cannot do without: ``theta``, ``dim`` (and for proportional ``head_dim`` and
    ``part``), ``max_position_embeddings``, ``seq_len``, ``original_max_position_embeddings``, ``factor``
    (declared where the type's record says so, else the ratio of the lengths, or 1) and keys of the
    dictionary; it raises where it does not know. `parameters` is the dictionary, for keys that are optional.
    """
    record = ROPE_TYPES[rope_type]
    found = {name: value(name) for name in record.takes}
    return found | {name: parameters[name] for name in record.optional if name in parameters}


def default(dim: int, theta: float, device: Device = None) -> Frequencies:
    """One frequency for each pair of `dim` channels: ``theta ** (-2 i / dim)``."""
    return 1.0 / (theta ** _exponents(dim, device)), 1.0


def linear(dim: int, theta: float, factor: float, device: Device = None) -> Frequencies:
    """Positions divided by `factor`, which is the same as frequencies divided by it."""
    return default(dim, theta, device)[0] / factor, 1.0


def dynamic(
    dim: int,
    theta: float,
    factor: float,
    max_position_embeddings: int,
    seq_len: int | Tensor | None = None,
    device: Device = None,
) -> Frequencies:
    """NTK scaling that grows with the text: `theta` grows once `seq_len` is past `max_position_embeddings`.

    `seq_len` may be a tensor with one element; theta is then computed in float32, as upstream does.
    """
    length: int | Tensor = max_position_embeddings
    if isinstance(seq_len, Tensor):
        known = torch.tensor(max_position_embeddings, dtype=seq_len.dtype, device=seq_len.device)
        length = torch.maximum(seq_len, known)
    elif seq_len is not None:
        length = max(seq_len, max_position_embeddings)
    stretch = (factor * length / max_position_embeddings) - (factor - 1)
    return 1.0 / ((theta * stretch ** (dim / (dim - 2))) ** _exponents(dim, device)), 1.0


def yarn(
    dim: int,
    theta: float,
    factor: float,
    original_max_position_embeddings: int,
    *,
    attention_factor: float | None = None,
    beta_fast: float | None = None,
    beta_slow: float | None = None,
    mscale: float | None = None,
    mscale_all_dim: float | None = None,
    truncate: bool = True,
    device: Device = None,
) -> Frequencies:
    """YaRN (arXiv 2309.00071): fast channels stay, slow ones are divided by `factor`, a ramp lies between.

    `beta_fast` (32) and `beta_slow` (1) are the turns over the original length where the ramp begins and
    ends; `truncate` rounds these ends outwards to whole channels, as all models but GPT-OSS have it.
    """
    powers = theta ** _exponents(dim, device)
    begin = _channel_of(beta_fast or 32, dim, theta, original_max_position_embeddings)
    end = _channel_of(beta_slow or 1, dim, theta, original_max_position_embeddings)
    if truncate:
        begin, end = math.floor(begin), math.ceil(end)
    begin, end = max(begin, 0), min(end, dim - 1)
    if begin == end:
        end += 0.001
    ramp = torch.clamp((torch.arange(dim // 2, dtype=torch.float32) - begin) / (end - begin), 0, 1)
    kept = 1 - ramp.to(device=device, dtype=torch.float)
    inv_freq = (1.0 / (factor * powers)) * (1 - kept) + (1.0 / powers) * kept
    if attention_factor is None:
        attention_factor = _temperature(factor)
        if mscale and mscale_all_dim:
            attention_factor = _temperature(factor, mscale) / _temperature(factor, mscale_all_dim)
    return inv_freq, attention_factor


def longrope(
    dim: int,
    theta: float,
    short_factor: Sequence[float],
    long_factor: Sequence[float],
    original_max_position_embeddings: int,
    factor: float,
    *,
    attention_factor: float | None = None,
    seq_len: int | Tensor | None = None,
    device: Device = None,
) -> Frequencies:
    """LongRoPE (arXiv 2402.13753): one divisor a channel; the long ones past the original length.

    Without `seq_len` the short ones. `factor` is the ratio of the lengths, for the attention factor.
    """
    is_long = bool(seq_len) and seq_len > original_max_position_embeddings  # type: ignore[operator]
    divisors = torch.tensor(long_factor if is_long else short_factor, dtype=torch.float32, device=device)
    exponents = torch.arange(0, dim, 2, dtype=torch.int64, device=device).float() / dim
    if attention_factor is None:
        attention_factor = 1.0
        if factor > 1.0:
            attention_factor = math.sqrt(1 + math.log(factor) / math.log(original_max_position_embeddings))
    return 1.0 / (divisors * theta**exponents), attention_factor


def llama3(
    dim: int,
    theta: float,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_max_position_embeddings: int,
    device: Device = None,
) -> Frequencies:
    """Llama 3.1: long waves are divided by `factor`, short ones stay, between them both are mixed."""
    inv_freq, attention_factor = default(dim, theta, device)
    longest, shortest = (original_max_position_embeddings / f for f in (low_freq_factor, high_freq_factor))
    waves = 2 * math.pi / inv_freq
    scaled = torch.where(waves > longest, inv_freq / factor, inv_freq)
    share = (original_max_position_embeddings / waves - low_freq_factor) / (
        high_freq_factor - low_freq_factor
    )
    mixed = (1 - share) * scaled / factor + share * scaled
    is_between = ~(waves < shortest) & ~(waves > longest)
    return torch.where(is_between, mixed, scaled), attention_factor


def proportional(
    head_dim: int, theta: float, part: float = 1.0, factor: float = 1.0, device: Device = None
) -> Frequencies:
    """Gemma 4: the first `part` of the pairs turn, as in a whole head; the others have frequency 0."""
    turning = int(part * head_dim // 2)
    exponents = torch.arange(0, 2 * turning, 2, dtype=torch.int64).to(device=device, dtype=torch.float)
    inv_freq = 1.0 / (theta ** (exponents / head_dim))
    resting = head_dim // 2 - turning
    if resting > 0:
        inv_freq = torch.cat((inv_freq, torch.zeros(resting, dtype=torch.float32, device=device)))
    return inv_freq / factor, 1.0


def _exponents(dim: int, device: Device) -> Tensor:
    """``2 i / dim`` for each pair; counted in integers, so that a half-precision default changes nothing."""
    return torch.arange(0, dim, 2, dtype=torch.int64).to(device=device, dtype=torch.float) / dim


def _channel_of(turns: float, dim: int, theta: float, length: int) -> float:
    """Which pair turns `turns` times over `length` positions."""
    return (dim * math.log(length / (turns * 2 * math.pi))) / (2 * math.log(theta))


def _temperature(factor: float, scale: float = 1) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def mscale(scale: float = 1, mscale: float = 1) -> float:
    """``yarn_get_mscale`` of ``modeling_deepseek_v3.py``, from 4.51.0 on."""
    return _temperature(scale, mscale)


def scale_attention(rope_parameters: Mapping[str, Any], scaling: float) -> float:
    """``yarn_apply_mscale`` of ``modeling_deepseek_v3.py``, from 5.15.0 on: attention's factor under yarn."""
    all_dim = rope_parameters.get("mscale_all_dim", 0)
    if rope_parameters.get("rope_type", "default") == "default" or not all_dim:
        return scaling
    factor = _temperature(rope_parameters["factor"], all_dim)
    return scaling * factor * factor
