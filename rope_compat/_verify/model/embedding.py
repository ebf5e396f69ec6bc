"""One rotary embedding of a model against its configuration: buffers, tables, and what its forward gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._adapters.loading.plausible import fault as impossible
from ..._outcome import Item
from ..._utils.ownership import is_custom
from ...errors import RopeConfigError
from .embeddings import Unit, own_tensors, real
from .expected import EPS, Described, Expected
from .frequency_faults import Cause, advice_for, name_cause
from .probe import Answer, Asker, answer_of

__all__ = ["UNDECLARED", "Curve", "Judge", "grid", "is_own_choice", "judge", "wrapped"]

#: Not the `_cos_cached` of 4.38 and later, which nothing reads.
_PAIRS = (("cos_cached", "sin_cached"), ("freqs_cos", "freqs_sin"))
#: The longest text that is looked at.
_FARTHEST = 2**17


@dataclass(frozen=True)
class Curve:
    """Phase errors of one rotary embedding: radians at positions, the largest of all pairs."""

    name: str
    positions: Tensor
    errors: Tensor


def wrapped(angles: Tensor) -> Tensor:
    """Angles between -pi and pi."""
    turned: Tensor = torch.remainder(angles + math.pi, 2 * math.pi) - math.pi
    return turned


def grid(length: int) -> Tensor:
    """Positions from 0 to the last one before `length`: all small ones, then eight for each doubling."""
    last = max(min(length, _FARTHEST) - 1, 1)
    far = torch.logspace(0, math.log2(last), max(int(8 * math.log2(last)), 2), base=2.0, dtype=torch.float64)
    near = torch.arange(min(17, last + 1))
    found: Tensor = torch.unique(torch.cat((near, far.round().long().clamp(max=last))))
    return found


class Judge:
    """Collects what is found about one unit."""

    def __init__(self, unit: Unit, model_dtype: torch.dtype) -> None:
        self.unit = unit
        self.model_dtype = model_dtype
        self.curve: Curve | None = None
        #: What is wrong was read off kept frequencies alone: attention may make up for it.
        self.is_provisional = False

    def wrong(self, cause: Cause, name: str, error: Tensor | None = None, positions: Tensor | None = None,
              tolerance: float | None = None) -> Item:  # fmt: skip
        """A finding; `error` is radians ``[positions, pairs]``."""
        largest, position = None, None
        if error is not None and positions is not None and error.numel():
            each = error.amax(dim=-1)
            largest = float(each.max())
            position = int(positions[int((each >= largest * (1 - 1e-9)).nonzero()[0])])
            self.curve = Curve(self.unit.name, positions, each)
        return Item(name, "rotary embedding", "wrong", cause.words, largest, tolerance, cause.fault, position,
                    advice_for(cause.fault))  # fmt: skip

    def judge(self) -> Iterator[Item]:
        """Every finding; ``ok`` if there is none, ``skipped`` where there is nothing to compare with."""
        broken = list(self._broken())
        if broken:
            yield from broken
            return
        given = self.unit.described
        if given is None:
            yield Item(self.unit.name, "rotary embedding", "skipped", self.unit.reason)
            return
        try:
            expected = given.expected()
        except RopeConfigError as error:
            yield self._impossible_config(given, str(error))
            return
        if bad := _impossible_parameters(given):
            yield self.wrong(bad, self.unit.name)
            return
        yield from self._settled(given, expected)

    def _settled(self, given: Described, expected: Expected) -> Iterator[Item]:
        """Kept frequencies, then what is given; for types that some releases apply in forward, what is given.

        Up to 4.42 linear scaling divides positions, and Phi-3's longrope to 4.47 divides in forward.
        """
        frequencies = list(self._frequencies(given, expected))
        in_forward = given.spec.rope_type in ("linear", "dynamic", "longrope")
        if frequencies and (not in_forward or frequencies[0].fault == "half-precision"):
            yield from frequencies
            return
        curve = self.curve
        given_out = list(self._outputs(given, expected))
        if any(item.status != "skipped" for item in given_out):
            yield from given_out
        elif frequencies:
            self.curve, self.is_provisional = curve, True
            yield from frequencies
        elif self.unit.frequencies[1] is not None:
            yield self._ok()
        else:
            reason = "its forward has a form of its own"
            yield from given_out or [Item(self.unit.name, "rotary embedding", "skipped", reason)]

    def _broken(self) -> Iterator[Item]:
        """Tensors that cannot be what their names say."""
        for name, value in own_tensors(self.unit.module).items():
            if self.unit.by_type and not name.startswith(str(self.unit.layer_type)):
                continue
            why = impossible(name.lstrip("_"), value)
            if not why:
                continue
            fault = "meta" if value.is_meta else "non-finite" if "not finite" in why else "garbage"
            if fault == "garbage" and "negative" in why:
                continue  # perhaps the sign alone is wrong, which is looked at below
            yield self.wrong(Cause(fault, why), f"{self.unit.path}.{name}".lstrip("."))

    def _impossible_config(self, given: Described, why: str) -> Item:
        if given.spec.theta is None or "not one that rope_compat computes" in why:
            return Item(self.unit.name, "rotary embedding", "skipped", why)
        fault = "longrope-factor" if given.spec.rope_type == "longrope" else "config"
        return self.wrong(Cause(fault, why), self.unit.name)

    def _frequencies(self, given: Described, expected: Expected) -> Iterator[Item]:
        """Whether the kept inverse frequencies are the config's."""
        attribute, value = self.unit.frequencies
        if value is None or value.dim() != 1:
            return
        name = f"{self.unit.path}.{attribute}".lstrip(".")
        found, right = real(value), expected.inv_freq
        if len(found) != len(right):
            yield self.wrong(self._width(given, len(found)), name)
            return
        half = value.dtype in (torch.bfloat16, torch.float16)
        rounding = expected.relative + (_unit(value.dtype) if half else EPS)

        def fits(inv_freq: Tensor) -> bool:
            if len(inv_freq) != len(found):
                return False
            return bool(((found - inv_freq).abs() <= rounding * inv_freq.abs()).all())

        positions = grid(given.length)
        error = wrapped(positions[:, None] * (found - right)).abs()
        limit = float(expected.tolerance(positions).max())
        if half and fits(right):
            words = f"the frequencies are kept in {str(value.dtype).removeprefix('torch.')}"
            yield self.wrong(Cause("half-precision", words), name, error, positions, limit)
        elif not fits(right) and not self._moved_on(given, fits):
            yield self.wrong(name_cause(given, found, fits), name, error, positions, limit)

    def _width(self, given: Described, pairs: int) -> Cause:
        what = f"{2 * pairs} of {given.head_dim} channels are rotated, not {given.dim}"
        if 2 * pairs == given.head_dim:
            return Cause("partial", f"the partial rotary factor is ignored: {what}")
        return Cause("dim", what)

    def _moved_on(self, given: Described, fits: object) -> bool:
        """Whether the frequencies are those of a long text that the model has read."""
        if not given.changes_with_length:
            return False
        length = getattr(self.unit.module, "max_seq_len_cached", None)
        if not isinstance(length, (int, Tensor)) or int(length) <= given.original:
            return False
        return bool(fits(given.expected(int(length)).inv_freq))  # type: ignore[operator]

    def _outputs(self, given: Described, expected: Expected) -> Iterator[Item]:
        """What tables hold and what forward gives."""
        looked = False
        for name, answer, positions in self._tables(given, len(expected.inv_freq)):
            looked = True
            wrong = self._compare(name, answer, positions, given, expected)
            if wrong is not None:
                yield wrong
                return
        asker = Asker(self.unit)
        if asker.form:
            yield from self._asked(asker, given, expected)
        elif looked:
            yield self._ok()

    def _asked(self, asker: Asker, given: Described, expected: Expected) -> Iterator[Item]:
        for positions, seq_len in self._questions(given):
            right = expected if seq_len is None else given.expected(seq_len)
            try:
                answer = asker.ask(positions, len(right.inv_freq))
            except Exception as error:
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                if isinstance(error, IndexError):
                    words = f"no row for position {int(positions.max())}: {text}"
                    yield self.wrong(Cause("tables", words), self.unit.name)
                else:
                    yield Item(
                        self.unit.name, "rotary embedding", "skipped", f"it could not be called: {text}"
                    )
                return
            if answer is None:
                yield Item(self.unit.name, "rotary embedding", "skipped", "it gives neither cos and sin nor "
                           "complex rotations")  # fmt: skip
                return
            wrong = self._compare(self.unit.name, answer, positions, given, right)
            if wrong is not None:
                yield wrong
                return
        yield self._ok()

    def _questions(self, given: Described) -> Iterator[tuple[Tensor, int | None]]:
        if given.spec.rope_type == "longrope":
            yield grid(min(given.original, given.length)), None
            if given.original < given.length:
                yield grid(given.length), min(given.length, _FARTHEST)
            return
        positions = grid(given.length)
        # Not in order: what ignores the positions that it is given shows.
        yield positions.flip(0), None
        if given.spec.rope_type == "dynamic":
            yield grid(2 * given.length), min(2 * given.length, _FARTHEST)

    def _tables(self, given: Described, pairs: int) -> Iterator[tuple[str, Answer, Tensor]]:
        held = own_tensors(self.unit.module)
        if given.changes_with_length and getattr(self.unit.module, "max_seq_len_cached", 0) > given.original:
            return
        for cos_name, sin_name in _PAIRS:
            if cos_name in held and sin_name in held:
                pair = held[cos_name], held[sin_name]
                rows = pair[0].reshape(-1, pair[0].shape[-1]).shape[0]
                answer = answer_of(pair, rows, pairs)
                if answer is not None:
                    yield f"{self.unit.path}.{cos_name}".lstrip("."), answer, torch.arange(rows)
        for name, value in held.items():
            label = f"{self.unit.path}.{name}".lstrip(".")
            if value.is_complex() and value.dim() == 2:
                answer = answer_of(value, len(value), pairs)
            elif name == "embed_positions" and value.dim() == 2:
                # GPT-J and CodeGen: sines first.
                sin, cos = value.chunk(2, dim=-1)
                answer = answer_of((cos, sin), len(value), pairs)
            else:
                continue
            if answer is not None:
                yield label, answer, torch.arange(len(value))

    def _compare(
        self, name: str, answer: Answer, positions: Tensor, given: Described, right: Expected
    ) -> Item | None:
        from .embedding_faults import cause_of_answer

        if answer.phases.shape[-1] != len(right.inv_freq):
            return self.wrong(self._width(given, answer.phases.shape[-1]), name)
        limit = right.tolerance(positions) + _unit(answer.dtype) * (answer.dtype.itemsize < 4)
        error = wrapped(answer.phases - positions[:, None] * right.inv_freq).abs()
        cause = cause_of_answer(answer, positions, given, right, limit, self.model_dtype)
        if cause is None:
            previous = self.curve
            each = error.amax(dim=-1)
            if previous is None or len(each) >= len(previous.errors):
                self.curve = Curve(self.unit.name, positions.sort().values, each[positions.argsort()])
            return None
        order = positions.argsort()
        if cause.fault == "attention-factor" and is_own_choice(given, type(self.unit.module)):
            return Item(
                name, "rotary embedding", "note", f"{cause.words}; {UNDECLARED}", None, None, cause.fault
            )
        return self.wrong(cause, name, error[order], positions[order], float(limit.max()))

    def _ok(self) -> Item:
        error = None if self.curve is None else float(self.curve.errors.max())
        return Item(self.unit.name, "rotary embedding", "ok", max_error=error)


