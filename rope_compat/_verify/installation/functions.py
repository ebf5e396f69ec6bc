"""Judge one rotary function of the installation: every dtype, forward and backward, native and adapted."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from types import CodeType
from typing import Any

import torch

from ..._adapters.functions.base import info_of
from ..._adapters.functions.build import FAMILIES as ADAPTED
from ..._adapters.functions.build import UnknownGeneration, build_adapter
from ..._adapters.functions.signature import (
    code_of,
    globals_of,
    live_signature,
    nested_codes,
    signature_text,
)
from ..._facts.conventions import Convention, convention_of
from ..._facts.functions import LEFT_ALONE
from ..._outcome import Item
from ..._rules.functions import context_for
from ..._rules.options import Options
from ..._rules.selection import Selection
from . import families as installation_families
from . import rotary_pos_emb as installation_rotary
from .cases import Case
from .judge import Finding, Judge, Verdict
from .values import VALUES

__all__ = ["Functions"]

Function = Callable[..., Any]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_ROTARY = ("apply_rotary_pos_emb", "apply_rotary_pos_emb_interleave", "apply_rotary_pos_emb_esm")
#: What needs a package that computes with kernels of its own.
_NEEDS = {
    "apply_rotary_pos_emb_flashatt": "flash_attn",
    "apply_rotary_unpadded": "flash_attn",
    "npu_apply_rotary_emb": "torch_npu",
}
_NOTES = {
    "rotate_queries_or_keys": "as its authors' code: neighbours are paired, but cos and sin are laid out by "
    "halves, so that pairs are not rotated; the weights were trained with it"
}


class Functions:
    """Judges functions; those with the same code are computed once."""

    def __init__(self, release: str | None) -> None:
        self._release = release
        self._judge = Judge()
        self._known: dict[Hashable, Item] = {}

    def item(self, module: str, name: str, found: Any) -> Item:
        """What came of the function `name` of `module`, `found` there."""
        label = f"{module}:{name}"
        reason = _left_out(name, found)
        if reason:
            return Item(label, "function", "skipped", reason)
        function = _native(found)
        key = (name, _identity(function), self._convention(module, name), self._history(module, name))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._judged(module, name, function)
        return replace(known, name=label)

    def _convention(self, module: str, name: str) -> Convention:
        return convention_of(module.rpartition(".modeling_")[2], name, self._release)

    def _history(self, module: str, name: str) -> Hashable:
        """What the adapter of a function depends on besides its code."""
        context = context_for(f"{module}:{name}", _options(self._release), is_library=True)
        return context.had_offset, context.had_single

    def _judged(self, module: str, name: str, function: Function) -> Item:
        if name in VALUES:
            return _item(self._value(name, function), _NOTES.get(name, ""))
        verdicts: list[Verdict] = []
        cases = list(self._cases(module, name, function))
        if not cases:
            signature = live_signature(function)
            shown = signature_text(signature) if signature is not None else "that cannot be read"
            return Item(name, "function", "skipped", f"no call is known for its signature {shown}")
        for subject, case in cases:
            verdict = self._judge.judge(subject, case)
            if verdict is None:
                continue
            if verdict.finding is not None:
                return _item(self._explained(subject, case, verdict), "")
            verdicts.append(verdict)
        return _item(max(verdicts, key=_nearness), "")

    def _value(self, name: str, function: Function) -> Verdict:
        try:
            return VALUES[name](function, self._judge)
        except Exception as error:
            return Verdict(finding=Finding("raises", f"it raises {type(error).__name__}: {error}"))

    def _cases(self, module: str, name: str, function: Function) -> Iterator[tuple[Function, Case]]:
        convention = self._convention(module, name)
        native = installation_rotary.native if name in _ROTARY else installation_families.FAMILIES.get(name)
        if native is None:
            return
        for dtype in DTYPES:
            for case in native(function, convention, dtype):
                yield function, replace(case, form=f"{case.form}, {_short(dtype)}")
        adapter = self._adapter(module, name, function)
        if adapter is None:
            return
        foreign = installation_rotary.foreign if name in _ROTARY else installation_families.FOREIGN.get(name)
        for dtype in DTYPES:
            for case in native(function, convention, dtype):
                yield adapter, replace(case, form=f"adapted, {case.form}, {_short(dtype)}")
            for case in foreign(function, convention, dtype) if foreign else ():
                yield adapter, replace(case, form=f"{case.form}, {_short(dtype)}")

    def _adapter(self, module: str, name: str, function: Function) -> Function | None:
        """What `patch` would put in the function's place; None where it would leave it."""
        if name not in ADAPTED:
            return None
        context = context_for(f"{module}:{name}", _options(self._release), is_library=True)
        try:
            adapter = build_adapter(function, context)
        except UnknownGeneration:
            return None
        return None if adapter is function else adapter

    def _explained(self, function: Function, case: Case, verdict: Verdict) -> Verdict:
        """A call by tables that fails, of a function that is right with the rows themselves."""
        finding = verdict.finding
        if finding is None or finding.fault not in ("raises", "shape") or "by tables" not in case.form:
            return verdict
        by_rows = replace(case, call=_with_rows(case))
        again = self._judge.judge(function, by_rows)
        if again is None or again.finding is not None:
            return verdict
        words = f"{case.form}: position_ids are not looked at, though they are required"
        return Verdict(finding=Finding("positions-ignored", words))


