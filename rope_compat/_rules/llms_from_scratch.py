"""The shims for LLMs-from-scratch, the package of a book, and the rules that carry them out.

Its rotary functions are found by name in whatever module of the package has them. Modules of the package that
a release does not have yet are named in the error of their import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._facts.function_names import LLMS_FROM_SCRATCH, LLMS_NAMES
from .._patching.edits import MISSING, Assign, Edit, Replace, Resolve, Rule, Skip
from .._patching.references import namespace
from ..errors import RemovedModuleError
from .options import Options
from .rule import ModuleRule
from .shim import Shim

if TYPE_CHECKING:
    from .._adapters.functions.base import Context

__all__ = ["SHIMS", "rules"]

_PACKAGE = "llms_from_scratch"
_APPLY, _PARAMS = LLMS_NAMES

_HELPS = "readers of the book, whose notebooks and exercises call the functions of many releases"

APPLY = Shim(
    name="llms-apply-rope",
    kind="adapt",
    targets=(f"{_PACKAGE}.*:{_APPLY}",),
    why=(
        "offset is in some modules an int, in one a tensor that must be given, in others not there, and x as "
        "(b, seq, heads, head_dim) rotates heads as if they were positions, without a word"
    ),
    since="1.0.3",
    until=None,
    upstream="llms_from_scratch/llama3.py at 1.0.3, kv_cache/ at 1.0.15, kv_cache_batched/ at 1.0.17",
    helps=_HELPS,
    package=_PACKAGE,
)

PARAMS = Shim(
    name="llms-compute-rope-params",
    kind="adapt",
    targets=(f"{_PACKAGE}.*:{_PARAMS}",),
    why="Llama 3's takes freq_config before dtype, Qwen 3's has none, so calls for the one fail on the other",
    since="1.0.3",
    until=None,
    upstream="llms_from_scratch/llama3.py at 1.0.3, qwen3.py at 1.0.8",
    helps=_HELPS,
    package=_PACKAGE,
)

COMPUTE_ROPE = Shim(
    name="llms-compute-rope",
    kind="restore",
    targets=(f"{_PACKAGE}.*:{LLMS_NAMES[_APPLY]}",),
    why="the book's notebooks call apply_rope by this name, the package never did",
    since="1.0.3",
    until=None,
    upstream="LLMs-from-scratch, ch05/07_gpt_to_llama/converting-gpt-to-llama2.ipynb",
    helps=_HELPS,
    package=_PACKAGE,
)

PRECOMPUTE = Shim(
    name="llms-precompute-rope-params",
    kind="restore",
    targets=(f"{_PACKAGE}.*:{LLMS_NAMES[_PARAMS]}",),
    why="the book's notebooks call compute_rope_params by this name, the package never did",
    since="1.0.3",
    until=None,
    upstream="LLMs-from-scratch, ch05/07_gpt_to_llama/converting-gpt-to-llama2.ipynb",
    helps=_HELPS,
    package=_PACKAGE,
)

SHIMS = (APPLY, PARAMS, COMPUTE_ROPE, PRECOMPUTE)

#: By the function that has to be there: the shim of it, and that of the book's name for it.
_SHIMS = {_APPLY: (APPLY, COMPUTE_ROPE), _PARAMS: (PARAMS, PRECOMPUTE)}


@dataclass(frozen=True, slots=True)
class _Rule(ModuleRule):
    """Also names the release that a missing module came with."""

    def absent(self, module_name: str) -> None:
        """Raise the reason where an import statement fails; say nothing to those who only ask."""
        from .._adapters.removed_names.module_getattr import is_import_statement

        since = LLMS_FROM_SCRATCH.get(module_name)
        if since is not None and is_import_statement():
            raise RemovedModuleError(
                f"{_PACKAGE} {_release() or ''} has no module {module_name}: it came with {since}. Install "
                f"llms-from-scratch>={since}",
                name=module_name,
            )


def _release() -> str | None:
    """The installed release, from its metadata."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llms-from-scratch")
    except PackageNotFoundError:
        return None


def _is_wanted(module_name: str) -> bool:
    return module_name.startswith(f"{_PACKAGE}.")


def _edits(options: Options, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    attributes = namespace(module)
    for name, (adapting, restoring) in _SHIMS.items():
        function: Any = resolve(attributes.get(name, MISSING))
        if function is MISSING or not callable(function):
            continue
        from .._adapters.functions.base import is_restored

        read, adapt, restore = _builders(name)
        generation = read(function)
        if options.selection.selects(module.__name__, name):
            yield from _adapted(options, module, name, function, generation, adapt, adapting)
        book = LLMS_NAMES[name]
        present = attributes.get(book, MISSING)
        is_free = present is MISSING or is_restored(present)
        if generation is not None and is_free and options.selection.selects(module.__name__, book):
            make = partial(restore, function, generation, _context(options, module, book))
            target, key = f"{module.__name__}:{book}", (restoring.name, options.strict)
            yield Assign(target, module, book, make, key, restoring.name, f"the book's name for {name}")


def _adapted(
    options: Options,
    module: ModuleType,
    name: str,
    function: Any,
    generation: Any,
    adapt: Callable[..., Any],
    shim: Shim,
) -> Iterable[Edit]:
    home = getattr(function, "__module__", None) or ""
    is_library = home == module.__name__
    if not is_library and namespace(sys.modules.get(home, sys)).get(name) is not None and _is_wanted(home):
        # Imported from a neighbour, whose own edit reaches it by identity.
        return
    target = f"{module.__name__}:{name}"
    if generation is None:
        yield Skip(target, shim.name, f"its signature is not one that {name} has had", surprising=is_library)
        return
    make = partial(adapt, function, generation, _context(options, module, name, is_library=is_library))
    notice = _notice(target, function) if name == _APPLY and is_library else ""
    detail, key = f"takes every form, in {_PACKAGE} {_release() or 'of an unknown release'}", shim.name
    yield Replace(
        target, module, name, function, make, (key, options.strict), is_library, key, detail, notice
    )


def _context(options: Options, module: ModuleType, name: str, *, is_library: bool = True) -> Context:
    from .._adapters.functions.base import Context

    target = f"{module.__name__}:{name}"
    return Context(target, _release(), is_library=is_library, library=_PACKAGE, strict=options.strict)


def _builders(name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """How a function of one name is read, adapted, and restored under the book's name."""
    if name == _APPLY:
        from .._adapters.llms_from_scratch import apply_rope as apply

        return apply.read_apply_rope, apply.adapt_apply_rope, apply.restore_compute_rope
    from .._adapters.llms_from_scratch import rope_tables as params

    return params.read_rope_params, params.adapt_rope_params, params.restore_rope_params


def _notice(target: str, function: Any) -> str:
    from .._adapters.llms_from_scratch.apply_rope import default_offset

    first = default_offset(function)
    if not first:
        return ""
    return (
        f"{target} of {_PACKAGE} {_release()} begins at row {first} of the tables where no offset is given; "
        "in all other releases it begins at row 0, and so does compute_rope: pass offset=0"
    )


def rules(options: Options) -> list[Rule]:
    """The rule for the package's modules; one for all shims, since one function stands for two names."""
    return [_Rule(APPLY, _is_wanted, partial(_edits, options), package=_PACKAGE)]
