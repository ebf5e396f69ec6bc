"""torch.compile, torch.export and torch.fx see the same graphs with and without `patch()`.

Nothing here runs a compiler backend: what is compared is what the tracers make of the calls.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn

import rope_compat

release = Version(importlib.metadata.version("transformers"))
LLAMA = "transformers.models.llama.modeling_llama:apply_rotary_pos_emb"
VISION = "transformers.models.qwen2_vl.modeling_qwen2_vl:apply_rotary_pos_emb_vision"
FLASHATT = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl:apply_rotary_pos_emb_flashatt"

Nodes = list[tuple[str, str]]


def tables(length: int, width: int = 8) -> tuple[Tensor, Tensor]:
    """cos and sin ``[length, width]``."""
    angles = torch.outer(torch.arange(float(length)), 100.0 ** -(torch.arange(0, width, 2) / width))
    full = torch.cat((angles, angles), -1)
    return full.cos(), full.sin()


def text_call(form: str, length: int) -> tuple[Tensor | int, ...]:
    """Arguments of `apply_rotary_pos_emb` in one of its forms."""
    q, k = torch.randn(2, 4, length, 8), torch.randn(2, 2, length, 8)
    cos, sin = tables(length)
    positions = torch.arange(length).expand(2, length)
    if form == "indexed":
        return q, k, cos, sin, positions
    gathered = (q, k, cos[positions], sin[positions])
    return {"plain": gathered, "gathered": (*gathered, positions), "axis": (*gathered, 1)}[form]


def vision_call(form: str, length: int) -> tuple[Tensor | int, ...]:
    """Arguments of the vision families in one of their two forms."""
    q, k = torch.randn(1, length, 2, 8), torch.randn(1, length, 2, 8)
    angles = torch.outer(torch.arange(float(length)), 100.0 ** -(torch.arange(0, 8, 2) / 8))
    return (q, angles) if form == "freqs" else (q, k, *tables(length))


@dataclass(frozen=True)
class Case:
    target: str
    form: str
    build: Callable[[str, int], tuple[Tensor | int, ...]]

    def __str__(self) -> str:
        return f"{self.target.partition(':')[2]}-{self.form}"

    def arguments(self, length: int = 5) -> tuple[Tensor | int, ...]:
        torch.manual_seed(length)
        return self.build(self.form, length)


def _native() -> list[Case]:
    # Llama indexes to 4.37.2, takes gathered cos and sin from 4.38.0 on, and no position_ids from 5.0.0 on.
    forms = ["indexed"] if release < Version("4.38.0") else ["plain"]
    forms += ["axis"] if Version("5.0.0") <= release else []
    forms += ["gathered"] if Version("4.38.0") <= release < Version("5.0.0") else []
    found = [Case(LLAMA, form, text_call) for form in forms]
    if release >= Version("4.45.0"):
        # (tensor, freqs) to 4.48.3.
        found.append(Case(VISION, "pair" if release >= Version("4.49.0.dev0") else "freqs", vision_call))
    return found


def _foreign() -> list[Case]:
    native = {str(case) for case in _native()}
    found = [Case(LLAMA, form, text_call) for form in ("indexed", "plain", "gathered", "axis")]
    if release >= Version("4.45.0"):
        found += [Case(VISION, form, vision_call) for form in ("pair", "freqs")]
    if release >= Version("4.49.0.dev0"):
        found += [Case(FLASHATT, form, vision_call) for form in ("pair", "freqs")]
    return [case for case in found if str(case) not in native]


class Caller(nn.Module):
    """User code that calls a function by its module's name, as model code does."""

    def __init__(self, target: str) -> None:
        super().__init__()
        module, _, self.name = target.partition(":")
        self.home = importlib.import_module(module)

    def forward(self, *args: Any) -> Any:
        return getattr(self.home, self.name)(*args)


class TextCaller(Caller):
    """The same with an explicit signature, which symbolic tracing needs."""

    def forward(self, q: Any, k: Any, cos: Any, sin: Any) -> Any:
        return getattr(self.home, self.name)(q, k, cos, sin)


class PositionsCaller(Caller):
    def forward(self, q: Any, k: Any, cos: Any, sin: Any, position_ids: Any) -> Any:
        return getattr(self.home, self.name)(q, k, cos, sin, position_ids)


