"""Make the native call of the `apply_rotary_pos_emb` family that means what a foreign call meant.

What ``position_ids`` beside a table-shaped cos mean, rows to pick or nothing: up to 4.37.2 cos and sin are
tables ``[S, D]`` that ``position_ids`` index. From 4.38.0 to 4.57.6 cos and sin are gathered and
``position_ids`` are taken and ignored. A table beside position_ids therefore means indexing, wherever it can;
the one shape that both readings fit is packed tokens: q ``[S, H, D]``, cos ``[S, D]``, position_ids ``[S]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from packaging.version import Version
from torch import Tensor

from .base import AdapterInfo, Context, is_compiling
from .generation import Generation
from .parse import RotaryCall, UnreadableCall

__all__ = ["NativeCaller", "rows_as_table"]

# huggingface/transformers 4.38.0: rotary modules return gathered cos and sin, position_ids are ignored.
GATHERED_SINCE = Version("4.38.0.dev0")


class NativeCaller:
    """Makes the calls of one native function, in its own form."""

    def __init__(self, native: Callable[..., Any], generation: Generation, info: AdapterInfo) -> None:
        self.native = native
        self.generation = generation
        self.counts = info.counts
        self.had_offset = info.context.had_offset
        self.takes_single = generation.tensors == 1 or info.context.had_single or generation.k_optional
        self.written = _written(info.context)

    def picks_rows(self, q: Any, cos: Tensor, position_ids: Tensor) -> bool:
        """Whether `position_ids` pick rows of `cos`.

        Raises:
            UnreadableCall: both readings fit, and nothing decides.
        """
        rank = cos.dim()
        if rank != 2:
            # Tables to 4.34 are [1, 1, S, D].
            return rank == 4 and cos.shape[0] == 1 and cos.shape[1] == 1
        if self.written is not None:
            return self.written == "indexes"
        if not isinstance(q, Tensor) or q.dim() != 3:
            return True
        if position_ids.dim() != 1 or self.generation.positions == "ignored":
            return False
        if self.generation.positions == "indexes":
            return True
        raise UnreadableCall(
            "q is [S, H, D], cos is [S, D] and position_ids are [S]: code for releases to 4.37 means rows of "
            "a table, code for 4.38 to 4.57 means one row a token and ignored position_ids. "
            'Say which with patch(written_for="4.37") or patch(written_for="4.57")'
        )

    def compute(self, call: RotaryCall) -> Any:
        """Compute what `call` asks for.

        Raises:
            UnreadableCall: the native function cannot do it.
        """
        generation, rotated = self.generation, call.rotated
        single = len(rotated) == 1
        if generation.tensors == 3 and len(rotated) != 3:
            raise UnreadableCall("this function rotates q, k and v; all three are needed")
        if single and not self.takes_single:
            raise UnreadableCall("one tensor to rotate is given; this function rotates q and k")
        form, cos, sin, positions = self._rows(call)
        axis = 1 if call.unsqueeze_dim is None else call.unsqueeze_dim
        axis = axis + rotated[0].dim() if axis < 0 else axis
        # A function without unsqueeze_dim works on (b, h, s, d).
        turns = "unsqueeze_dim" not in generation.trailing and axis != 1
        if turns and axis != 2:
            raise UnreadableCall(f"unsqueeze_dim={axis} cannot be expressed in {generation.signature}")
        if not is_compiling():
            self.counts[form] = self.counts.get(form, 0) + 1
        if single and call.cos.dim() == 4:
            # ESM to 5.5.4 promotes (fp16 q, fp32 tables: fp32 out); from 5.6.0 it casts back.
            rotated = (rotated[0].to(torch.promote_types(rotated[0].dtype, cos.dtype)),)
        options: list[Any] = []
        if generation.positions == "indexes":
            if positions is None and (generation.positions_required or cos.dim() == 2):
                cos, sin, positions = rows_as_table(cos, sin)
            if generation.table_rank == 4 and positions is not None:
                cos, sin = cos[None, None], sin[None, None]
            options.append(positions)
        elif generation.positions == "ignored":
            options.append(None)
        if generation.style == "rank4":
            gathered = cos.dim() == 3
            cos, sin = (
                (cos.unsqueeze(1), sin.unsqueeze(1)) if gathered else (cos[None, None], sin[None, None])
            )
        if "unsqueeze_dim" in generation.trailing:
            options.append(axis)
        if not turns:
            outputs = self._run(rotated, cos, sin, options)
        else:
            rotated = tuple([tensor.transpose(1, 2) for tensor in rotated])
            outputs = self._run(rotated, cos, sin, options)
            outputs = tuple([output.transpose(1, 2) for output in outputs])
        return outputs[0] if single else outputs

    def _rows(self, call: RotaryCall) -> tuple[str, Tensor, Tensor, Tensor | None]:
        """Form name, cos, sin and the positions that the native function has to index with, if any."""
        cos, sin, positions, offset = call.cos, call.sin, call.position_ids, call.offset
        single = len(call.rotated) == 1
        if positions is not None and self.picks_rows(call.rotated[0], cos, positions):
            if offset is not None:
                raise UnreadableCall("both position_ids and offset are given")
            if positions.dim() > 2:
                raise UnreadableCall(
                    f"position_ids of shape {tuple(positions.shape)} cannot index a table [S, D]"
                )
            if cos.dim() == 4:
                cos, sin = cos[0, 0], sin[0, 0]
            if self.generation.positions == "indexes":
                return "indexed", cos, sin, positions
            # As the functions to 4.37 did it: the result has the axes of position_ids, then D.
            return "indexed", cos[positions], sin[positions], None
        if offset is not None or (cos.dim() == 4 and (self.had_offset or single)):
            return "single" if single else "offset", *_slice(call), None
        if cos.dim() not in (2, 3):
            raise UnreadableCall(
                f"cos has shape {tuple(cos.shape)}; without position_ids it must be [B, S, D] or [S, D]"
            )
        return "single" if single else "plain" if positions is None else "gathered", cos, sin, None

    def _run(
        self, rotated: tuple[Tensor, ...], cos: Tensor, sin: Tensor, options: list[Any]
    ) -> tuple[Tensor, ...]:
        native, generation = self.native, self.generation
        if generation.tensors == 1:
            outputs = tuple([native(tensor, cos, sin, *options) for tensor in rotated])
            if generation.style == "rank4" and len(rotated) > 1:
                # ESM's two-tensor form (from 5.6.0) casts back to each tensor's dtype.
                outputs = tuple([out.to(tensor.dtype) for out, tensor in zip(outputs, rotated, strict=True)])
            return outputs
        if len(rotated) == 1:
            if generation.k_optional:
                return (native(rotated[0], None, cos, sin, *options),)
            return (native(rotated[0], rotated[0], cos, sin, *options)[0],)
        return tuple(native(*rotated, cos, sin, *options))


def _written(context: Context) -> Literal["indexes", "ignored"] | None:
    """What ``written_for`` says of position_ids beside a table, None where the user did not say."""
    if context.written_for is None:
        return None
    signature = context.signature_written_for
    if signature is not None and "position_ids" in signature:
        return "ignored" if "position_ids=None" in signature else "indexes"
    return "indexes" if context.written_for < GATHERED_SINCE else "ignored"


def rows_as_table(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tables and position_ids such that ``cos[position_ids]`` is what was given, ``[..., D]``."""
    width = cos.shape[-1]
    positions = torch.arange(cos.shape[:-1].numel(), device=cos.device).view(cos.shape[:-1])
    return cos.reshape(-1, width), sin.reshape(-1, width), positions


def _slice(call: RotaryCall) -> tuple[Tensor, Tensor]:
    """Rows offset to offset + length of tables ``[1, 1, S, D]`` or ``[S, D]``, as ``[1, s, D]``."""
    start = call.offset or 0
    stop = start + call.rotated[0].shape[-2]
    if call.cos.dim() == 4:
        return call.cos[:, 0, start:stop], call.sin[:, 0, start:stop]
    if call.cos.dim() == 2:
        return call.cos[None, start:stop], call.sin[None, start:stop]
    raise UnreadableCall(f"offset goes with tables [1, 1, S, D], but cos has shape {tuple(call.cos.shape)}")
