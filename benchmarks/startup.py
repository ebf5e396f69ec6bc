"""What importing rope_compat, `patch()` and the import hooks cost.

    python benchmarks/startup.py [--runs N] [--json] [--skip-all-modules]

Everything that happens once in a process is measured in fresh processes. Goals: `import rope_compat` under
30 ms of its own, without torch or transformers; `patch()` before transformers is imported under 5 ms;
`patch()` with every modeling module of the installed release imported under 150 ms; less than 1 % more time
for the import of a module.
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
begin = time.perf_counter()
import rope_compat
end = time.perf_counter()
heavy = [name for name in ("torch", "transformers", "numpy") if name in sys.modules]
print(json.dumps({"ms": (end - begin) * 1e3, "heavy": heavy}))
"""

# What patch() needs is loaded by the first use of the name, and is counted.
PATCH_FIRST = """
import json, sys, time
import rope_compat
begin = time.perf_counter()
rope_compat.patch
loaded = time.perf_counter()
patch = rope_compat.patch(on_problem="ignore")
end = time.perf_counter()
patch.undo()
again = time.perf_counter()
rope_compat.patch(on_problem="ignore")
last = time.perf_counter()
heavy = [name for name in ("torch", "transformers", "numpy") if name in sys.modules]
print(json.dumps({"load_ms": (loaded - begin) * 1e3, "patch_ms": (end - loaded) * 1e3,
                  "again_ms": (last - again) * 1e3, "heavy": heavy}))
"""

ALL_MODULES = """
import importlib, io, json, pkgutil, sys, time, warnings
warnings.simplefilter("ignore")
import transformers.models as models
begin = time.perf_counter()
count = 0
for package in pkgutil.iter_modules(models.__path__):
    for module in pkgutil.iter_modules([f"{models.__path__[0]}/{package.name}"]):
        if module.name.startswith("modeling_") and module.name.split("_")[1] not in ("tf", "flax"):
            try:
                importlib.import_module(f"transformers.models.{package.name}.{module.name}")
                count += 1
            except Exception:
                pass  # a peer that is not installed, such as natten or detectron2
imported = time.perf_counter()
import rope_compat
times, undos = [], []
for _ in range(7):
    begin = time.perf_counter()
    patch = rope_compat.patch(on_problem="ignore")
    middle = time.perf_counter()
    changes = len(patch.journal)
    patch.undo()
    undos.append((time.perf_counter() - middle) * 1e3)
    times.append((middle - begin) * 1e3)
print(json.dumps({"modules": count, "changes": changes, "loaded": len(sys.modules), "first_ms": times[0],
                  "later_ms": times[1:], "undo_ms": undos}))
"""

