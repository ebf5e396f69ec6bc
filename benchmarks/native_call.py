"""What a native call costs through the adapter, against the bare function, as a ratio within one run.

    python benchmarks/native_call.py [--rounds N] [--json]

Bare and adapted calls alternate, in an order that changes from round to round, and processor time of the one
thread is taken, so that other programs disturb little and both alike. `bare again` is the bare function
against itself: what the run cannot tell apart. The goal is a ratio of at most 1.01.
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig
from transformers.models.llama import modeling_llama

import rope_compat

SHAPES = ((1, 32, 1, 128), (1, 32, 512, 128))
GOAL = 1.01
# Long against the grain of the clock, short against what comes and goes on a machine.
SAMPLE_SECONDS = 0.002

Call = Callable[[], Any]


def arguments(function: Callable[..., Any], shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Arguments in the installed release's own form."""
    q, k = torch.randn(shape), torch.randn(shape)
    angles = torch.outer(torch.arange(float(shape[2])), 10000.0 ** -(torch.arange(0, shape[3], 2) / shape[3]))
    table = torch.cat((angles, angles), -1)
    subject = function.forward if isinstance(function, torch.nn.Module) else function
    positions = inspect.signature(subject).parameters.get("position_ids")
    if positions is not None and positions.default is inspect.Parameter.empty:
        # To 4.37.2 cos and sin are tables.
        return q, k, table.cos(), table.sin(), torch.arange(shape[2])[None]
    return q, k, table.cos()[None], table.sin()[None]


def sample(call: Call, count: int) -> float:
    """Seconds of processor time for one call, the mean of `count`."""
    begin = time.thread_time()
    for _ in range(count):
        call()
    return (time.thread_time() - begin) / count


def compare(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    """Samples of each call, taken in turn; which one begins changes from round to round."""
    count = max(1, round(SAMPLE_SECONDS / max(sample(calls[0], 5), 1e-9)))
    samples: list[list[float]] = [[] for _ in calls]
    for number in range(rounds):
        for step in range(len(calls)):
            place = (number + step) % len(calls)
            samples[place].append(sample(calls[place], count))
    return samples


def summary(ratios: Sequence[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": middle, "lower quartile": low, "upper quartile": high}


def measure(shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    bare = modeling_llama.apply_rotary_pos_emb
    given = arguments(bare, shape)
    with rope_compat.patched(targets="transformers.models.llama"):
        adapted = modeling_llama.apply_rotary_pos_emb
        if adapted is bare:
            raise SystemExit("with the kernels package the class is adapted, not the name: uninstall kernels")
        samples = compare([lambda: bare(*given), lambda: adapted(*given), lambda: bare(*given)], rounds)
    return result(str(shape), rounds, samples)


def measure_class(rounds: int) -> list[dict[str, Any]]:
    """The rotary class: its forward for one token and for many, and its constructor."""
    cls = modeling_llama.LlamaRotaryEmbedding
    config = LlamaConfig(hidden_size=4096, num_attention_heads=32)
    takes_config = "config" in inspect.signature(cls).parameters
    argument = {"config": config} if takes_config else {"dim": 128}
    takes_length = "seq_len" in inspect.signature(cls.forward).parameters
    bare_init, bare_forward = cls.__init__, cls.forward
    results = []
    with rope_compat.patched(targets="transformers.models.llama"):
        module = cls(**argument)
        init, forward = cls.__init__, cls.forward
        for length in (1, 512):
            x = torch.zeros(1, 32, length, 128)
            given: Any = length if takes_length else torch.arange(length)[None]
            calls = [partial(each, module, x, given) for each in (bare_forward, forward, bare_forward)]
            results.append(result(f"rotary forward, {length}", rounds, compare(calls, rounds)))
        makers = [partial(construct, cls, each, argument) for each in (bare_init, init, bare_init)]
        results.append(result("rotary constructor", rounds // 5, compare(makers, rounds // 5)))
    return results


def construct(cls: type, init: Call, argument: dict[str, Any]) -> None:
    init(cls.__new__(cls), **argument)


def result(what: str, rounds: int, samples: list[list[float]]) -> dict[str, Any]:
    one, two, three = samples
    return {
        "what": what,
        "rounds": rounds,
        "bare_us": statistics.median(one) * 1e6,
        "adapted_us": statistics.median(two) * 1e6,
        "adapted / bare": summary([b / a for a, b in zip(one, two, strict=True)]),
        "bare again / bare": summary([b / a for a, b in zip(one, three, strict=True)]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000, help="rounds for each shape")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        results = [measure(shape, options.rounds // (1 if shape[2] == 1 else 5)) for shape in SHAPES]
        results += measure_class(options.rounds)
    document = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": rope_compat.detect().transformers.version,
        "goal": GOAL,
        "results": results,
    }
    print(json.dumps(document, indent=2) if options.json else table(document))
    return 0


def table(document: dict[str, Any]) -> str:
    lines = [f"transformers {document['transformers']}, torch {document['torch']}, fp32, one thread", ""]
    lines.append(f"{'what':<22}{'compared':<20}{'median':>8}  {'quartiles':<15}{'bare':>12}")
    for result in document["results"]:
        for name in ("adapted / bare", "bare again / bare"):
            ratio = result[name]
            quartiles = f"{ratio['lower quartile']:.3f} to {ratio['upper quartile']:.3f}"
            cells = f"{result['what']:<22}{name:<20}{ratio['median']:>8.4f}  {quartiles:<15}"
            lines.append(f"{cells}{result['bare_us']:>9.1f} us")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