def _unit(dtype: torch.dtype) -> float:
    """Rounding of one value."""
    return torch.finfo(dtype).eps / 2


UNDECLARED = "the config declares none, and custom code may do without the one that transformers takes then"


def is_own_choice(given: Described, cls: type) -> bool:
    """Whether custom code may leave the attention factor out, as the config does not speak of one."""
    declared = given.spec.parameters.get("attention_factor") or given.spec.parameters.get("mscale")
    return declared is None and is_custom(cls)


def _impossible_parameters(given: Described) -> Cause | None:
    """Parameters that no embedding can have."""
    parameters = given.spec.parameters
    if given.spec.rope_type == "longrope":
        for name in ("short_factor", "long_factor"):
            factors = parameters.get(name) or ()
            if len(factors) != given.dim // 2:
                words = f"{name} has {len(factors)} numbers; {given.dim // 2} pairs are rotated"
                return Cause("longrope-factor", words)
            if not all(isinstance(x, (int, float)) and 0 < x < math.inf for x in factors):
                return Cause("longrope-factor", f"{name} has numbers that are not positive and finite")
    if given.spec.rope_type == "llama3":
        low, high = parameters.get("low_freq_factor"), parameters.get("high_freq_factor")
        if low is not None and high is not None and low >= high:
            return Cause("llama3-factors", f"low_freq_factor={low} is not smaller than {high}")
    return None


def judge(unit: Unit, model_dtype: torch.dtype) -> tuple[list[Item], Judge]:
    """Everything about one rotary embedding; the judge knows its phase errors over positions."""
    judging = Judge(unit, model_dtype)
    return list(judging.judge()), judging
