"""Make the native call of the `apply_rotary_pos_emb` family that means what a foreign call meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...rotary.layouts import as_table
from .base import Context
from .generation import Generation
from .parse import RotaryCall, UnreadableCall
from .positions import TableRule

__all__ = ["NativeCaller", "rows_as_table"]


class NativeCaller:
    """Calls one native function in its own form."""

    def __init__(
        self, native: Callable[..., Any], generation: Generation, context: Context, rule: TableRule
    ) -> None:
        self.native = native
        self.generation = generation
        self.context = context
        self.rule = rule

    def prepare(self, call: RotaryCall) -> tuple[str, Callable[[], Any]]:
        """Check the call as a whole and return its form's name and the function that makes it.

        Raises:
            UnreadableCall: the native function cannot do what the call asks.
        """
        generation, count = self.generation, len(call.rotated)
        if generation.tensors == 3 and count != 3:
            raise UnreadableCall("this function rotates q, k and v; all three are needed")
        if count == 1 and generation.tensors == 2 and not (self.context.had_single or generation.k_optional):
            raise UnreadableCall("one tensor to rotate is given; this function rotates q and k")
        form, cos, sin, positions = self._rows(call)
        axis = 1 if call.unsqueeze_dim is None else call.unsqueeze_dim
        rotated = call.rotated
        if call.cos.dim() == 4 and count == 1:
            # ESM to 5.5.4 promotes (fp16 q, fp32 tables: fp32 out); from 5.6.0 it casts back.
            rotated = (rotated[0].to(torch.promote_types(rotated[0].dtype, cos.dtype)),)
        return form, lambda: self._call(rotated, cos, sin, positions, axis, single=count == 1)

    def _rows(self, call: RotaryCall) -> tuple[str, Tensor, Tensor, Tensor | None]:
        """Form name, cos, sin and the positions that the native function has to index with, if any."""
        cos, sin, positions = call.cos, call.sin, call.position_ids
        if positions is not None and self.rule.indexes(call.rotated[0], cos, positions):
            if call.offset is not None:
                raise UnreadableCall("both position_ids and offset are given")
            if positions.dim() > 2:
                raise UnreadableCall(
                    f"position_ids of shape {tuple(positions.shape)} cannot index a table [S, D]"
                )
            cos, sin = as_table(cos), as_table(sin)
            if self.generation.positions == "indexes":
                return "indexed", cos, sin, positions
            # As the functions to 4.37 did it: the result has the axes of position_ids, then D.
            return "indexed", cos[positions], sin[positions], None
        if call.offset is not None or (
            cos.dim() == 4 and (self.context.had_offset or len(call.rotated) == 1)
        ):
            form = "single" if len(call.rotated) == 1 else "offset"
            return form, *_slice(call), None
        if cos.dim() not in (2, 3):
            raise UnreadableCall(
                f"cos has shape {tuple(cos.shape)}; without position_ids it must be [B, S, D] or [S, D]"
            )
        form = "single" if len(call.rotated) == 1 else "gathered" if positions is not None else "plain"
        return form, cos, sin, None

    def _call(
        self,
        rotated: tuple[Tensor, ...],
        cos: Tensor,
        sin: Tensor,
        positions: Tensor | None,
        axis: int,
        *,
        single: bool,
    ) -> Any:
        generation = self.generation
        axis = axis + rotated[0].dim() if axis < 0 else axis
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
            cos, sin = (
                (cos.unsqueeze(1), sin.unsqueeze(1)) if cos.dim() == 3 else (cos[None, None], sin[None, None])
            )
        turned = "unsqueeze_dim" not in generation.trailing and axis != 1
        if "unsqueeze_dim" in generation.trailing:
            options.append(axis)
        elif turned:
            if axis != 2:
                raise UnreadableCall(f"unsqueeze_dim={axis} cannot be expressed in {generation.signature}")
            # A function without unsqueeze_dim works on (b, h, s, d).
            rotated = tuple(tensor.transpose(1, 2) for tensor in rotated)
        outputs = self._run(rotated, cos, sin, options)
        if turned:
            outputs = tuple(output.transpose(1, 2) for output in outputs)
        return outputs[0] if single else outputs

    def _run(
        self, rotated: tuple[Tensor, ...], cos: Tensor, sin: Tensor, options: list[Any]
    ) -> tuple[Tensor, ...]:
        native, generation = self.native, self.generation
        if generation.tensors == 1:
            outputs = tuple(native(tensor, cos, sin, *options) for tensor in rotated)
            if generation.style == "rank4" and len(rotated) > 1:
                # ESM's two-tensor form (from 5.6.0) casts back to each tensor's dtype.
                outputs = tuple(out.to(tensor.dtype) for out, tensor in zip(outputs, rotated, strict=True))
            return outputs
        if len(rotated) == 1:
            if generation.k_optional:
                return (native(rotated[0], None, cos, sin, *options),)
            return (native(rotated[0], rotated[0], cos, sin, *options)[0],)
        return tuple(native(*rotated, cos, sin, *options))


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
