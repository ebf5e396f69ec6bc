"""`identify` on functions that are written here: conventions, mistakes, what cannot be told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.identified import error_of
from torch import Tensor, nn

import rope_compat
from rope_compat import identify
from rope_compat._identify.frequencies import explain
from rope_compat.rotary import frequencies
from rope_compat.rotary.pairing import quarter_turn, rotate_every_two, rotate_half


def wide(table: Tensor, pairing: str) -> Tensor:
    return torch.cat((table, table), -1) if pairing == "half" else table.repeat_interleave(2, -1)


def pair(q, k, cos, sin):
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def sin_first(x, sin, cos):
    sin, cos = (wide(each, "interleaved")[:, :, None] for each in (sin, cos))
    return x * cos + rotate_every_two(x) * sin


def names_say_nothing(a, b, c):
    b, c = (torch.cat((each, each), -1)[:, None] for each in (b, c))
    return a * c + rotate_half(a) * b


def of_complex(xq, xk, freqs_cis):
    freqs_cis = freqs_cis[None, :, None]
    return tuple(
        torch.view_as_real(torch.view_as_complex(x.float().unflatten(-1, (-1, 2))) * freqs_cis)
        .flatten(-2)
        .type_as(x)
        for x in (xq, xk)
    )


def of_angles(tensor, freqs):
    cos, sin = (wide(each, "half")[:, None].float() for each in (freqs.cos(), freqs.sin()))
    return (tensor.float() * cos + rotate_half(tensor.float()) * sin).type_as(tensor)


def values_too(q, k, v, cos, sin, position_ids):
    cos, sin = cos[position_ids].unsqueeze(1), sin[position_ids].unsqueeze(1)
    return tuple(x * cos + rotate_half(x) * sin for x in (q, k, v))


def values_stay(q, k, v, cos, sin):
    return (*pair(q, k, cos, sin), v)


def backward(x, cos, sin):
    return x * wide(cos, "half") - rotate_half(x) * wide(sin, "half")


def last_channels(x, cos, sin):
    rest, x = x[..., : -cos.shape[-1]], x[..., -cos.shape[-1] :]
    return torch.cat((rest, pair(x, x, cos, sin)[0]), -1)


def first_channels(x, cos, sin):
    rest, x = x[..., cos.shape[-1] :], x[..., : cos.shape[-1]]
    return torch.cat((pair(x, x, cos, sin)[0], rest), -1)


def reordered(q, k, cos, sin):
    q, k = (torch.cat((x[..., ::2], x[..., 1::2]), -1) for x in (q, k))
    return pair(q, k, cos, sin)


def sin_and_cos(x, emb):
    sin, cos = emb.chunk(2, -1)
    return x * cos + rotate_every_two(x) * sin


def in_place(q, k, cos, sin):
    for x, turned in zip((q, k), pair(q, k, cos, sin), strict=True):
        x.copy_(turned)


def any_arguments(*args):
    return pair(*args)


ROTATIONS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (
        pair,
        {"pairing": "half", "tables": "concatenated", "layout": "bhsd", "turned": ("q", "k"), "part": "all"},
    ),
    (sin_first, {"pairing": "interleaved", "tables": "one column a pair", "layout": "bshd"}),
    (names_say_nothing, {"pairing": "half", "arguments": "(a, b: sin, c: cos)", "layout": "bhsd"}),
    (of_complex, {"pairing": "interleaved", "kind": "complex", "layout": "bshd"}),
    (of_angles, {"pairing": "half", "kind": "angles", "tables": "one column a pair"}),
    (values_too, {"turned": ("q", "k", "v"), "arguments": "(q, k, v, cos, sin, position_ids)"}),
    (values_stay, {"turned": ("q", "k")}),
    (backward, {"direction": -1, "layout": "as tables"}),
    (last_channels, {"part": "last"}),
    (first_channels, {"part": "first"}),
    (reordered, {"pairing": "interleaved", "outputs": "halves", "tables": "concatenated"}),
    (sin_and_cos, {"kind": "sin|cos", "pairing": "interleaved", "tables": "repeated"}),
    (in_place, {"pairing": "half", "turned": ("q", "k")}),
    (any_arguments, {"pairing": "half", "tables": "concatenated"}),
]


@pytest.mark.parametrize(("function", "expected"), ROTATIONS, ids=lambda each: getattr(each, "__name__", ""))
def test_what_functions_compute(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    started = time.perf_counter()
    found = identify(function)
    assert time.perf_counter() - started < 5  # 0.1 to 1 s on an idle machine
    assert found.verdict == "rotation", found.reason
    assert {"direction": 1, "outputs": "in place"} | expected == {
        name: getattr(found, name) for name in {"direction": 1, "outputs": ""} | expected
    }
    if function not in (in_place, any_arguments, values_stay):
        assert error_of(function, found) < 1e-5


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_quarter_turns(pairing: str) -> None:
    found = identify(lambda x: quarter_turn(x, pairing))
    assert (found.verdict, found.pairing, found.direction) == ("quarter turn", pairing, 1)
    assert identify(lambda x: -quarter_turn(x, pairing)).direction == -1


def test_an_axis_that_has_a_default() -> None:
    def function(q, k, cos, sin, position_ids=None, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin

    found = identify(function)
    assert found.layout == "bhsd"
    assert any(call.layout == "bshd" and call.options == "unsqueeze_dim=2" for call in found.calls)
    assert "position_ids is taken and ignored" in found.notes


def test_an_option_that_changes_the_pairing() -> None:
    def function(x, cos, sin, interleaved=False):
        which = "interleaved" if interleaved else "half"
        return x * wide(cos, which) + quarter_turn(x, which) * wide(sin, which)

    found = identify(function)
    assert found.pairing == "half"
    assert "interleaved=True: pairing interleaved" in found.notes


def mixed(x):
    return torch.cat((-x[..., 1::2], x[..., ::2]), -1)


def mistake_with_tables(q, k, cos, sin):
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return q * cos + mixed(q) * sin, k * cos + mixed(k) * sin


def mistake_with_angles(x, freqs):
    angles = torch.cat((freqs, freqs), -1)
    return x * angles.cos() + rotate_every_two(x) * angles.sin()


def mistake_of_positions(x, positions):
    angles = positions[..., None] * 100.0 ** -(torch.arange(x.shape[-1] // 2) / (x.shape[-1] // 2))
    angles = torch.cat((angles, angles), -1)[..., None, :, :]
    return x * angles.cos() + rotate_every_two(x) * angles.sin()


@pytest.mark.parametrize(
    ("function", "mistake", "given", "output"),
    [
        (mixed, "neighbours turned, halves written", (1, 2, 3, 4), (-2, -4, 1, 3)),
        (mistake_with_tables, "neighbours turned, halves written", (1, 2, 3, 4), (-0.4, 2, 3, 4)),
        (mistake_with_angles, "neighbours with half-concatenated angles", (1, 2, 3, 4), (-0.4, 2, 0, 4)),
        (mistake_of_positions, "neighbours with half-concatenated angles", (1, 2, 3, 4), None),
    ],
)
def test_the_widespread_mistake_is_named(function, mistake, given, output) -> None:
    found = identify(function)
    assert found.verdict == "not a rotation"
    assert found.mistake.startswith(mistake)
    assert found.example is not None
    assert found.example.given == given
    if output is not None:
        assert found.example.output == pytest.approx(output, abs=1e-4)
    else:
        (_, _, first), (_, _, second) = found.example.scores
        assert abs(first - second) > 0.1
    text = " ".join(str(found).split())
    assert "cat((-x2, x1), -1) * sin with cat((freqs, freqs), -1)" in text
    assert "stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2) * sin with" in text


def test_the_examples_of_correct_forms_are_right() -> None:
    example = identify(mistake_with_tables).example
    assert example is not None
    assert example.half == pytest.approx((-1, 2, 3, 4), abs=1e-4)  # (1, 3) turned as (5, 0) to (4, 3)
    assert example.interleaved == pytest.approx((-0.4, 2.2, 3, 4), abs=1e-4)


def test_lengths_that_change_are_shown() -> None:
    found = identify(lambda x, cos, sin: x * cos[:, None] + x * sin[:, None])
    assert found.verdict == "not a rotation"
    assert "lengths change" in found.reason
    assert found.example is not None
    assert found.example.output == pytest.approx((1.4, 2, 4.2, 4), abs=1e-4)


@pytest.mark.parametrize(
    "function",
    [lambda q, k, cos, sin: (q, k), lambda x, cos, sin: x * x, lambda: None, len, lambda x, cos, sin: 1],
)
def test_nothing_is_guessed(function: Callable[..., Any]) -> None:
    found = identify(function)
    assert found.verdict == "unknown"
    assert found.reason
    assert not found.pairing


class Tables(nn.Module):
    def __init__(self, inv_freq: Tensor, pairing: str = "half", factor: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.pairing, self.factor = pairing, factor

    def forward(self, x, position_ids):
        angles = wide(position_ids[..., None] * self.inv_freq, self.pairing)
        return angles.cos() * self.factor, angles.sin() * self.factor


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (frequencies.default(64, 1e4), (1e4, ("default",), 1.0)),
        (frequencies.default(128, 1e6), (1e6, ("default",), 1.0)),
        (frequencies.linear(64, 5e5, 4.0), (5e5, ("linear",), 4.0)),
        (frequencies.yarn(64, 1e4, 4.0, 2048), (1e4, ("yarn",), 4.0)),
        (frequencies.llama3(128, 5e5, 8.0, 1.0, 4.0, 8192), (5e5, ("llama3",), 8.0)),
        (frequencies.proportional(64, 1e4, 0.5), (1e4, ("proportional",), 1.0)),
        (frequencies.longrope(16, 1e4, [1, 1.1, 1.3, 2, 2.2, 3, 7, 8], [9] * 8, 4096, 8.0), (None, (), 1.0)),
    ],
    ids=["default", "wide", "linear", "yarn", "llama3", "proportional", "longrope"],
)
def test_theta_and_scaling_of_a_module(made: tuple[Tensor, float], expected: tuple[Any, ...]) -> None:
    found = identify(Tables(made[0], factor=made[1]))
    assert found.verdict == "tables"
    assert found.frequencies is not None
    assert (found.frequencies.theta, found.frequencies.scaling, found.frequencies.factor) == expected
    assert found.factor == pytest.approx(made[1], abs=1e-4)
    assert found.tables == "concatenated"


def test_too_few_pairs_on_the_ramp_leave_both_candidates() -> None:
    values = frequencies.default(64, 1e4)[0].clone()
    values[20:] /= 4.0
    assert explain(values.tolist()).scaling == ("yarn", "llama3")


def test_one_pair_cannot_be_told() -> None:
    found = identify(Tables(torch.ones(1)))
    assert (found.verdict, found.tables) == ("ambiguous", "concatenated or repeated")


class Rotating(nn.Module):
    """Turns by itself, at positions that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", frequencies.default(32, 1e5)[0], persistent=False)

    def forward(self, query, key, positions):
        angles = wide(positions[..., None] * self.inv_freq, "interleaved")[:, None]
        return tuple(x * angles.cos() + rotate_every_two(x) * angles.sin() for x in (query, key))


