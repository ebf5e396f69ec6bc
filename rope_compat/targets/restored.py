"""The rule for names that are gone: put them back in the modules where they once were."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .. import catalog
from ..patching.edits import MISSING, Assign, Edit, Resolve, Skip
from ..patching.references import namespace
from .functions import Options, context_for
from .shim import Shim

__all__ = ["RestoreRule"]


@dataclass(frozen=True, slots=True)
class RestoreRule:
    """Restores one name in one module, where the installed release does not have it."""

    shim: Shim
    module: str
    attribute: str
    make: Callable[[Any], object]
    options: Options

    @property
    def name(self) -> str:
        """The name of the shim."""
        return self.shim.name

    @property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages of the modules."""
        return (self.module.partition(".")[0],)

    def matches(self, module_name: str) -> bool:
        """Whether this is the module that once had the name."""
        return module_name == self.module

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """One assignment where the name is missing; a skip where a user has assigned it in vain."""
        from ..adapters.base import info_of

        target = f"{self.module}:{self.attribute}"
        if not self.options.selection.selects(self.module, self.attribute):
            return
        value = resolve(namespace(module).get(self.attribute, MISSING))
        info = info_of(value)
        if value is MISSING or (info is not None and info.native is None):
            context = context_for(target, self.options, is_library=True)
            key: Hashable = (self.name, str(self.options.written_for))
            yield Assign(
                target,
                module,
                self.attribute,
                lambda: self.make(context),
                key,
                self.name,
                f"restored, removed in {catalog.removed_in(self.module, self.attribute)}; {self.shim.note}",
            )
        elif getattr(value, "__module__", None) != self.module:
            yield Skip(
                target, self.name, f"something else was assigned to it, without effect: {self.shim.note}"
            )
