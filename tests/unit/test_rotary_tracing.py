"""torch.compile, torch.export, meta and fake tensors: one graph, no read of a value, the eager numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import FakeTensorMode

from rope_compat.rotary import layouts, operations

Case = tuple[Callable[..., object], Callable[[int], list[torch.Tensor]]]


def _tables(length: int, dim: int) -> list[torch.Tensor]:
    return [torch.rand(length, dim), torch.rand(length, dim)]


def _rotate_partial(x, cos, sin):
    return operations.rotate(x, cos, sin, pairing="interleaved")


def _look_up_and_rotate(x, cos, sin, ids):
    cos, sin = layouts.index_tables(cos, sin, ids)
    return operations.rotate(x, cos.unsqueeze(1), sin.unsqueeze(1))


def _flatten_and_look_up(x, cos, sin):
    cos, sin, ids = layouts.flatten_to_old_table(cos, sin)
    cos, sin = layouts.index_tables(cos, sin, ids)
    return operations.rotate(x, cos.unsqueeze(1), sin.unsqueeze(1))


def _through_angles(x, cos, sin):
    return operations.flashatt_single(x, layouts.cos_sin_to_freqs(cos, sin))


CASES: dict[str, Case] = {
    "rotate": (operations.rotate, lambda s: [torch.rand(2, 3, s, 8), *_tables(s, 8)]),
    "partial": (_rotate_partial, lambda s: [torch.rand(2, 3, s, 8), *_tables(s, 4)]),
    "vision": (
        operations.vision,
        lambda s: [torch.rand(s, 3, 8).bfloat16(), torch.rand(s, 3, 8), *_tables(s, 8)],
    ),
    "vision_single": (operations.vision_single, lambda s: [torch.rand(1, s, 3, 8).half(), torch.rand(s, 4)]),
    "flashatt": (
        operations.flashatt,
        lambda s: [torch.rand(1, s, 3, 8), torch.rand(1, s, 3, 8), *_tables(s, 8)],
    ),
    "flashatt_single": (operations.flashatt_single, lambda s: [torch.rand(1, s, 3, 8), torch.rand(s, 4)]),
    "index_tables": (
        _look_up_and_rotate,
        lambda s: [torch.rand(2, 3, s, 8), *_tables(40, 8), torch.randint(0, 40, (2, s))],
    ),
    "flatten_to_table": (
        _flatten_and_look_up,
        lambda s: [torch.rand(2, 3, s, 8), torch.rand(2, s, 8), torch.rand(2, s, 8)],
    ),
    "cos_sin_to_freqs": (_through_angles, lambda s: [torch.rand(1, s, 3, 8), *_tables(s, 8)]),
}


def outputs(result: object) -> tuple[torch.Tensor, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)  # type: ignore[arg-type]


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_dynamo")
@pytest.mark.parametrize("name", CASES)
def test_compiles_to_one_graph_for_all_lengths_with_eager_numbers_and_gradients(name):
    function, make = CASES[name]
    graphs = []

    def count(graph, example_inputs):
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    compiled = torch.compile(function, backend=aot_autograd(fw_compiler=count), fullgraph=True, dynamic=True)
    for length in (5, 6, 11):
        inputs = make(length)
        inputs[0].requires_grad_()
        got, expected = outputs(compiled(*inputs)), outputs(function(*inputs))
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
        grads = [torch.autograd.grad(result[0].sum(), inputs[0])[0] for result in (got, expected)]
        assert torch.equal(*grads)
    # One forward and one backward graph: nothing was compiled again for another length.
    assert len(graphs) == 2


@pytest.mark.parametrize("name", CASES)
def test_fake_and_meta_tensors_keep_shape_and_dtype(name):
    function, make = CASES[name]
    real = outputs(function(*make(5)))
    with FakeTensorMode() as mode:
        fake = outputs(function(*[mode.from_tensor(t) for t in make(5)]))
    meta = outputs(function(*[t.to("meta") for t in make(5)]))
    for r, f, m in zip(real, fake, meta, strict=True):
        assert r.shape == f.shape == m.shape
        assert r.dtype == f.dtype == m.dtype
        assert m.device.type == "meta"


@pytest.mark.parametrize("name", ["rotate", "vision", "flashatt"])
def test_exports(name):
    function, make = CASES[name]

    class Module(torch.nn.Module):
        def forward(self, *inputs):
            return function(*inputs)

    inputs = make(5)
    program = torch.export.export(Module(), tuple(inputs), strict=False)
    for a, b in zip(outputs(program.module()(*inputs)), outputs(function(*inputs)), strict=True):
        assert torch.equal(a, b)


def test_importing_the_package_and_the_messages_needs_no_torch():
    code = "import sys, rope_compat.rotary, rope_compat.rotary.mismatch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
