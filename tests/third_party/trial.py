"""One patch, one way of using rope_compat, one attention implementation: what comes of it.

Every trial runs in a process of its own, forked from one that has imported torch and transformers.
"""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from . import models, stand_ins
from .record import Record

#: How rope_compat is used: not at all; before the patch is imported, plainly or with the release that it was
#: written for; so, and with `rope_compat.adapt` by hand; after the patch was applied.
MODES = ("without", "first", "written_for", "by_hand", "last")
TOLERANCE = 1e-5
TIME_LIMIT = 120


@dataclass
class Result:
    """How far a trial came, and what its numbers were like."""

    record: str
    mode: str
    attention: str
    #: The stage that failed, or "done".
    stage: str = "import"
    #: Type, message and place of the failure.
    error: str = ""
    #: The largest differences to the model without any patch.
    logits: float | None = None
    gradient: float | None = None
    #: Functions of the patch that the model called.
    used: list[str] = field(default_factory=list)
    #: What rope_compat warned of.
    said: list[str] = field(default_factory=list)

    def verdict(self, equal: bool) -> str:
        """One word or two: works, runs, other numbers, not used, fails."""
        if self.stage != "done":
            return f"fails: {self.stage}"
        if not self.used:
            return "not used"
        if not equal:
            return "runs"
        difference = max(self.logits or 0.0, self.gradient or 0.0)
        return "works" if difference <= TOLERANCE else "other numbers"


@dataclass(frozen=True)
class Values:
    """What a model computed, as bytes-friendly tensors."""

    logits: Tensor
    gradient: Tensor
    state: dict[str, Tensor]


def in_a_fork(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked process and return what it returns, or an exception."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def target() -> None:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        try:
            sender.send_bytes(multiprocessing.reduction.ForkingPickler.dumps(_plain(work())))
        except BaseException as error:
            sender.send_bytes(multiprocessing.reduction.ForkingPickler.dumps(RuntimeError(repr(error))))

    process = context.Process(target=target)
    process.start()
    sender.close()
    try:
        if not receiver.poll(TIME_LIMIT):
            process.kill()
            return RuntimeError(f"no answer after {TIME_LIMIT} s")
        return multiprocessing.reduction.ForkingPickler.loads(receiver.recv_bytes())
    except EOFError:
        process.join()
        return RuntimeError(f"the process ended with {process.exitcode}")
    finally:
        process.join()


def _plain(value: Any) -> Any:
    """Tensors as NumPy arrays: torch would send handles of shared memory, which end with the process."""
    if isinstance(value, Values):
        return (
            value.logits.numpy(),
            value.gradient.numpy(),
            {key: item.numpy() for key, item in value.state.items()},
        )
    return value


def reference(record: Record, attention: str) -> Values | Exception:
    """The values of the model without any patch."""

    def work() -> Values:
        return _evaluate(models.MODELS[record.model](attention, record.config), record)

    found = in_a_fork(work)
    if isinstance(found, Exception):
        return found
    logits, gradient, state = found
    return Values(
        torch.from_numpy(logits),
        torch.from_numpy(gradient),
        {key: torch.from_numpy(item) for key, item in state.items()},
    )


def run(record: Record, mode: str, attention: str, store: Path, expected: Values) -> Result:
    """Apply the patch in a process of its own, and run the model."""
    result = Result(record.name, mode, attention)
    found = in_a_fork(lambda: _attempt(record, result, store, expected))
    if isinstance(found, Result):
        return found
    result.error = str(found)
    return result


def _attempt(record: Record, result: Result, store: Path, expected: Values) -> Result:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _stages(record, result, store, expected)
        except Exception as error:
            result.error = _describe(error, record.folder(store))
    result.said = sorted(
        {str(one.message) for one in caught if "rope_compat" in type(one.message).__module__}
    )
    return result


def _stages(record: Record, result: Result, store: Path, expected: Values) -> None:
    import rope_compat

    if result.mode not in ("without", "last"):
        rope_compat.patch(written_for=None if result.mode == "first" else record.written_for)
    for name in record.stand_ins:
        stand_ins.STAND_INS[name]()
    sys.path.insert(0, str(record.folder(store) / record.root))
    importlib.invalidate_caches()
    patch = importlib.import_module(record.module)
    result.stage = "apply"
    if result.mode == "by_hand" and record.by_hand is not None:
        record.by_hand(patch)
    if record.before is not None:
        record.before(patch)
    if result.mode == "last":
        rope_compat.patch()
    result.stage = "build"
    model = models.MODELS[record.model](result.attention, record.config)
    if record.after is not None:
        result.stage = "apply"
        record.after(patch, model)
    model.load_state_dict(expected.state, strict=False)
    result.stage = "run"
    values = _evaluate(model, record, result, record.folder(store))
    result.stage = "done"
    result.logits = (values.logits - expected.logits).abs().max().item()
    result.gradient = (values.gradient - expected.gradient).abs().max().item()


def _evaluate(model: Any, record: Record, result: Result | None = None, folder: Path | None = None) -> Values:
    model.train(record.train)
    state = {name: value.detach().clone() for name, value in model.named_parameters()}
    inputs = models.inputs_for(record.model, record.mask)
    if "pixel_values" in inputs and "mm_token_type_ids" in inspect.signature(type(model).forward).parameters:
        # From 5.3.0 on positions are computed from these and no longer from the ids.
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == 60).int()
    called: set[str] = set()
    if folder is not None:
        sys.setprofile(_watch(str(folder), called))
    try:
        logits = model(**inputs, use_cache=False, return_dict=True).logits
    finally:
        sys.setprofile(None)
    if result is not None:
        result.used, result.stage = sorted(called), "backward"
    logits.float().square().sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    return Values(logits.detach(), gradient.detach(), state)


def _watch(folder: str, called: set[str]) -> Callable[[FrameType, str, object], None]:
    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            called.add(frame.f_code.co_name)

    return profile


def _describe(error: Exception, folder: Path) -> str:
    """Type and message, and the innermost place in the patch itself."""
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(folder))
    ]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"
