"""What a configuration says about its rotary embedding, in every spelling that it has had.

Imports neither torch nor transformers. `docs/config.md` lists the spellings and what is refused.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rope_compat._facts.config_fields import LegacyNames
    from rope_compat.configs.nested import rope_specs
    from rope_compat.configs.spec import RopeSpec

__all__ = ["LegacyNames", "RopeSpec", "rope_specs"]

_HOMES = {"LegacyNames": "rope_compat._facts.config_fields", "RopeSpec": ".spec", "rope_specs": ".nested"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
