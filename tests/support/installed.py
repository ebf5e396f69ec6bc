"""What the installed transformers has, for tests that run on every release."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import rope_compat
from rope_compat import catalog
from rope_compat._facts.function_names import NAMES

#: The release whose source tells what is installed; for a development build, the one that it precedes.
RELEASE = catalog.release_for(str(rope_compat.detect().transformers.version))

LLAMA = "transformers.models.llama.modeling_llama"
QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"
QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"


def has_module(name: str) -> bool:
    """Whether the installed transformers has a module, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def lacks_a_peer(name: str) -> bool:
    """Whether a module of transformers imports torchvision, which the matrix does without (SAM 3 to 5.x)."""
    spec = importlib.util.find_spec(name) if has_module(name) else None
    if spec is None or spec.origin is None or importlib.util.find_spec("torchvision") is not None:
        return False
    return re.search(r"^(import|from) torchvision", Path(spec.origin).read_text(), re.MULTILINE) is not None


def installed_targets(family: str | None = None) -> list[tuple[str, str]]:
    """The (module, name) pairs that the installed release defines, where the module can be imported."""
    return [
        (module, name)
        for module, name in catalog.functions(NAMES)
        if catalog.signature_at(module, name, RELEASE) is not None
        and family in (None, name)
        and not lacks_a_peer(module)
    ]


def load(name: str) -> ModuleType:
    """Import a module of transformers."""
    return importlib.import_module(name)


def native_of(module: ModuleType, name: str) -> Callable[..., Any]:
    """The library's own function, read while nothing is patched."""
    assert not rope_compat.status().active
    function: Callable[..., Any] = getattr(module, name)
    return function
