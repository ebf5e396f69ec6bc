"""The production operations, in one place for adapters.

All are plain functions of tensors: differentiable, traceable by ``torch.compile(fullgraph=True)``, valid
for meta and fake tensors, and free of reads of tensor values.

| function | stands for | computes in | result dtype |
| --- | --- | --- | --- |
| `rotate` | the body of Llama's ``apply_rotary_pos_emb`` | promotion of x and cos | the same |
| `vision`, `vision_single` | ``apply_rotary_pos_emb_vision`` | float32 | each input's own |
| `flashatt`, `flashatt_single` | ``apply_rotary_pos_emb_flashatt`` | float32 | each input's own |
"""

from __future__ import annotations

from .flash import FlashKernel, flash_kernel, flashatt, flashatt_single, make_flashatt, make_flashatt_single
from .pairing import Pairing, rotate_every_two, rotate_half
from .rotation import rotate
from .vision import vision, vision_single

__all__ = [
    "FlashKernel",
    "Pairing",
    "flash_kernel",
    "flashatt",
    "flashatt_single",
    "make_flashatt",
    "make_flashatt_single",
    "rotate",
    "rotate_every_two",
    "rotate_half",
    "vision",
    "vision_single",
]
