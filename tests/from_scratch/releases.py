"""The releases of llms_from_scratch: what their rotary functions are, how to get them, how to load one.

As a script: download the wheels of all releases and unpack them in a directory, one a release. What they
require (tensorflow, jupyterlab) is not needed to import them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

PACKAGE = "llms_from_scratch"

#: All that the package index has; there is no 1.0.16.
RELEASES = ("0.1.0", *(f"1.0.{minor}" for minor in range(20) if minor != 16))

_PLAIN, _OFFSET, _EACH = "(x, cos, sin)", "(x, cos, sin, offset=0)", "(x, cos, sin, offset)"

#: Signature of ``apply_rope`` by module, with the release that it came with.
APPLY_ROPE = {
    "llama3": {"1.0.3": _PLAIN},
    "qwen3": {"1.0.8": _PLAIN},
    "kv_cache.llama3": {"1.0.10": _PLAIN, "1.0.15": "(x, cos, sin, offset=9)", "1.0.17": _OFFSET},
    "kv_cache.qwen3": {"1.0.13": _PLAIN, "1.0.15": _OFFSET},
    "kv_cache_batched.qwen3": {"1.0.17": _EACH},
}

DIRECTORY = os.environ.get("ROPE_COMPAT_LLMS_RELEASES", "")


def home(release: str) -> Path:
    """The directory that a release is unpacked in."""
    return Path(DIRECTORY) / release


def signature(module: str, release: str) -> str | None:
    """The signature of a module's ``apply_rope`` in a release, None where there is no such module."""
    found = None
    for first, text in APPLY_ROPE[module].items():
        if RELEASES.index(first) <= RELEASES.index(release):
            found = text
    return found


def places() -> list[tuple[str, str]]:
    """Every release with each of its modules that have rotary functions."""
    return [(release, module) for release in RELEASES for module in APPLY_ROPE if signature(module, release)]


def boundaries() -> list[tuple[str, str]]:
    """Of `places`, the first and the last with each signature of a module."""
    found: dict[tuple[str, str | None], list[tuple[str, str]]] = {}
    for release, module in places():
        found.setdefault((module, signature(module, release)), []).append((release, module))
    return sorted({place for same in found.values() for place in (same[0], same[-1])})


@contextlib.contextmanager
def installed(release: str) -> Iterator[None]:
    """In the body, the release is what ``import llms_from_scratch`` gives; after it, nothing is."""
    assert not any(name.partition(".")[0] == PACKAGE for name in sys.modules)
    sys.path.insert(0, str(home(release)))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(home(release)))
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


def load(module: str) -> ModuleType:
    """A module of the installed release."""
    return importlib.import_module(f"{PACKAGE}.{module}")


def _unpack(release: str, directory: Path) -> None:
    command = [
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--target",
        str(directory / release),
    ]
    subprocess.run([sys.executable, "-m", "pip", *command, f"{PACKAGE}=={release}"], check=True)


def main(directory: Path) -> None:
    """Install the releases that `directory` lacks."""
    missing = [release for release in RELEASES if not (directory / release / PACKAGE).is_dir()]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda release: _unpack(release, directory), missing))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
