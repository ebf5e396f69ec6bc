"""What is installed, whether rope_compat works with it, and what is known to be wrong with it.

Everything is read from files: neither transformers nor torch is imported, and a package that has been
imported already is only looked at. Version numbers explain and warn; how a live function is called is decided
by its own signature. `release` alone is fast enough for every `rope_compat.patch`: the rest is loaded when it
is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rope_compat._environment.model import DirectUrl, Environment, PackageInfo, Problem
    from rope_compat._environment.packages import read_package
    from rope_compat._environment.requirement import require
    from rope_compat._environment.verdict import detect, judge, signature_drift
    from rope_compat._environment.warn import announce, warn_about

__all__ = [
    "DirectUrl",
    "Environment",
    "PackageInfo",
    "Problem",
    "announce",
    "detect",
    "judge",
    "read_package",
    "require",
    "signature_drift",
    "warn_about",
]

_HOMES = {
    "model": ("DirectUrl", "Environment", "PackageInfo", "Problem"),
    "packages": ("read_package",),
    "requirement": ("require",),
    "verdict": ("detect", "judge", "signature_drift"),
    "warn": ("announce", "warn_about"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
