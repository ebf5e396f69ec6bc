"""What is installed, whether rope_compat works with it, and what is known to be wrong with it.

Everything is read from files: neither transformers nor torch is imported, and a package that has been
imported already is only looked at. Version numbers explain and warn; how a live function is called is decided
by its own signature.
"""

from __future__ import annotations

import platform

from rope_compat._environment.announce import announce, warn_about
from rope_compat._environment.drift import signature_drift
from rope_compat._environment.judge import judge
from rope_compat._environment.model import DirectUrl, Environment, PackageInfo, Problem
from rope_compat._environment.packages import read_package
from rope_compat._environment.requirement import require
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


def detect() -> Environment:
    """What is installed here, the verdict on it, and its problems.

    The verdict is ``"supported"`` (a release that rope_compat knows), ``"untested"`` (newer than any it
    knows, withdrawn, or a pre-release), ``"development"`` (a development build) or ``"unsupported"``
    (missing, broken, or older than 4.36). Where x-transformers is there and transformers is not, that is
    ``"supported"`` as well. Nothing is imported and nothing is kept: a second call looks again.
    """
    transformers = read_package("transformers", "transformers")
    torch = read_package("torch", "torch")
    accelerate = read_package("accelerate", "accelerate")
    kernels = read_package("kernels", "kernels")
    flash_attn = read_package("flash-attn", "flash_attn")
    python = platform.python_version()
    x_transformers = read_package("x-transformers", "x_transformers")
    peers = (torch, accelerate, kernels, x_transformers)
    verdict, problems = judge(transformers, peers, python.rstrip("+"))
    return Environment(
        python=python,
        transformers=transformers,
        torch=torch,
        accelerate=accelerate,
        kernels=kernels,
        flash_attn=flash_attn,
        verdict=verdict,
        problems=problems,
        x_transformers=x_transformers,
    )
