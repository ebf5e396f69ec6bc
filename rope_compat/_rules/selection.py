"""Which targets a user asked for."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from .. import catalog
from .._facts.function_names import ELSEWHERE, NAMES, RESTORED_TARGETS
from .._facts.functions import FAMILIES
from ..errors import ArgumentError

__all__ = ["Selection", "Targets"]

Targets: TypeAlias = "Sequence[str] | str | None"

_PACKAGES = (
    "transformers",
    "transformers_modules",
    "x_transformers",
    *{module.partition(".")[0]: None for module, _ in ELSEWHERE},
)


class Selection:
    """Narrows what is patched: names, ``module:name`` patterns, or packages; None selects everything."""

    def __init__(self, targets: Targets) -> None:
        self.patterns = None if targets is None else tuple([targets] if isinstance(targets, str) else targets)
        for pattern in self.patterns or ():
            self._check(pattern)

    def __repr__(self) -> str:
        return "everything" if self.patterns is None else ", ".join(self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def selects(self, module: str, name: str) -> bool:
        """Whether ``module:name`` is asked for."""
        return self.patterns is None or any(_fits(pattern, module, name) for pattern in self.patterns)

    def _check(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise ArgumentError(f"targets takes strings, not {pattern!r}")
        if pattern.partition(":")[0].partition(".")[0] in _PACKAGES:
            return
        if any(
            _fits(pattern, module, name)
            for module, name in (*catalog.functions(NAMES), *RESTORED_TARGETS, *ELSEWHERE)
        ):
            return
        others = catalog.targets(pattern)
        if others:
            module, name = others[-1]
            raise ArgumentError(
                f"targets={pattern!r}: rope_compat does not adapt {module}:{name} "
                f"({catalog.explain(module, name)}{_why(name)}), only {', '.join(NAMES)}"
            )
        raise ArgumentError(
            f"targets={pattern!r} is neither a package ({', '.join(_PACKAGES)}) nor a name or "
            'pattern of a known target. Examples: "apply_rotary_pos_emb_flashatt", '
            '"*.modeling_llama:*", "transformers"'
        )


def _why(name: str) -> str:
    """Why a family is not adapted; empty where it is none."""
    return next((f"; {family.note}" for family in FAMILIES if family.name == name), "")


def _fits(pattern: str, module: str, name: str) -> bool:
    if ":" in pattern:
        return fnmatchcase(f"{module}:{name}", pattern)
    return pattern == module or module.startswith(pattern + ".") or fnmatchcase(name, pattern)