# The hook's own time is taken inside the process: two cold imports differ by more than 1 % of themselves.
HOOKED = """
import importlib, json, time
import rope_compat
import torch, transformers
spent = 0.0
def timed(function):
    def wrapper(*args):
        global spent
        begin = time.perf_counter()
        try:
            return function(*args)
        finally:
            spent += time.perf_counter() - begin
    return wrapper
if PATCH:
    rope_compat.patch(on_problem="ignore")
    from rope_compat._api import _engine
    _engine._hook._wants = timed(_engine._hook._wants)
    _engine._hook._ready = timed(_engine._hook._ready)
begin, cpu = time.perf_counter(), time.process_time()
importlib.import_module(MODULE)
found = {"wall_ms": (time.perf_counter() - begin) * 1e3, "cpu_ms": (time.process_time() - cpu) * 1e3,
         "hook_ms": spent * 1e3}
begin, spent = time.perf_counter(), 0.0
importlib.import_module(FURTHER)
found |= {"further_ms": (time.perf_counter() - begin) * 1e3, "further_hook_ms": spent * 1e3}
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
    """Import one module with and without patch(), in turn."""
    hooked, plain = [], []
    for number in range(runs + 1):
        for patch in (True, False) if number % 2 else (False, True):
            found = fresh(f"PATCH, MODULE, FURTHER = {patch}, {module!r}, {FURTHER!r}\n{HOOKED}")
            if number:
                (hooked if patch else plain).append(found)
    pairs = list(zip(hooked, plain, strict=True))
    return {
        "module": module.rpartition(".")[2],
        "import_ms": statistics.median(run["wall_ms"] for run in plain),
        "hook_ms": statistics.median(run["hook_ms"] for run in hooked),
        "hook share": quartiles([run["hook_ms"] / run["wall_ms"] for run in hooked]),
        "further_import_ms": statistics.median(run["further_ms"] for run in plain),
        "further_hook_ms": statistics.median(run["further_hook_ms"] for run in hooked),
        "cpu with / without": quartiles([a["cpu_ms"] / b["cpu_ms"] for a, b in pairs]),
    }


def measure(runs: int, *, all_modules: bool) -> dict[str, Any]:
    times = repeat(import_times, runs)
    walls = repeat(lambda: fresh(IMPORT), runs)
    first = repeat(lambda: fresh(PATCH_FIRST), runs)
    document: dict[str, Any] = {
        "python": sys.version.split()[0],
        "import rope_compat, own files, ms": quartiles([own for own, _ in times]),
        "the same with all it imports, ms": quartiles([total for _, total in times]),
        "import rope_compat, by the clock, ms": quartiles([run["ms"] for run in walls]),
        "imported by it": sorted({name for run in [*walls, *first] for name in run["heavy"]}),
        "loading what patch() needs, ms": quartiles([run["load_ms"] for run in first]),
        "patch() before transformers, ms": quartiles([run["patch_ms"] for run in first]),
        "the same, second call, ms": quartiles([run["again_ms"] for run in first]),
        "imports": [imports(module, max(3, runs // 2)) for module in MODULES],
    }
    if all_modules:
        found = fresh(ALL_MODULES)
        document["every modeling module"] = {
            **{name: found[name] for name in ("modules", "changes", "loaded", "first_ms")},
            "later ms": quartiles(found["later_ms"]),
            "undo ms": quartiles(found["undo_ms"]),
        }
    return document


def table(document: dict[str, Any]) -> str:
    lines = []
    for name, value in document.items():
        if isinstance(value, dict) and "median" in value:
            lines.append(f"{name:<38}{_shown(value)}")
    lines.append(
        f"{'heavy modules imported by all that':<38}{', '.join(document['imported by it']) or 'none'}"
    )
    for item in document["imports"]:
        lines.append(f"import {item['module']}: {item['import_ms']:.0f} ms, hooks {item['hook_ms']:.1f} ms")
        further = f"{item['further_import_ms']:.0f} ms, hooks {item['further_hook_ms']:.1f} ms"
        lines.append(f"    {'a further module':<32}{further}")
        for name in ("hook share", "cpu with / without"):
            lines.append(f"    {name:<32}{_shown(item[name], 4)}")
    every = document.get("every modeling module")
    if every:
        lines.append(f"patch() with {every['modules']} modeling modules, {every['loaded']} modules in all,")
        lines.append(f"    {every['changes']} changes: first call {every['first_ms']:.0f} ms")
        lines.append(f"    {'later calls, ms':<32}{_shown(every['later ms'])}")
        lines.append(f"    {'undo(), ms':<32}{_shown(every['undo ms'])}")
    return "\n".join(lines)


def _shown(value: dict[str, float], digits: int = 1) -> str:
    low, middle, high = (value[key] for key in ("lower quartile", "median", "upper quartile"))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="fresh processes for each measurement")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    parser.add_argument("--skip-all-modules", action="store_true", help="importing all of them takes minutes")
    options = parser.parse_args()
    document = measure(options.runs, all_modules=not options.skip_all_modules)
    print(json.dumps(document, indent=2) if options.json else table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
