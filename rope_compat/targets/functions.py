"""The rule for function targets: adapt every definition of a family's name, in every module that has one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import catalog
from ..patching.edits import MISSING, Assign, Edit, Replace, Resolve, Skip
from ..patching.references import namespace
from .selection import Selection
from .shim import Shim

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["FunctionRule", "Options", "context_for"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the user said that adapters depend on, and what is installed."""

    written_for: Version | None
    release: str | None
    selection: Selection


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """Adapts one family in the modules below some package."""

    shim: Shim
    family: str
    prefix: str
    infix: str
    options: Options

    @property
    def name(self) -> str:
        """The name of the shim."""
        return self.shim.name

    @property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages of the modules."""
        return (self.prefix.partition(".")[0],)

    def matches(self, module_name: str) -> bool:
        """Whether a module of this name may define the family's function."""
        return module_name.startswith(self.prefix) and self.infix in module_name

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """The edit for `module`, if it has the family's name: at most one."""
        value = namespace(module).get(self.family, MISSING)
        if value is MISSING or not self.options.selection.selects(module.__name__, self.family):
            return
        original = resolve(value)
        home = _home(original)
        if _is_restored(original) or (home != module.__name__ and self._is_borrowed(original, home, resolve)):
            return
        yield self._edit(module, original, is_library=home.startswith(self.prefix))

    def _is_borrowed(self, original: object, home: str, resolve: Resolve) -> bool:
        """Whether the name is another target's, imported: that target's edit reaches it by identity."""
        owner = sys.modules.get(home)
        return (
            self.matches(home)
            and owner is not None
            and resolve(namespace(owner).get(self.family, MISSING)) is original
        )

    def _edit(self, module: ModuleType, original: Any, *, is_library: bool) -> Edit:
        from ..adapters.base import info_of
        from ..adapters.build import UnknownGeneration, build_adapter

        target = f"{module.__name__}:{self.family}"
        context = context_for(target, self.options, is_library=is_library)
        is_kernel = _is_kernel_module(original)
        native = _inherited_call(original) if is_kernel else original
        try:
            adapter = build_adapter(native, context, like=original)
        except UnknownGeneration as reason:
            return Skip(target, self.name, str(reason), surprising=self.prefix.startswith("transformers."))
        info = info_of(adapter)
        detail = f"native form {info.native_signature if info else '(...)'}"
        key: Hashable = (self.name, str(self.options.written_for))
        if is_kernel:
            call = _module_call(original, adapter)
            owner = type(original)
            return Assign(
                target, owner, "__call__", lambda: call, key, self.name, detail + ", a kernels module"
            )
        notice = ""
        if not is_library:
            detail += f", {_name(original)} of {_home(original)} in its place"
        elif info is not None:
            notice = self._drift(module.__name__, info.native_signature)
        make = lambda: adapter  # noqa: E731 - one expression
        return Replace(
            target, module, self.family, original, make, key, is_library, self.name, detail, notice
        )

    def _drift(self, module: str, live: str) -> str:
        """What is unexpected about the signature of the library's function; empty if nothing."""
        release = self.options.release
        if release is None or catalog.signature_at(module, self.family, release) == live:
            return ""
        from ..environment import signature_drift

        return signature_drift(module, self.family, live, release) or ""


def context_for(target: str, options: Options, *, is_library: bool) -> Any:
    """The adapter context of one target: what the catalog knows of its history, and the user's options."""
    from ..adapters.base import Context

    module, _, name = target.partition(":")
    written = options.written_for
    return Context(
        target=target,
        release=options.release,
        written_for=written,
        is_library=is_library,
        history=tuple(catalog.spans(module, name)),
        removed_in=catalog.removed_in(module, name) if is_library else None,
        signature_written_for=_signature_at(module, name, written),
    )


def _signature_at(module: str, name: str, written_for: Version | None) -> str | None:
    if written_for is None:
        return None
    return catalog.signature_at(module, name, catalog.release_for(str(written_for)))


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _home(function: Any) -> str:
    """The module whose code a function is, through ``kernels`` modules."""
    if _is_kernel_module(function):
        from ..adapters.signature import globals_of

        return str(globals_of(function).get("__name__", ""))
    return str(getattr(function, "__module__", None) or "")


def _is_restored(function: object) -> bool:
    from ..adapters.base import info_of

    info = info_of(function)
    return info is not None and info.native is None


def _is_kernel_module(function: object) -> bool:
    """Whether ``kernels`` made `function`: an `nn.Module` of a class of its own.

    use_kernel_func_from_hub (5.0.0 to 5.14.1) and use_kernel_forward_from_hub (from 5.15.0).
    """
    from ..adapters.signature import is_module

    return is_module(function) and hasattr(type(function), "kernel_layer_name")


def _inherited_call(instance: Any) -> Callable[..., Any]:
    """`instance(...)` as `nn.Module` does it, past an adapter on the instance's own class."""
    inherited = type(instance).__mro__[1].__call__

    def native(*args: Any, **kwargs: Any) -> Any:
        return inherited(instance, *args, **kwargs)

    return native


def _module_call(instance: Any, adapter: Callable[..., Any]) -> Callable[..., Any]:
    inherited = type(instance).__mro__[1].__call__

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        # A copy of the module (deepcopy of a model that registered it) is called as it always was.
        return adapter(*args, **kwargs) if self is instance else inherited(self, *args, **kwargs)

    __call__.__rope_compat__ = adapter.__rope_compat__  # type: ignore[attr-defined]
    return __call__