class FreqsCaller(Caller):
    def forward(self, tensor: Any, freqs: Any) -> Any:
        return getattr(self.home, self.name)(tensor, freqs)


def nodes_of(graph: torch.fx.Graph) -> Nodes:
    """What a graph computes, without the names that tracers invent."""
    return [
        (node.op, str(node.target))
        for node in graph.nodes
        if node.op not in ("placeholder", "get_attr", "output")
    ]


def compiled_graphs(case: Case, lengths: tuple[int, ...]) -> list[Nodes]:
    """The graphs that Dynamo makes for calls of these lengths; a graph break is an error."""
    graphs: list[Nodes] = []

    def backend(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(nodes_of(module.graph))
        return module.forward

    torch._dynamo.reset()
    compiled = torch.compile(Caller(case.target), backend=backend, fullgraph=True)
    for length in lengths:
        arguments = case.arguments(length)
        same(compiled(*arguments), Caller(case.target)(*arguments))
    return graphs


def same(found: Any, expected: Any) -> None:
    """Outputs agree in structure, shape, dtype and (graphs may fuse) in value within 1e-6."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("case", _native(), ids=str)
def test_native_calls_compile_to_the_same_graphs(case: Case) -> None:
    # Twice the same length: no recompile. Then others: one dynamic graph for all of them.
    lengths = (5, 5, 7, 9)
    bare = compiled_graphs(case, lengths)
    with rope_compat.patched(on_problem="ignore"):
        patched = compiled_graphs(case, lengths)
    assert len(bare) == 2
    assert patched == bare
    assert len(bare[0]) > 4


@pytest.mark.parametrize("case", _foreign(), ids=str)
def test_foreign_calls_compile_to_one_graph(case: Case) -> None:
    with rope_compat.patched(on_problem="ignore"):
        graphs = compiled_graphs(case, (5, 5, 7, 9))
    # One graph for the first length and one for all others, as for native calls.
    assert len(graphs) == 2


def test_patching_is_seen_by_code_that_was_compiled_before() -> None:
    case = next(case for case in _foreign() if case.target == LLAMA)
    native = _native()[0]
    torch._dynamo.reset()
    compiled = torch.compile(Caller(LLAMA), backend="eager", fullgraph=True)
    before = compiled(*native.arguments())
    with rope_compat.patched(on_problem="ignore"):
        same(compiled(*native.arguments()), before)
        same(compiled(*case.arguments()), Caller(LLAMA)(*case.arguments()))
    same(compiled(*native.arguments()), before)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("case", _native(), ids=str)
def test_native_calls_export_to_the_same_graph(case: Case, strict: bool) -> None:
    bare = torch.export.export(Caller(case.target), case.arguments(), strict=strict)
    with rope_compat.patched(on_problem="ignore"):
        patched = torch.export.export(Caller(case.target), case.arguments(), strict=strict)
    assert nodes_of(patched.graph) == nodes_of(bare.graph)
    same(patched.module()(*case.arguments()), bare.module()(*case.arguments()))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("case", _foreign(), ids=str)
def test_foreign_calls_export(case: Case, strict: bool) -> None:
    with rope_compat.patched(on_problem="ignore"):
        exported = torch.export.export(Caller(case.target), case.arguments(), strict=strict)
        expected = Caller(case.target)(*case.arguments())
    same(exported.module()(*case.arguments()), expected)


@pytest.mark.parametrize("case", [case for case in _native() if case.form != "axis"], ids=str)
def test_native_calls_trace_with_fx(case: Case) -> None:
    count = len(case.arguments())
    caller = {2: FreqsCaller, 4: TextCaller, 5: PositionsCaller}[count](case.target)
    module, _, name = case.target.partition(":")
    if isinstance(getattr(importlib.import_module(module), name), torch.nn.Module):
        # A module of `kernels`: fx does not call a module that is not a part of what it traces.
        with pytest.raises(NameError, match="not installed as a submodule"):
            torch.fx.symbolic_trace(caller)
        return
    bare = torch.fx.symbolic_trace(caller)
    with rope_compat.patched(on_problem="ignore"):
        patched = torch.fx.symbolic_trace(caller)
        # A graph without a trace of rope_compat in it: it runs when the patch is gone, too.
    assert nodes_of(patched.graph) == nodes_of(bare.graph)
    same(patched(*case.arguments()), bare(*case.arguments()))
