"""Hold one call of a function against the exact result, forward and backward, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..._facts.conventions import Pairing
from ..tolerances import bound
from .cases import Case, Tensors, draw

__all__ = ["Finding", "Judge", "Verdict"]


@dataclass(frozen=True)
class Finding:
    """What is wrong with a call."""

    fault: str
    reason: str
    max_error: float | None = None
    tolerance: float | None = None
    position: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of a call: the error that comes nearest to its bound, or what is wrong."""

    error: float = 0.0
    tolerance: float = 0.0
    finding: Finding | None = None


@dataclass(frozen=True)
class _Right:
    """Exact results with the bounds of their errors, forward and backward."""

    results: Tensors
    bounds: Tensors
    gradients: Tensors
    gradient_bounds: Tensors
    weights: Tensors


class Judge:
    """Judges calls; what is right for equal calls is computed once."""

    def __init__(self) -> None:
        self._right: dict[Hashable, _Right] = {}

    def judge(self, function: Callable[..., Any], case: Case) -> Verdict | None:
        """Call `function`; None where the call is optional and refused."""
        right = self._right.get(case.key)
        if right is None:
            right = self._right[case.key] = _right(case)
        xs = tuple(x.detach().clone().requires_grad_() for x in case.xs)
        try:
            found = _tensors(case.call(function, xs, case.cos, case.sin, case.rows))
        except RuntimeError as error:
            return None if case.optional else Verdict(finding=_raised(case, error))
        except Exception as error:
            return Verdict(finding=_raised(case, error))
        shapes = [tuple(each.shape) for each in found], [tuple(each.shape) for each in right.results]
        if shapes[0] != shapes[1]:
            words = f"{case.form}: results have shapes {shapes[0]}, expected {shapes[1]}"
            return Verdict(finding=Finding("shape", words))
        forward = self._compare(case, found, right.results, right.bounds)
        if forward.finding is not None:
            return forward
        if not all(each.requires_grad for each in found):
            return Verdict(finding=Finding("gradient", f"{case.form}: no gradient reaches what is rotated"))
        weights = [w.to(each.dtype) for w, each in zip(right.weights, found, strict=True)]
        gradients = torch.autograd.grad(found, xs, weights)
        backward = _worst(gradients, right.gradients, right.gradient_bounds)
        if backward.excess > 1:
            words = f"{case.form}: the gradient is not that of the rotation"
            return Verdict(finding=Finding("gradient", words, backward.error, backward.bound))
        return forward

    def _compare(self, case: Case, found: Tensors, exact: Tensors, bounds: Tensors) -> Verdict:
        worst = _worst(found, exact, bounds)
        if worst.excess <= 1:
            return Verdict(worst.error, worst.bound)
        position = _position(case, worst)
        fault, words = _named(case, found, bounds)
        return Verdict(
            finding=Finding(fault, f"{case.form}: {words}", worst.error, worst.bound, position=position)
        )


@dataclass(frozen=True)
class _Worst:
    """The element whose error is the largest part of its bound."""

    excess: float
    error: float
    bound: float
    tensor: int
    index: tuple[int, ...]


def _worst(found: Tensors, exact: Tensors, bounds: Tensors) -> _Worst:
    worst = _Worst(0.0, 0.0, 0.0, 0, ())
    for number, (one, other, limit) in enumerate(zip(found, exact, bounds, strict=True)):
        error = (one.detach().double() - other).abs()
        # Where the bound is zero bits have to agree; what is not finite is infinitely wrong.
        excess = torch.where(error == 0, 0.0, error / limit).nan_to_num(nan=torch.inf)
        if excess.numel() and float(excess.max()) > worst.excess:
            index = tuple(int(i) for i in torch.unravel_index(excess.argmax(), excess.shape))
            worst = _Worst(float(excess[index]), float(error[index]), float(limit[index]), number, index)
    return worst


def _position(case: Case, worst: _Worst) -> int | None:
    if case.positions is None or not worst.index:
        return None
    shape = case.positions.shape
    index = [i if size > 1 else 0 for i, size in zip(worst.index[-len(shape) :], shape, strict=True)]
    return int(case.positions[tuple(index)])


def _right(case: Case) -> _Right:
    xs = tuple(x.double().requires_grad_() for x in case.xs)
    results = case.compute(xs, case.cos, case.sin, case.convention)
    weights = tuple(draw(*each.shape, seed=9 + n, dtype=case.xs[0].dtype) for n, each in enumerate(results))
    gradients = torch.autograd.grad(results, xs, [each.double() for each in weights])
    limits, gradient_limits = (
        tuple(_bound(case, *each) for each in zip(*sizes, strict=True))
        for sizes in zip(
            _magnitudes(case, weights, case.cos, case.sin),
            _magnitudes(case, weights, *(torch.full_like(t, case.absolute) for t in (case.cos, case.sin))),
            strict=True,
        )
    )
    return _Right(tuple(each.detach() for each in results), limits, gradients, gradient_limits, weights)


