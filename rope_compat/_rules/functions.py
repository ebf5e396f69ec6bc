"""The rule for function targets: adapt every definition of the families' names, in every module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import catalog
from .._patching.edits import MISSING, Assign, Edit, Replace, Resolve, Skip
from .._patching.references import namespace
from .options import Options
from .shim import Shim

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["FunctionRule", "context_for"]


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """Adapts functions in the modules below some package: one look at each module, for all families."""

    name: str
    shims: Mapping[str, Shim]
    prefix: str
    infix: str
    options: Options

    @staticmethod
    def of(name: str, shims: Iterable[Shim], prefix: str, infix: str, options: Options) -> FunctionRule:
        """The rule for `shims` of one family each."""
        by_family = {shim.targets[0].partition(":")[2]: shim for shim in shims}
        return FunctionRule(name, by_family, prefix, infix, options)

    @property
    def lasting(self) -> bool:
        """Modules of transformers are there for good, others only as long as a program wants them."""
        return self.prefix.startswith("transformers.")

    @property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages of the modules."""
        return (self.prefix.partition(".")[0],)

    def matches(self, module_name: str) -> bool:
        """Whether a module of this name may define a function of one of the families."""
        return module_name.startswith(self.prefix) and self.infix in module_name

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """The edits for `module`: at most one a family."""
        attributes = namespace(module)
        for family, shim in self.shims.items():
            value = attributes.get(family, MISSING)
            if value is not MISSING and self.options.selection.selects(module.__name__, family):
                edit = self._edit(module, family, shim, resolve(value), resolve)
                if edit is not None:
                    yield edit

    def _is_borrowed(self, family: str, original: object, home: str, resolve: Resolve) -> bool:
        """Whether the name is another target's, imported: that target's edit reaches it by identity."""
        owner = sys.modules.get(home)
        return (
            self.matches(home)
            and owner is not None
            and resolve(namespace(owner).get(family, MISSING)) is original
        )

    def _edit(
        self, module: ModuleType, family: str, shim: Shim, original: Any, resolve: Resolve
    ) -> Edit | None:
        from .._adapters.functions.base import info_of, is_restored
        from .._adapters.functions.build import UnknownGeneration, build_adapter

        home = _home(original)
        borrowed = home != module.__name__ and self._is_borrowed(family, original, home, resolve)
        if borrowed or is_restored(original):
            return None
        is_library = home.startswith(self.prefix)
        target = f"{module.__name__}:{family}"
        if not is_library and _takes_anything(original):
            reason = f"{_name(original)} of {home} takes *args: whatever its callers say, it gets"
            return Skip(target, shim.name, reason, surprising=False)
        context = context_for(target, self.options, is_library=is_library)
        is_kernel = _is_kernel_module(original)
        native = _inherited_call(original) if is_kernel else original
        try:
            adapter = build_adapter(native, context, like=original)
        except UnknownGeneration as reason:
            return Skip(target, shim.name, str(reason), surprising=self.prefix.startswith("transformers."))
        if adapter is native:
            return None
        info = info_of(adapter)
        detail = f"native form {info.native_signature if info else '(...)'}"
        key: Hashable = (shim.name, str(self.options.written_for), self.options.strict)
        if is_kernel:
            call = _module_call(original, adapter)
            owner = type(original)
            return Assign(
                target, owner, "__call__", lambda: call, key, shim.name, detail + ", a kernels module"
            )
        notice = ""
        if not is_library:
            detail += f", {_name(original)} of {home} in its place"
        elif info is not None:
            notice = self._drift(module.__name__, family, info.native_signature)
        make = lambda: adapter  # noqa: E731 - one expression
        return Replace(target, module, family, original, make, key, is_library, shim.name, detail, notice)

    def _drift(self, module: str, family: str, live: str) -> str:
        """What is unexpected about the signature of the library's function; empty if nothing."""
        release = self.options.release
        if release is None or catalog.signature_at(module, family, release) == live:
            return ""
        from .._environment import signature_drift

        return signature_drift(module, family, live, release) or ""


def context_for(target: str, options: Options, *, is_library: bool) -> Any:
    """The adapter context of one target: what the catalog knows of its history, and the user's options."""
    from .._adapters.functions.base import Context

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
        strict=options.strict,
    )


def _signature_at(module: str, name: str, written_for: Version | None) -> str | None:
    if written_for is None:
        return None
    return catalog.signature_at(module, name, catalog.release_for(str(written_for)))


def _takes_anything(function: Any) -> bool:
    """Whether a user's function is a wrapper that hands its arguments on, whatever they are."""
    from .._adapters.functions.signature import live_signature

    signature = live_signature(function) if callable(function) else None
    return signature is not None and any(
        parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values()
    )


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _home(function: Any) -> str:
    """The module whose code a function is, through ``kernels`` modules."""
    if _is_kernel_module(function):
        from .._adapters.functions.signature import globals_of

        return str(globals_of(function).get("__name__", ""))
    return str(getattr(function, "__module__", None) or "")


def _is_kernel_module(function: object) -> bool:
    """Whether ``kernels`` made `function`: an `nn.Module` of a class of its own.

    use_kernel_func_from_hub (5.0.0 to 5.14.1) and use_kernel_forward_from_hub (from 5.15.0).
    """
    from .._adapters.functions.signature import is_module

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
