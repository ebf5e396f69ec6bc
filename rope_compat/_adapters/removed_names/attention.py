"""Attention classes that said by their name what they computed with: gone since the config chooses.

From 4.48.0 on a model has one attention class, whose ``forward`` asks the config. A restored class is a
subclass of that one, made when it is asked for, that keeps the contract of its name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from ..._environment import announce
from ..._patching.edits import MISSING
from ...errors import DeadPatchWarning
from .attention_contract import IMPLEMENTATIONS, Contract, contract_of
from .history import names_when_last_there

__all__ = ["DeadTable", "LegacyAttentionType", "find"]

#: Live classes that are not called as their predecessors were.
_RENAMED = {
    "OptFlashAttention2": "OPTAttention",
    "DistilBertFlashAttention2": "DistilBertSelfAttention",
    "DistilBertSdpaAttention": "DistilBertSelfAttention",
}


def find(module: str, name: str, written_for: str | None) -> Any:
    """A class or a table of classes; `MISSING` where the module has nothing that it could stand on."""
    if name.endswith("_ATTENTION_CLASSES"):
        return _table(module, name)
    return _class(module, name, written_for)


def _implementation(name: str) -> str:
    return next(value for suffix, value in IMPLEMENTATIONS.items() if name.endswith(suffix))


def _live_name(name: str) -> str:
    renamed = _RENAMED.get(name)
    return renamed or name.replace("FlashAttention2", "Attention").replace("Sdpa", "")


def _class(module: str, name: str, written_for: str | None) -> Any:
    import torch

    namespace = vars(sys.modules[module])
    live = namespace.get(_live_name(name))
    is_live = isinstance(live, type) and issubclass(live, torch.nn.Module)
    chooses = "ALL_ATTENTION_FUNCTIONS" in namespace
    contract = contract_of(live if is_live and chooses else None, module, name, written_for)
    base = contract.live or torch.nn.Module
    return LegacyAttentionType(
        name, (base,), {"__module__": module, "__doc__": contract.text, **contract.methods(base)}, contract
    )


class LegacyAttentionType(type):
    """The class of restored attention classes: says when something is put on one in vain.

    Subclasses are the user's own, and free.
    """

    _contract: Contract

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], contract: Contract | None = None
    ) -> LegacyAttentionType:
        """Without a contract: a subclass of a restored class."""
        made = super().__new__(cls, name, bases, body)
        if contract is not None:
            type.__setattr__(made, "_contract", contract)
        return made

    def __init__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], contract: Contract | None = None
    ) -> None:
        super().__init__(name, bases, body)

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if "_contract" in vars(cls) and callable(value):
            announce(
                f"{cls.__name__}.{name} was assigned, without effect on any model: {cls._contract.where_now}",
                DeadPatchWarning,
            )

    def __instancecheck__(cls, instance: Any) -> bool:
        """Also a live attention that computes as the name says: it is what the class once stood for."""
        if super().__instancecheck__(instance):
            return True
        return "_contract" in vars(cls) and cls._contract.describes(instance)


def _table(module: str, name: str) -> Any:
    """``LLAMA_ATTENTION_CLASSES`` and its like: implementations to classes, as far as the module had them."""
    family = _plain(name.removesuffix("_ATTENTION_CLASSES"))
    classes = {_implementation(each): each for each in _legacy_names(module, name, family)}
    namespace = sys.modules[module]
    found = {kind: getattr(namespace, each, MISSING) for kind, each in classes.items()}
    found = {kind: value for kind, value in found.items() if value is not MISSING}
    live = _eager(vars(namespace), [*classes.values()], family)
    if live is None:
        return MISSING
    return DeadTable(f"{module}.{name}", {"eager": live, **found})


def _legacy_names(module: str, table: str, family: str) -> Iterator[str]:
    for each in sorted(names_when_last_there(module, table)):
        if each.endswith(tuple(IMPLEMENTATIONS)):
            own = _plain(_live_name(each).removesuffix("Attention"))
            # QWEN2_VL_VISION_ATTENTION_CLASSES has VisionFlashAttention2.
            if own == family or (own == "vision" and family.endswith(own)):
                yield each


def _eager(namespace: dict[str, Any], legacy: list[str], family: str) -> Any:
    names = [_live_name(each) for each in legacy]
    names += [each for each in namespace if each.endswith("Attention") and _plain(each[:-9]) == family]
    return next((namespace[each] for each in names if isinstance(namespace.get(each), type)), None)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


class DeadTable(dict[str, Any]):
    """A table that no model looks classes up in: says so when something is put into it."""

    def __init__(self, target: str, content: dict[str, Any]) -> None:
        super().__init__(content)
        self._target = target

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        announce(
            f"{self._target}[{key!r}] was assigned, without effect on any model: installed transformers has "
            "one attention class for each model, and does not look it up. Replace that class's forward, or "
            "register a function with AttentionInterface",
            DeadPatchWarning,
        )

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As `dict.update`, one by one."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value
