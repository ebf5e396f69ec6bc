"""What a function does with half precision: what comes out, and where it rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .survey import Reading
from .trial import call, random_x

__all__ = ["Precision", "precisions"]


@dataclass(frozen=True)
class Precision:
    """One combination of dtypes.

    Attributes:
        given: dtype of the tensors that are turned.
        tables: dtype of cos and sin, empty where the function makes them.
        output: dtype of the results, empty where it refuses this combination.
        rounds: ``once`` where the results are those of float32 arithmetic, rounded once; ``at each step``
            where products and sums are rounded as well; empty where nothing is rounded.
    """

    given: str
    tables: str
    output: str
    rounds: str


def precisions(function: Callable[..., Any], reading: Reading) -> tuple[Precision, ...]:
    """float32, bfloat16 and float16 tensors, each with tables of its own dtype and with float32 tables."""
    has_tables = reading.trial.drawn.cells is not None and reading.trial.form.kind not in (
        "complex",
        "angles",
    )
    kinds = [(torch.float32, torch.float32)]
    for dtype in (torch.bfloat16, torch.float16):
        kinds += [(dtype, dtype), (dtype, torch.float32)] if has_tables else [(dtype, torch.float32)]
    return tuple(_precision(function, reading, given, tables, has_tables) for given, tables in kinds)


def _precision(
    function: Callable[..., Any], reading: Reading, given: torch.dtype, tables: torch.dtype, has_tables: bool
) -> Precision:
    trial = reading.trial
    xs = [x.to(given) for x in random_x(trial.drawn.sizes, len(trial.roles.names("x")))]
    arguments = {name: _cast(value, tables) for name, value in trial.drawn.arguments.items()}
    answers = call(function, trial.roles, trial.form, replace(trial.drawn, arguments=arguments), xs)
    wide = {name: _cast(value, torch.float32) for name, value in arguments.items()}
    exact = call(
        function, trial.roles, trial.form, replace(trial.drawn, arguments=wide), [x.float() for x in xs]
    )
    names = (_name(given), _name(tables) if has_tables else "")
    if answers is None or exact is None:
        return Precision(*names, "", "")
    place = reading.turned[0]
    output = answers[place].dtype
    if torch.float32 in (given, output):
        return Precision(*names, _name(output), "")
    once = torch.equal(answers[place], exact[place].to(output))
    return Precision(*names, _name(output), "once" if once else "at each step")


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple):
        return tuple(_cast(each, dtype) for each in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
