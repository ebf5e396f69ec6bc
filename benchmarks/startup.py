"""What importing rope_compat, `patch()`, `undo()` and the import hooks cost, in milliseconds of CPU time.

    python benchmarks/startup.py [--runs N] [--json] [--skip-all-modules]

Everything that happens once in a process is measured in fresh processes; times are user and system time, so
that other programs on the machine disturb little. Goals: `import rope_compat` 30 ms; with every modeling
module of the installed release imported 100 ms for a first `patch()`, 50 ms for later ones and 20 ms for
`undo()`; hooks 0.5 % of the import of a first model (torch, transformers, Llama) and 0.2 ms of a further one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

IMPORT = """
import json, sys, time
begin = time.process_time()
import rope_compat
end = time.process_time()
own = sum(name.partition(".")[0] == "rope_compat" for name in sys.modules)
heavy = [name for name in ("torch", "transformers", "numpy") if name in sys.modules]
print(json.dumps({"ms": (end - begin) * 1e3, "own": own, "heavy": heavy}))
"""

# What patch() needs is loaded by the first use of the name, and is counted.
PATCH_FIRST = """
import json, sys, time
import rope_compat
begin = time.process_time()
rope_compat.patch
loaded = time.process_time()
patch = rope_compat.patch(on_problem="ignore")
end = time.process_time()
patch.undo()
again = time.process_time()
rope_compat.patch(on_problem="ignore")
last = time.process_time()
own = sum(name.partition(".")[0] == "rope_compat" for name in sys.modules)
heavy = [name for name in ("torch", "transformers", "numpy") if name in sys.modules]
print(json.dumps({"load_ms": (loaded - begin) * 1e3, "patch_ms": (end - loaded) * 1e3,
                  "again_ms": (last - again) * 1e3, "own": own, "heavy": heavy}))
"""

ALL_MODULES = """
import importlib, json, pkgutil, sys, time, warnings
warnings.simplefilter("ignore")
import transformers.models as models
count = 0
for package in pkgutil.iter_modules(models.__path__):
    for module in pkgutil.iter_modules([f"{models.__path__[0]}/{package.name}"]):
        if module.name.startswith("modeling_") and module.name.split("_")[1] not in ("tf", "flax"):
            try:
                importlib.import_module(f"transformers.models.{package.name}.{module.name}")
                count += 1
            except Exception:
                pass  # a peer that is not installed, such as natten or detectron2
import rope_compat
times, undos = [], []
for _ in range(RUNS):
    begin = time.process_time()
    patch = rope_compat.patch(on_problem="ignore")
    middle = time.process_time()
    journal = len(patch.journal)
    parts = dict(rope_compat.status().changes)
    before = time.process_time()
    patch.undo()
    undos.append((time.process_time() - before) * 1e3)
    times.append((middle - begin) * 1e3)
print(json.dumps({"modules": count, "changes": journal, "parts": parts, "loaded": len(sys.modules),
                  "first_ms": times[0], "later_ms": times[1:], "undo_ms": undos}))
"""

# The hook's own time is taken inside the process: two cold imports differ by more than 1 % of themselves.
HOOKED = """
import importlib, json, time
import rope_compat
spent, depth = 0.0, 0
def timed(function):
    def wrapper(*args):
        global spent, depth
        begin, depth = time.process_time(), depth + 1
        try:
            return function(*args)
        finally:
            depth -= 1
            if not depth:
                spent += time.process_time() - begin
    return wrapper
begin = time.process_time()
if PATCH:
    patch = rope_compat.patch(on_problem="ignore")
    from rope_compat._api import _close_look, _engine
    for hook in (_close_look, _engine._hook):
        hook._wants, hook._ready = timed(hook._wants), timed(hook._ready)
patched = time.process_time()
importlib.import_module(MODULE)
found = {"cpu_ms": (time.process_time() - patched) * 1e3, "hook_ms": spent * 1e3,
         "patch_ms": (patched - begin) * 1e3}
begin, spent = time.process_time(), 0.0
importlib.import_module(FURTHER)
found |= {"further_ms": (time.process_time() - begin) * 1e3, "further_hook_ms": spent * 1e3}
if PATCH:
    found |= {"changes": len(patch.journal), "parts": dict(rope_compat.status().changes)}
