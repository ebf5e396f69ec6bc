"""`identify` on every rotary function that the installed transformers has: right about each of them."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.identified import error_of
from support.installed import RELEASE, lacks_a_peer, load

import rope_compat
from rope_compat import catalog
from rope_compat._facts.functions import FAMILIES

#: The newest release: it has all that others have had since 4.49, and imports every model.
pytestmark = pytest.mark.only(RELEASE == "5.24.0", reason="half a minute; one release is enough")

TURNS = ("rotate_half", "rotate_every_two", "rotate_pairwise")
#: What turns nothing, or packs q, k and v.
OTHERS = ("stack_freqs", "create_sinusoidal_positions", "yarn_", "apply_rotary_unpadded")
#: Needs flash_attn itself.
NEEDS = ("apply_rotary_pos_emb_flashatt",)
NEIGHBOURS = re.compile(r"::2\b|view_as_complex|-1, (1, )?2\b")
TOKENS_FIRST = re.compile(r"unsqueeze\(-2\)|\[:, :, None|unsqueeze_dim: int ?= ?2|reshape_for_broadcast")
#: Angles of both channels of a pair differ in V-JEPA 2, as its authors say in their repository.
MISTAKEN = {"vjepa2"}
#: As in its authors' own code.
BACKWARD = {"nanochat"}


def functions() -> Iterator[tuple[str, str]]:
    names = [family.name for family in FAMILIES if not family.name.startswith((*OTHERS, *NEEDS))]
    for target in catalog.functions(names):
        if catalog.signature_at(target.module, target.name, RELEASE) and not lacks_a_peer(target.module):
            yield target.module, target.name


def worker(function: Any) -> Any:
    """The function that does the work, through ``kernels`` and decorators."""
    return inspect.unwrap(function)


def codes(function: Any) -> list[types.FunctionType]:
    """A function and the functions of its module that it calls."""
    found = [worker(function)]
    for each in found:
        for name in each.__code__.co_names:
            called = each.__globals__.get(name)
            if (
                isinstance(called, types.FunctionType)
                and called.__module__ == each.__module__
                and called not in found
            ):
                found.append(called)
    return found


def distinct() -> dict[tuple[Any, ...], tuple[str, str]]:
    """One of each function, by its code and what it calls."""
    found: dict[tuple[Any, ...], tuple[str, str]] = {}
    for module, name in functions():
        function = getattr(load(module), name)
        if isinstance(worker(function), types.FunctionType):
            used = codes(function)
            key = [(each.__code__.co_code, each.__code__.co_names, numbers(each)) for each in used]
            found.setdefault((name, *key), (module, name))
    return found


def numbers(function: types.FunctionType) -> str:
    """The constants of its code but for texts."""
    return repr([each for each in function.__code__.co_consts if not isinstance(each, (str, types.CodeType))])


def source(function: Any) -> str:
    return "\n".join(inspect.getsource(each) for each in codes(function))


def check(module: str, name: str, function: Callable[..., Any]) -> None:
    identity = rope_compat.identify(function)
    model = module.split(".")[2]
    if model in MISTAKEN:
        assert identity.verdict == "not a rotation"
        assert identity.mistake == "neighbours with half-concatenated angles"
        return
    text = source(function)
    assert identity.verdict == ("quarter turn" if name.startswith(TURNS) else "rotation"), identity.reason
    assert identity.pairing == ("interleaved" if NEIGHBOURS.search(text) else "half")
    assert identity.direction == (-1 if model in BACKWARD else 1)
    if identity.verdict == "quarter turn":
        return
    assert error_of(function, identity) < 1e-5
    parameters = list(inspect.signature(worker(function)).parameters)
    if "sin" in parameters:
        assert identity.kind == "cos, sin"
        meanings = [word.partition(": ")[2] or word for word in identity.arguments.strip("()").split(", ")]
        assert [each for each in meanings if each in ("cos", "sin")] == [
            each for each in parameters if each in ("cos", "sin")
        ]
    tokens_first = (
        re.search(r"unsqueeze\(-2\)|\[:, :, None|unsqueeze_dim: int ?= ?2|reshape_for_broadcast", text)
        is not None
    )
    layouts = {identity.layout, *(call.layout for call in identity.calls)}
    assert ("bshd" if tokens_first else "bhsd") in layouts or identity.layout == "as tables"
    upcast = re.search(r"\.float\(\)|float32|float64", text) is not None
    halves = [each for each in identity.precisions if each.given == each.tables == "bfloat16"]
    assert all((each.rounds == "once") == upcast for each in halves)


def test_every_rotary_function() -> None:
    torch.manual_seed(0)
    found = distinct()
    wrong = []
    for module, name in found.values():
        try:
            check(module, name, getattr(load(module), name))
        except AssertionError as error:
            wrong.append(f"{module}:{name}: {str(error).splitlines()[0] if str(error) else error!r}")
    assert not wrong, "\n".join(wrong)
    assert len(found) >= 45
