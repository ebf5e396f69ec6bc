"""`verify_installation`: the rotary functions and classes that are installed, against the exact ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from importlib import import_module
from itertools import groupby
from typing import Any

from packaging.version import InvalidVersion

from ... import catalog
from ..._environment import detect
from ..._outcome import Item, Report
from ..._utils.imports import quiet, reason_of
from ...errors import ArgumentError, IncompatibleVersionError
from .sources import Defined, defined

__all__ = ["Progress", "verify_installation"]

#: Called with names and a title: a context manager that gives an iterator over the names and shows progress.
Progress = Callable[[Sequence[str], str], AbstractContextManager[Iterator[str]]]


def verify_installation(
    *, modules: str | Iterable[str] | None = None, progress: Progress | None = None
) -> Report:
    """Hold the rotary functions and classes of the installed transformers against the exact numbers.

    Modules that define some are imported. Functions are called in float32, bfloat16 and float16, forward and
    backward, in their own form and, through the adapters that `patch` would use, in those of other releases.
    Classes are constructed from the configuration of their model, with its default settings and with every
    rope type. Nothing is patched and nothing stays behind but the imported modules.

    Args:
        modules: names or patterns of modules (``transformers.models.llama.*``, ``*.modeling_qwen*``); all
            if None.
        progress: shows how far it is, such as `rope_compat._cli.progress.watched`.

    Returns:
        One item for each function and class, by ``module:name``. `max_error` and `tolerance` are those of the
        result that comes nearest to its bound, see `rope_compat._verify.tolerances`; what cannot be
        verified is ``skipped``, with the reason.

    Raises:
        IncompatibleVersionError: transformers is not installed, or cannot be found.
        ArgumentError: no module matches `modules`.
    """
    transformers = detect().transformers
    location = transformers.location
    if not transformers.present or not location or not os.path.isdir(location):
        raise IncompatibleVersionError("transformers is not installed here; there is nothing to verify")
    release = _release(transformers.version)
    found = _chosen(defined(location, release), modules)
    by_module = {module: list(each) for module, each in groupby(found, key=lambda one: one.module)}
    items: list[Item] = []
    checks = _Checks(release)
    subject = f"transformers {transformers.version or ''}".strip()
    names = list(by_module)
    title = f"verifying {len(found)} functions and classes of {subject}"
    with (progress or _unwatched)(names, title) as each, quiet():
        for name in each:
            items += checks.module(name, by_module[name])
    return Report(subject, tuple(items), purpose="verify")


class _Checks:
    """Functions and classes, a module at a time; torch is imported with the first."""

    def __init__(self, release: str | None) -> None:
        self._release = release
        self._functions: Any = None
        self._classes: Any = None

    def module(self, name: str, wanted: Sequence[Defined]) -> Iterator[Item]:
        """An item for each definition of one module."""
        reason = _not_imported(name)
        live: Any = None
        if not reason:
            try:
                live = import_module(name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                reason = f"its module cannot be imported: {reason_of(error)}"
        for each in wanted:
            label = f"{name}:{each.name}"
            if reason:
                yield Item(label, each.kind, "skipped", reason)
            elif not hasattr(live, each.name):
                yield Item(label, each.kind, "skipped", "it is in the source, but not in the module")
            elif each.kind == "function":
                yield self._function(name, each.name, getattr(live, each.name))
            else:
                yield from self._class(label, getattr(live, each.name))

    def _function(self, module: str, name: str, found: Any) -> Item:
        if self._functions is None:
            from .functions import Functions

            self._functions = Functions(self._release)
        item: Item = self._functions.item(module, name, found)
        return item

    def _class(self, label: str, cls: Any) -> Iterator[Item]:
        if self._classes is None:
            from .classes import Classes

            self._classes = Classes(self._release)
        yield from self._classes.items(label, cls)


def _not_imported(name: str) -> str:
    """Why a module is not even imported; empty if it is."""
    if name.startswith("transformers.models.") or name == "transformers.modeling_rope_utils":
        return ""
    return "outside of transformers.models: it handles rotary code of models and rotates nothing itself"


def _chosen(found: Sequence[Defined], modules: str | Iterable[str] | None) -> Sequence[Defined]:
    if modules is None:
        return found
    patterns = [modules] if isinstance(modules, str) else list(modules)
    chosen = [each for each in found if any(fnmatchcase(each.module, pattern) for pattern in patterns)]
    if not chosen:
        raise ArgumentError(
            f"modules={modules!r} matches no module that defines rotary functions or classes; "
            'expected names or patterns such as "transformers.models.llama.*"'
        )
    return chosen


def _release(version: str | None) -> str | None:
    try:
        return catalog.release_for(version) if version is not None else None
    except InvalidVersion:
        return None


@contextmanager
def _unwatched(names: Sequence[str], title: str) -> Iterator[Iterator[str]]:
    yield iter(names)
