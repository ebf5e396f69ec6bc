"""Compilers see rotary classes as they are: one graph, no recompiling, foreign forms included."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.class_cases import BASE, DIM, LENGTH, x
from support.installed import LLAMA, RELEASE
from torch._dynamo.testing import CompileCounter

import rope_compat

HERE = Version(RELEASE)
#: To 4.37.2 the native forward fills a table where a length is beyond it, by an attribute.
pytestmark = pytest.mark.only(Version("4.38") <= HERE, reason="rows came with 4.38.0")


@pytest.fixture(autouse=True)
def patch() -> Iterator[rope_compat.Patch]:
    torch._dynamo.reset()
    with rope_compat.patched(on_problem="ignore") as applied:
        yield applied
    torch._dynamo.reset()


def module() -> Any:
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=2 * DIM, num_attention_heads=2, max_position_embeddings=LENGTH, rope_theta=BASE
    )
    return importlib.import_module(LLAMA).LlamaRotaryEmbedding(config if Version("4.43") <= HERE else DIM)


@pytest.mark.parametrize("form", ["rows", "rows by name", "tables", "tables by place"])
def test_one_graph_for_every_call(form: str) -> None:
    rotary = module()
    counter = CompileCounter()

    def call(x: torch.Tensor, positions: torch.Tensor) -> Any:
        if form == "rows":
            return rotary(x, positions)
        if form == "rows by name":
            return rotary(x, position_ids=positions)
        return rotary(x, seq_len=7) if form == "tables" else rotary(x, 7)

    compiled = torch.compile(call, backend=counter, fullgraph=True)
    for start in (0, 3, 9):
        positions = torch.arange(start, start + 7)[None]
        torch.testing.assert_close(compiled(x(), positions), call(x(), positions))
    assert counter.frame_count == 1


def test_the_graph_is_the_native_one(patch: rope_compat.Patch) -> None:
    rotary, positions = module(), torch.arange(7)[None]
    with_patch = operations(rotary, positions)
    patch.undo()
    assert with_patch == operations(rotary, positions)


def operations(rotary: Any, positions: torch.Tensor) -> list[str]:
    torch._dynamo.reset()
    found: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        # Inputs come in the order in which they are first touched.
        names = {node: node.name for node in graph.graph.nodes if node.op != "placeholder"}
        found.extend(f"{node.op} {node.target} {len(node.all_input_nodes)}" for node in names)
        found.append(f"{len(graph.graph.nodes) - len(names)} inputs")
        return graph.forward

    torch.compile(rotary, backend=backend, fullgraph=True)(x(), positions)
    return found
