"""A model of custom code with every way to keep what a constructor has computed, and its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from support.custom import write_weights

WIDTH = 16


class UnsavedConfig(PretrainedConfig):
    model_type = "rope-compat-unsaved"

    def __init__(self, width: int = WIDTH, theta: float = 500.0, reads: bool = False, **kwargs: Any) -> None:
        self.width = width
        self.theta = theta
        self.reads = reads
        super().__init__(**kwargs)


class Rotary(nn.Module):
    """Frequencies, tables, complex rows, and the frequencies under a second name."""

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        inv_freq = 1.0 / (theta ** (torch.arange(0, width, 2).float() / width))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        angles = torch.outer(torch.arange(32).float(), inv_freq)
        self.register_buffer("cos_cached", angles.cos(), persistent=False)
        self.freqs_cis = torch.polar(torch.ones_like(angles), angles)
        self.original_inv_freq = self.inv_freq
        self.max_seq_len_cached = 32

    def grow(self, length: int) -> None:
        angles = torch.outer(torch.arange(length).float(), self.inv_freq)
        self.register_buffer("cos_cached", angles.cos(), persistent=False)
        self.max_seq_len_cached = length


class UnsavedModel(PreTrainedModel):
    config_class = UnsavedConfig
    _no_split_modules = ("Rotary",)

    def __init__(self, config: UnsavedConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(24, config.width)
        self.linear = nn.Linear(config.width, config.width)
        self.scale = nn.Parameter(torch.ones(config.width))
        self.register_buffer("offset", torch.arange(config.width).float() / 10)
        self.rotary_emb = Rotary(config.width, config.theta)
        table = torch.zeros(32, config.width)
        table[:, 0::2] = torch.arange(32.0)[:, None].sin()
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("mask", torch.from_numpy(np.tril(np.ones((32, 32)))), persistent=False)
        if config.reads:
            # On the meta device this fails up to 5.8.
            self.slopes = [step.item() for step in torch.linspace(0, 1, 4)]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # Without super(), and in place: what most remote code does.
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(mean=0.0, std=1.0)

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.linear(self.embed(input_ids)) * self.scale + self.offset
        length = hidden.shape[1]
        cos = self.rotary_emb.cos_cached[:length].to(hidden.dtype)
        rows = self.rotary_emb.freqs_cis[:length].real.to(hidden)
        mixed = self.mask[:length, :length].to(hidden) @ hidden
        return mixed * torch.cat((cos, rows), -1) + self.table[:length].to(hidden)


def constructed(dtype: torch.dtype = torch.float32, *, reads: bool = False) -> UnsavedModel:
    """The model as its constructor makes it, with weights that do not depend on the release."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = UnsavedModel(UnsavedConfig(reads=reads))
    finally:
        torch.set_default_dtype(before)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def save(model: nn.Module, folder: Path, *, leave_out: tuple[str, ...] = (), shards: int = 1) -> Path:
    """A checkpoint as transformers writes it, without transformers."""
    folder.mkdir(exist_ok=True)
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name not in leave_out}
    model.config.save_pretrained(folder)  # type: ignore[union-attr,operator]
    write_weights(folder, state, shards)
    return folder
