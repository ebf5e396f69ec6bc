"""What `patch()` costs when models are loaded: ratios against the same load without it, in one process.

    python benchmarks/loading.py

A native Llama and a model of custom code are loaded in turn, some times with `patch()`, some times without,
in an order that is reversed from round to round; the first load after each change is not counted. Memory is
the high-water mark of a process of its own for each case.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PretrainedConfig, PreTrainedModel

import rope_compat


class CustomConfig(PretrainedConfig):
    model_type = "rope-compat-benchmark"

    def __init__(self, layers: int = 12, width: int = 512, **kwargs: Any) -> None:
        self.layers, self.width = layers, width
        super().__init__(**kwargs)


class Rotary(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        inv_freq = 1.0 / (10000.0 ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        angles = torch.outer(torch.arange(2048.0), inv_freq)
        self.register_buffer("cos_cached", angles.cos(), persistent=False)
        self.register_buffer("sin_cached", angles.sin(), persistent=False)


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.rotary_emb = Rotary(64)
        self.projections = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(4)])
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)


class CustomModel(PreTrainedModel):
    config_class = CustomConfig

    def __init__(self, config: CustomConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(16000, config.width)
        self.layers = nn.ModuleList([Layer(config.width) for _ in range(config.layers)])
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        pass


def native() -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=16000,
            hidden_size=512,
            intermediate_size=2048,
            num_hidden_layers=12,
            num_attention_heads=8,
            tie_word_embeddings=False,
        )
    )


def custom() -> PreTrainedModel:
    return CustomModel(CustomConfig())


CASES: dict[str, Callable[[], PreTrainedModel]] = {"native": native, "custom": custom}
CLASSES: dict[str, Any] = {"native": LlamaForCausalLM, "custom": CustomModel}


def timed(load: Callable[[], object]) -> float:
    begin = time.perf_counter()
    load()
    return time.perf_counter() - begin


def ratio(case: str, folder: Path, rounds: int) -> tuple[float, float]:
    """Medians: seconds without, and the ratio of the neighbouring loads with and without."""

    def load() -> object:
        return CLASSES[case].from_pretrained(folder)

    def fastest() -> float:
        load()
        return min(timed(load) for _ in range(5))

    def fastest_patched() -> float:
        with rope_compat.patched(on_problem="ignore"):
            return fastest()

    seconds, ratios = [], []
    for index in range(rounds):
        if index % 2:
            patched, plain = fastest_patched(), fastest()
        else:
            plain, patched = fastest(), fastest_patched()
        seconds.append(plain)
        ratios.append(patched / plain)
    return statistics.median(seconds), statistics.median(ratios)


def peak(case: str, folder: Path, patch: bool) -> int:
    """The high-water mark of a process that loads once, in MiB."""
    command = [sys.executable, __file__, "--peak", case, str(folder), *(["--patch"] if patch else [])]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--patch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    if options.peak:
        if options.patch:
            rope_compat.patch(on_problem="ignore")
        CLASSES[options.peak[0]].from_pretrained(options.peak[1])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for case, make in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            model = make()
            model.save_pretrained(folder)
            size = sum(parameter.numel() for parameter in model.parameters()) * 4 / 2**20
            del model
            seconds, found = ratio(case, Path(folder), options.rounds)
            before, after = (peak(case, Path(folder), patch) for patch in (False, True))
            print(
                f"{case}: {size:.0f} MiB of weights, {seconds:.3f} s without patch(), {found:.3f} of that "
                f"with it; peak memory {before} MiB without, {after} MiB with"
            )


if __name__ == "__main__":
    main()
