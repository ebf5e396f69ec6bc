"""Calling an unknown function in a form, and the matrix that it is."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .forms import Drawn, Form, Sizes, draw, from_layout, to_layout
from .parameters import Roles

__all__ = ["Trial", "call", "quiet", "random_x", "try_form"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class Trial:
    """A form in which a function answers.

    Attributes:
        matrices: for each tensor that it takes, ``[B, H, S, D, D]``: results by output and channel.
        linear: whether a random tensor comes out as the matrices say: nothing is added, no tokens, heads or
            sequences are mixed.
    """

    roles: Roles
    form: Form
    drawn: Drawn
    matrices: tuple[Tensor, ...]
    linear: bool


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no warnings, and the caller's random numbers as they were."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random_x(sizes: Sizes, count: int, seed: int = 1) -> list[Tensor]:
    """``[B, H, S, D]`` each."""
    generator = torch.Generator().manual_seed(seed)
    shape = (sizes.batch, sizes.heads, sizes.tokens, sizes.dim)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def call(function: Function, roles: Roles, form: Form, drawn: Drawn, xs: list[Tensor]) -> list[Tensor] | None:
    """One call with ``[B, H, S, D]`` tensors; the results in that layout, None if it is no answer."""
    given = [to_layout(x, form.layout).contiguous() for x in xs]
    queue = iter(given)
    arguments = {
        name: next(queue) if role == "x" else _copy(drawn.arguments[name]) for name, role in roles.given
    }
    rest = {name: value for name, value in drawn.arguments.items() if name not in arguments}
    try:
        answer = function(*arguments.values(), **rest) if roles.by_place else function(**arguments, **rest)
    except Exception:  # a form that the function does not take
        return None
    if answer is None:
        answer = tuple(given)  # it may work in place
    answers = (
        [answer] if isinstance(answer, Tensor) else list(answer) if isinstance(answer, (tuple, list)) else []
    )
    if len(answers) < len(xs) or not all(isinstance(each, Tensor) for each in answers[: len(xs)]):
        return None
    answers = answers[: len(xs)]
    if any(a.shape != x.shape or not a.is_floating_point() for a, x in zip(answers, given, strict=True)):
        return None
    return [from_layout(each, form.layout) for each in answers]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def try_form(
    function: Function, roles: Roles, form: Form, sizes: Sizes, *, quick: bool = False
) -> Trial | None:
    """The matrices, if the function answers in this form; None if it does not.

    With `quick` also None where the first channel's results are nothing of the tables.
    """
    drawn = draw(roles, form, sizes)
    count = len(roles.names("x"))
    xs = random_x(drawn.sizes, count)
    answers = call(function, roles, form, drawn, xs)
    if answers is None or not all(bool(torch.isfinite(each).all()) for each in answers):
        return None
    if all(torch.equal(x, answer) for x, answer in zip(xs, answers, strict=True)):
        return None  # a function that returns what it gets answers in every form, and turns nothing
    columns: list[list[Tensor]] = [[] for _ in range(count)]
    for channel in range(sizes.dim):
        basis = torch.zeros_like(xs[0])
        basis[..., channel] = 1
        found = call(function, roles, form, drawn, [basis.clone() for _ in range(count)])
        if found is None:
            return None
        if quick and channel == 0 and not _of_tables(found[0], drawn):
            return None
        for each, answer in zip(columns, found, strict=True):
            each.append(answer.float())
    matrices = tuple(torch.stack(each, -1) for each in columns)
    linear = all(
        bool(torch.allclose(torch.einsum("bhsij,bhsj->bhsi", m, x), a.float(), atol=1e-4, rtol=1e-4))
        for m, x, a in zip(matrices, xs, answers, strict=True)
    )
    return Trial(roles, form, drawn, matrices, linear)


def _of_tables(answer: Tensor, drawn: Drawn) -> bool:
    """Whether every number of the first token is 0, 1 or plus or minus a cell of that token's rows."""
    if drawn.cells is None:
        return True
    rows = torch.cat([each[0, 0] for pair in drawn.cells for each in pair] + [torch.tensor([0.0, 1.0])])
    return bool(((answer[0, 0, 0, :, None].abs() - rows).abs().amin(-1) < 1e-5).all())