print(json.dumps(found))
"""

# Imported next, when what it needs is there: the first one also pays for what the adapters need.
FURTHER = "transformers.models.mistral.modeling_mistral"
MODULES = (
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2_vl.modeling_qwen2_vl",
)


def fresh(code: str, *options: str) -> Any:
    """Run `code` in a new interpreter and return the JSON that it prints."""
    command = [sys.executable, *options, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if result.returncode:
        raise SystemExit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def import_times() -> tuple[float, float]:
    """`import rope_compat` by ``-X importtime``, in ms: its own files, and all that it imports."""
    command = [sys.executable, "-X", "importtime", "-c", "import rope_compat"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if "|" in line][1:]
    own = sum(int(self_time) for self_time, _, name in rows if name.strip().startswith("rope_compat"))
    total = next(int(cumulative) for _, cumulative, name in rows if name.strip() == "rope_compat")
    return own / 1e3, total / 1e3


def quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "lower quartile": low, "upper quartile": high}


def repeat(measure: Callable[[], Any], runs: int) -> list[Any]:
    measure()  # so that byte code and disk cache are warm for all runs alike
    return [measure() for _ in range(runs)]


def imports(module: str, runs: int) -> dict[str, Any]:
    """Import torch, transformers and one module with and without patch(), in turn."""
    hooked, plain = [], []
    for number in range(runs + 1):
        for patch in (True, False) if number % 2 else (False, True):
            found = fresh(f"PATCH, MODULE, FURTHER = {patch}, {module!r}, {FURTHER!r}\n{HOOKED}")
            if number:
                (hooked if patch else plain).append(found)
    pairs = list(zip(hooked, plain, strict=True))

    def middle(found: list[Any], name: str) -> float:
        return statistics.median(run[name] for run in found)

    return {
        "module": module.rpartition(".")[2],
        **{name: middle(plain, name) for name in ("cpu_ms", "further_ms")},
        **{name: middle(hooked, name) for name in ("hook_ms", "further_hook_ms")},
        "changes": hooked[0]["changes"],
        "parts": hooked[0]["parts"],
        "hook share": quartiles([run["hook_ms"] / run["cpu_ms"] for run in hooked]),
        "with / without": quartiles([a["cpu_ms"] / b["cpu_ms"] for a, b in pairs]),
        "further, with / without": quartiles([a["further_ms"] / b["further_ms"] for a, b in pairs]),
    }


def measure(runs: int, *, all_modules: bool) -> dict[str, Any]:
    times = repeat(import_times, runs)
    alone = repeat(lambda: fresh(IMPORT), runs)
    first = repeat(lambda: fresh(PATCH_FIRST), runs)
    document: dict[str, Any] = {
        "python": sys.version.split()[0],
        "import rope_compat": quartiles([run["ms"] for run in alone]),
        "the same, own files (importtime)": quartiles([own for own, _ in times]),
        "own modules": {"import": alone[0]["own"], "patch()": first[0]["own"]},
        "imported by it": sorted({name for run in [*alone, *first] for name in run["heavy"]}),
        "loading what patch() needs": quartiles([run["load_ms"] for run in first]),
        "patch() before transformers": quartiles([run["patch_ms"] for run in first]),
        "the same, second call": quartiles([run["again_ms"] for run in first]),
        "imports": [imports(module, max(3, runs // 2)) for module in MODULES],
    }
    if all_modules:
        found = fresh(f"RUNS = {max(7, runs)}\n{ALL_MODULES}")
        document["every modeling module"] = {
            **{name: found[name] for name in ("modules", "changes", "parts", "loaded", "first_ms")},
            "later ms": quartiles(found["later_ms"]),
            "undo ms": quartiles(found["undo_ms"]),
        }
    return document


def table(document: dict[str, Any]) -> str:
    lines = ["milliseconds of CPU time: median (quartiles)"]
    for name, value in document.items():
        if isinstance(value, dict) and "median" in value:
            lines.append(f"{name:<38}{_shown(value)}")
    own = document["own modules"]
    lines.append(f"{'own modules: import, and patch()':<38}{own['import']}, {own['patch()']}")
    lines.append(f"{'heavy modules imported by that':<38}{', '.join(document['imported by it']) or 'none'}")
    for item in document["imports"]:
        lines.append(f"import torch, transformers, {item['module']}: {item['cpu_ms']:.0f}")
        lines.append(f"    {'hooks, of that':<34}{item['hook_ms']:.1f}")
        lines.append(f"    {'hooks, share':<34}{_shown(item['hook share'], 4)}")
        lines.append(f"    {'with / without':<34}{_shown(item['with / without'], 3)}")
        lines.append(
            f"    {'a further model':<34}{item['further_ms']:.1f}, hooks {item['further_hook_ms']:.2f}"
        )
        lines.append(f"    {'with / without':<34}{_shown(item['further, with / without'], 3)}")
        lines.append(f"    {'changes':<34}{item['changes']}: {_listed(item['parts'])}")
    every = document.get("every modeling module")
    if every:
        lines.append(f"patch() with {every['modules']} modeling modules, {every['loaded']} modules in all")
        lines.append(f"    {'changes':<34}{every['changes']}: {_listed(every['parts'])}")
        lines.append(f"    {'first call':<34}{every['first_ms']:.0f}")
        lines.append(f"    {'later calls':<34}{_shown(every['later ms'])}")
        lines.append(f"    {'undo()':<34}{_shown(every['undo ms'])}")
    return "\n".join(lines)


def _listed(parts: dict[str, int]) -> str:
    return "; ".join(f"{part} {count}" for part, count in parts.items())


def _shown(value: dict[str, float], digits: int = 1) -> str:
    low, middle, high = (value[key] for key in ("lower quartile", "median", "upper quartile"))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="fresh processes for each measurement")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    parser.add_argument(
        "--skip-all-modules", action="store_true", help="importing all of them takes half a minute"
    )
    options = parser.parse_args()
    document = measure(options.runs, all_modules=not options.skip_all_modules)
    print(json.dumps(document, indent=2) if options.json else table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
