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
    from rope_compat._facts.known_bad import KNOWN_BAD, KnownBad

__all__ = [
    "KNOWN_BAD",
    "DirectUrl",
    "Environment",
    "KnownBad",
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
_WHERE = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
_WHERE |= dict.fromkeys(("KNOWN_BAD", "KnownBad"), "rope_compat._facts.known_bad")


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