def _with_rows(case: Case) -> Callable[..., Any]:
    def call(function: Function, xs: Any, cos: Any, sin: Any, at: Any) -> Any:
        from .cases import laid_out

        tables = case.convention.tables
        return function(*xs, laid_out(cos[at], tables), laid_out(sin[at], tables), at)

    return call


def _options(release: str | None) -> Options:
    return Options(None, release, Selection(None))


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]


def _nearness(verdict: Verdict) -> float:
    return verdict.error / verdict.tolerance if verdict.tolerance else 0.0


def _item(verdict: Verdict, note: str) -> Item:
    finding = verdict.finding
    if finding is None:
        status = "note" if note else "ok"
        return Item("", "function", status, note, verdict.error, verdict.tolerance)  # type: ignore[arg-type]
    return Item(
        "",
        "function",
        "wrong",
        finding.reason,
        finding.max_error,
        finding.tolerance,
        finding.fault,
        finding.position,
        advice="compare its file with that of its release: something changed it, or replaced the function",
    )


def _left_out(name: str, found: Any) -> str:
    """Why a function is not judged; empty if it is."""
    for pattern, reason in LEFT_ALONE.items():
        if fnmatchcase(name, pattern):
            return _LEFT_OUT.get(pattern, reason)
    needed = _NEEDS.get(name)
    if needed is not None:
        missing = importlib.util.find_spec(needed) is None
        state = "is not installed" if missing else "computes on a GPU"
        return f"it computes with {needed}, which {state}"
    if not callable(found):
        return f"it is {type(found).__name__}, not a function"
    return ""


_LEFT_OUT = {
    "_compute_*_parameters": "it gives frequencies to rotary classes, which are held against the exact ones",
    "dynamic_rope_update": "a decorator of rotary classes, which are held against the exact ones",
    "rope_config_validation": "it looks at configs and computes no numbers",
}


def _native(found: Any) -> Any:
    """The function behind an adapter, where `patch` is at work."""
    info = info_of(found)
    return found if info is None or info.native is None else info.native


def _identity(function: Any) -> Hashable:
    """Equal for functions that compute the same: their code, and that of what they call by name."""
    code = code_of(function)
    if code is None:
        return id(function)
    own = getattr(function, "__code__", None)
    outer = _code(own) if isinstance(own, CodeType) and own is not code else type(function)
    return (
        _with_globals(code, globals_of(function), set()),
        outer,
        repr(getattr(function, "__defaults__", None)),
    )


def _with_globals(code: CodeType, names: dict[str, Any], seen: set[CodeType]) -> Hashable:
    seen.add(code)
    called: list[Hashable] = []
    for name in sorted({name for inner in nested_codes(code) for name in inner.co_names}):
        other = code_of(names[name]) if callable(names.get(name)) else None
        if other is None:
            called.append((name, id(names[name])) if name in names else name)
        elif other not in seen:
            called.append((name, _with_globals(other, names, seen)))
    return _code(code), tuple(called)


def _code(code: CodeType) -> Hashable:
    constants = tuple(_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames
