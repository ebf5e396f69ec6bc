"""The rule that most shims are carried out by: which modules it asks about, and what it proposes for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from .._patching.edits import Edit, Resolve
from .shim import Shim

__all__ = ["ModuleRule", "giving", "is_modeling"]


@dataclass(frozen=True, slots=True)
class ModuleRule:
    """Asks `edits` about the module that `wants` names, or each of `package` whose name it takes.

    `lasting`: see `Rule`.
    """

    shim: Shim
    wants: str | Callable[[str], bool]
    edits: Callable[[ModuleType, Resolve], Iterable[Edit]]
    package: str = "transformers"
    lasting: bool = False

    @property
    def name(self) -> str:
        """The name of the shim."""
        return self.shim.name

    @property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages of the modules."""
        return (self.package,)

    def matches(self, module_name: str) -> bool:
        """Whether the rule has to do with a module of this name."""
        return module_name == self.wants if isinstance(self.wants, str) else self.wants(module_name)

    @property
    def modules(self) -> tuple[str, ...] | None:
        """The only module, where it is a single one."""
        return (self.wants,) if isinstance(self.wants, str) else None

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """The edits for one module."""
        return self.edits(module, resolve)


def is_modeling(module_name: str) -> bool:
    """Whether a module of this name holds a model of transformers."""
    return module_name.startswith("transformers.models.") and ".modeling_" in module_name


def giving(value: object) -> Callable[[], object]:
    """What an edit makes its replacement by, where there is nothing to make."""
    return lambda: value
