"""torch.compile makes the same graphs of rotary modules with and without `patch()`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, RELEASE, has_module, load
from support.rope_configs import IS_5X, UTILS, native_config
from torch import Tensor, nn

import rope_compat

pytestmark = pytest.mark.only(has_module(UTILS), "the module came with 4.43.0")

HAS_DECORATOR = Version("4.51.0") <= Version(RELEASE)


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def custom(config: Any, rope_type: str) -> nn.Module:
    """A module of a user's, decorated in the installed release's own way."""
    utils = load(UTILS)

    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config, self.rope_type = config, rope_type
            self.max_seq_len_cached = self.original_max_seq_len = config.max_position_embeddings
            function = utils.ROPE_INIT_FUNCTIONS[rope_type]
            if not IS_5X:
                self.rope_init_fn = function
            inv_freq, self.attention_scaling = function(config, None)
            self.register_buffer("inv_freq", inv_freq, persistent=False)
            self.register_buffer("original_inv_freq", inv_freq.clone(), persistent=False)

        @utils.dynamic_rope_update
        def forward(self, x: Tensor, position_ids: Tensor) -> Tensor:
            angles: Tensor = position_ids[..., None].float() * self.inv_freq
            return angles.cos()

    return Rotary()


def native(config: Any, rope_type: str) -> nn.Module:
    made: nn.Module = load(LLAMA).LlamaRotaryEmbedding(config=config)
    return made


def traced(make: Callable[[Any, str], nn.Module], rope_type: str) -> tuple[list[list[str]], list[Any]]:
    """The nodes of every graph, and the results, for a short text, a long one and a short one."""
    graphs: list[list[str]] = []

    def backend(module: Any, example: Any) -> Any:
        nodes = [f"{node.op} {node.target}" for node in module.graph.nodes]
        # Inputs come in the order in which they are first looked at, and under the names that the way to
        # them gives.
        inputs = [node for node in nodes if node.startswith("placeholder")]
        graphs.append([f"{len(inputs)} inputs", *(node for node in nodes if node not in inputs)])
        return module.forward

    compiled = torch.compile(make(native_config(rope_type), rope_type), backend=backend, dynamic=False)
    return graphs, [compiled(torch.zeros(1, 4), torch.arange(length)[None]) for length in (8, 600, 8)]


@pytest.mark.parametrize("make", [native, *([custom] if HAS_DECORATOR else [])])
@pytest.mark.parametrize("rope_type", ["linear", "longrope"])
def test_graphs_are_those_of_the_library(make: Callable[[Any, str], nn.Module], rope_type: str) -> None:
    graphs, results = traced(make, rope_type)
    with rope_compat.patched():
        torch._dynamo.reset()
        patched_graphs, patched_results = traced(make, rope_type)
    assert patched_graphs == graphs
    for given, wanted in zip(patched_results, results, strict=True):
        assert all(torch.equal(*pair) for pair in zip(given, wanted, strict=True))