def _bound(case: Case, magnitude: Tensor, inherited: Tensor) -> Tensor:
    """Of a result; `inherited` is what the errors of cos and sin that the code computes itself come to."""
    return bound(magnitude + inherited, case.xs[0].dtype, case.count, case.more) + inherited


def _magnitudes(case: Case, weights: Tensors, cos: Tensor, sin: Tensor) -> tuple[Tensors, Tensors]:
    """The result and its gradient with absolute values for their terms; 0 where x passes through."""
    nothing = torch.zeros_like(cos)
    results, gradients = [], []
    for cosines, sines in ((nothing, nothing), (cos.abs(), nothing), (nothing, sin.abs())):
        xs = tuple(x.double().abs().requires_grad_() for x in case.xs)
        each = case.compute(xs, cosines, sines, case.convention)
        results.append(tuple(value.detach() for value in each))
        gradients.append(
            torch.autograd.grad(each, xs, [weight.double().abs() for weight in weights], allow_unused=True)
        )
    return _sizes(results), _sizes(gradients)


def _sizes(parts: list[Any]) -> Tensors:
    kept, cosines, sines = parts
    return tuple(
        (one - rest).abs() + (other - rest).abs()
        for rest, one, other in zip(kept, cosines, sines, strict=True)
    )


def _tensors(found: Any) -> Tensors:
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def _raised(case: Case, error: Exception) -> Finding:
    text = next(iter(str(error).splitlines()), "")[:160]
    return Finding("raises", f"{case.form}: it raises {type(error).__name__}: {text}")


def _named(case: Case, found: Tensors, bounds: Tensors) -> tuple[str, str]:
    """The mistake whose result this is."""
    if not all(bool(each.isfinite().all()) for each in found):
        return "non-finite", "results are not finite"
    for fault, words, mistaken in _mistakes(case):
        try:
            wrong = mistaken()
        except (RuntimeError, IndexError, ValueError):
            continue
        if all(one.shape == other.shape for one, other in zip(found, wrong, strict=True)):
            # A mistake's terms are as large as the right ones, but elsewhere.
            limits = tuple(torch.full_like(each, 4 * float(each.max())) for each in bounds)
            if _worst(found, wrong, limits).excess <= 1:
                return fault, words
    dtype = case.xs[0].dtype
    exact = case.compute(case.xs, case.cos, case.sin, case.convention)
    magnitudes, _ = _magnitudes(case, tuple(torch.ones_like(each) for each in exact), case.cos, case.sin)
    for coarse in (torch.float16, torch.bfloat16):
        if torch.finfo(coarse).eps <= torch.finfo(dtype).eps:
            continue
        limits = tuple(bound(each, coarse, case.count + 2) for each in magnitudes)
        if _worst(found, exact, limits).excess <= 1:
            return "half-precision", f"it is right to {str(coarse).removeprefix('torch.')} only"
    return "numbers", "the numbers are those of no mistake that is known"


def _mistakes(case: Case) -> Iterator[tuple[str, str, Callable[[], Tensors]]]:
    xs, cos, sin, convention = case.xs, case.cos, case.sin, case.convention

    def made(cos: Tensor, sin: Tensor, other: Any = convention) -> Callable[[], Tensors]:
        return lambda: case.compute(xs, cos, sin, other)

    yield "sign", "it turns the other way: sin has the wrong sign", made(cos, -sin)
    yield "swapped", "cos and sin are interchanged", made(sin, cos)
    other: Pairing = "interleaved" if convention.pairing == "half" else "half"
    yield "pairing", f"it pairs channels as {other}", made(cos, sin, replace(convention, pairing=other))
    for step, words in ((-1, "one ahead"), (1, "one behind")):
        moved = (table.roll(step, 0) for table in (cos, sin))
        yield "off-by-one", f"every position is {words}", made(*moved)
    yield "unrotated", "nothing is rotated", made(torch.ones_like(cos), torch.zeros_like(sin))
    yield (
        "sections",
        "multimodal sections are cut otherwise",
        made(cos, sin, replace(convention, doubled=not convention.doubled)),
    )
    yield (
        "partial",
        "the wrong end of the head is rotated",
        made(cos, sin, replace(convention, last=not convention.last)),
    )
    for pairing in (convention.pairing, other):
        crossed = replace(convention, pairing=pairing, tables="crossed")
        words = f"it pairs channels as {pairing}, and cos and sin are laid out for the other pairing"
        yield "crossed", words, made(cos, sin, crossed)
    if case.rows is not None:
        order = torch.arange(case.rows.shape[-1]).expand(case.rows.shape)
        yield (
            "positions-ignored",
            "position_ids are not looked at: rows are taken in order",
            (lambda: case.compute(xs, cos, sin, convention, order)),
        )
