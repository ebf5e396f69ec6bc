"""How many graphs, graph breaks and recompiles a model has under torch.compile, with and without `patch()`.

    python benchmarks/compile.py [--json]

A tiny Llama and its rotary function are compiled by Dynamo with a backend that only counts; the function is
also exported, and traced by torch.fx. Every pair of figures has to be equal; exit status 1 if one is not. The
same is asserted call by call, with the other functions and forms, in tests/user/test_compile.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch._dynamo.utils import counters
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

import rope_compat

Figures = dict[str, Any]


def tiny_llama() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    return LlamaForCausalLM(
        LlamaConfig(**sizes, **heads, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    ).eval()


def dynamo(function: Callable[..., Any], calls: list[tuple[Any, ...]], *, fullgraph: bool) -> Figures:
    """Compile `function`, make the calls, count."""
    graphs: list[int] = []

    def backend(module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(len(module.graph.nodes))
        return module.forward

    torch._dynamo.reset()
    counters.clear()
    compiled = torch.compile(function, backend=backend, fullgraph=fullgraph)
    for call in calls:
        compiled(*call)
    breaks = sum(counters["graph_break"].values())
    return {"graphs": len(graphs), "nodes": sum(graphs), "graph breaks": breaks}


def model_figures(model: Any, *, fullgraph: bool) -> Figures:
    """Two equal lengths, then two others: a recompile too many would be one more graph."""
    words = [(torch.randint(3, 99, (1, length)),) for length in (6, 6, 9, 12)]
    with torch.no_grad():
        return dynamo(lambda ids: model(input_ids=ids, use_cache=False).logits, words, fullgraph=fullgraph)


def rotary_calls() -> list[tuple[torch.Tensor, ...]]:
    # To 4.37.2 cos and sin are tables, and position_ids are required.
    indexes = Version(transformers.__version__) < Version("4.38.0")
    calls = []
    for length in (6, 6, 9, 12):
        q = torch.randn(1, 2, length, 16)
        cos, sin = torch.randn(2, length, 16)
        tables = (q, q, cos, sin, torch.arange(length)[None])
        calls.append(tables if indexes else (q, q, cos[None], sin[None]))
    return calls


class Rotary(torch.nn.Module):
    def forward(self, q: Any, k: Any, cos: Any, sin: Any) -> Any:
        return modeling_llama.apply_rotary_pos_emb(q, k, cos, sin)


class RotaryWithPositions(torch.nn.Module):
    def forward(self, q: Any, k: Any, cos: Any, sin: Any, position_ids: Any) -> Any:
        return modeling_llama.apply_rotary_pos_emb(q, k, cos, sin, position_ids)


def figures(model: Any) -> dict[str, Figures]:
    calls = rotary_calls()
    rotary = (Rotary if len(calls[0]) == 4 else RotaryWithPositions)()
    found = {"rotary function, fullgraph": dynamo(rotary, calls, fullgraph=True)}
    for fullgraph in (True, False):
        name = f"tiny Llama{', fullgraph' if fullgraph else ''}"
        try:
            found[name] = model_figures(model, fullgraph=fullgraph)
        except Exception as error:  # models of old releases do not compile in one graph, patched or not
            found[name] = {"failed": type(error).__name__}
    for strict in (True, False):
        exported = torch.export.export(rotary, calls[0], strict=strict)
        found[f"torch.export, strict={strict}"] = {"nodes": len(exported.graph.nodes)}
    found["torch.fx.symbolic_trace"] = {"nodes": len(torch.fx.symbolic_trace(rotary).graph.nodes)}
    torch._dynamo.reset()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    options = parser.parse_args()
    model = tiny_llama()
    without = figures(model)
    with rope_compat.patched(on_problem="ignore"):
        patched = figures(model)
    equal = without == patched
    version = rope_compat.detect().transformers.version
    if options.json:
        document = {"transformers": version, "torch": str(torch.__version__), "equal": equal}
        print(json.dumps(document | {"without": without, "with": patched}, indent=2))
        return 0 if equal else 1
    print(f"transformers {version}, torch {torch.__version__}")
    print(f"{'':<30}{'':<14}{'without':>10}{'with':>10}")
    for name, items in without.items():
        for key, value in items.items():
            print(f"{name:<30}{key:<14}{value!s:>10}{patched[name].get(key, '-')!s:>10}")
    print("equal" if equal else "NOT EQUAL")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
