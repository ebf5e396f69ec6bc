"""Is the installed transformers plainly a release that works? Decided in a millisecond, or left open.

`rope_compat._environment.detect` knows everything and takes some twenty times as long, most of it for
imports. For the usual case, a release from an index, the directory that holds the package says enough.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from rope_compat import catalog
from rope_compat._facts.releases import WANTS_PYTHON_3_11, WITH_WARNINGS

__all__ = ["WITH_WARNINGS", "plain_release"]


def plain_release() -> str | None:
    """The version, if transformers is not loaded yet and is a known release that nothing is to be said of.

    None says nothing: `rope_compat._environment.detect` has to look. Peers (torch, accelerate, kernels) are
    not judged here.
    """
    if "transformers" in sys.modules:
        return None
    try:
        spec = importlib.util.find_spec("transformers")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or os.path.basename(spec.origin) != "__init__.py":
        return None
    site = os.path.dirname(os.path.dirname(spec.origin))
    try:
        found = [name for name in os.listdir(site) if name.startswith("transformers-") and "-info" in name]
        with open(spec.origin, encoding="utf-8", errors="replace") as stream:
            head = stream.read(4096)
    except OSError:
        return None
    if len(found) != 1 or not found[0].endswith(".dist-info"):
        return None
    version = found[0][len("transformers-") : -len(".dist-info")]
    installed_from_elsewhere = os.path.exists(os.path.join(site, found[0], "direct_url.json"))
    if installed_from_elsewhere or f'__version__ = "{version}"' not in head:
        return None
    return version if _is_plain(version) else None


def _is_plain(version: str) -> bool:
    known = catalog.releases()
    oldest, newest = catalog.oldest_supported(), catalog.newest_supported()
    # A catalog that a user has made may lack any of these.
    if not {version, oldest, newest} <= set(known) or version in WITH_WARNINGS:
        return False
    place = known.index(version)
    if not known.index(oldest) <= place <= known.index(newest):
        return False
    return sys.version_info >= (3, 11) or place < known.index(WANTS_PYTHON_3_11)