def test_a_module_that_turns_by_itself() -> None:
    found = identify(Rotating())
    assert (found.verdict, found.pairing, found.layout) == ("rotation", "interleaved", "bhsd")
    assert found.frequencies is not None
    assert (found.frequencies.theta, found.frequencies.scaling) == (1e5, ("default",))


def test_precision() -> None:
    at_each_step = {(each.given, each.tables): each for each in identify(pair).precisions}
    assert at_each_step["bfloat16", "bfloat16"].rounds == "at each step"
    assert at_each_step["bfloat16", "float32"].output == "float32"
    once_only = {each.given: each for each in identify(of_angles).precisions}
    assert (once_only["bfloat16"].output, once_only["bfloat16"].rounds) == ("bfloat16", "once")


def test_the_answer_is_json_and_fits_a_terminal() -> None:
    found = identify(pair, name="mine")
    assert json.loads(json.dumps(found.to_dict()))["pairing"] == "half"
    assert str(found).startswith("mine: rotation, half pairing.")
    assert max(map(len, str(found).splitlines())) <= 100


def test_random_numbers_and_gradients_stay() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    identify(pair)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("what", "said"), [(Tables, "class .*Tables.*construct it first"), (3, "got 3; expected")]
)
def test_what_cannot_be_called_is_refused(what: Any, said: str) -> None:
    with pytest.raises(rope_compat.ArgumentError, match=said):
        identify(what)
