"""What is installed, what patch() does with it, and that native calls and undoing leave it as it was."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from packaging.version import Version
from support import xt

import rope_compat
from rope_compat import _api as api
from rope_compat._rules.shim import Shim

pytestmark = xt.present

SHIMS = [shim for shim in api.SHIMS if shim.package == "x-transformers"]
#: What is wrong with a release's own calls, from the first to the last that has it.
FAULTS = {
    "einsum": ("1.22.8", "1.22.9"),
    "NameError": ("1.25.4", "1.27.5"),
    "index": ("1.27.6", "1.27.11"),
    "typ_as": ("1.27.12", "1.27.12"),
    "EinopsError": ("1.42.21", "1.43.1"),
}
#: Where every call of a module, or of one with xPos, fails.
PLAIN_FAILS = xt.between(*FAULTS["typ_as"])
XPOS_FAILS = PLAIN_FAILS or xt.between(*FAULTS["NameError"]) or xt.between(*FAULTS["EinopsError"])


@pytest.mark.only(bool(xt.EXPECTED), reason="run outside tox, where any release may be installed")
def test_the_release_is_the_one_that_the_environment_names() -> None:
    if xt.EXPECTED == "newest":
        assert xt.between("2.31.10")
    else:
        assert Version(xt.EXPECTED) == xt.HERE
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("transformers")


@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_a_shim_is_at_work_exactly_where_it_is_due(shim: Shim) -> None:
    xt.home()
    with rope_compat.patched() as patch:
        rules = {entry.rule for entry in patch.journal}
        steps = {step.shim for step in patch.plan.steps if step.state == "now"}
    assert (shim.name in rules) == (shim.name in steps) == xt.between(shim.since, shim.until)


def test_the_plan_says_what_is_mended() -> None:
    xt.home()
    details = {step.target: step.detail for step in rope_compat.plan().steps}
    text = details[f"{xt.HOME}:RotaryEmbedding.forward"]
    mended = [word for word, (first, last) in FAULTS.items() if xt.between(first, last)]
    assert [word for word in FAULTS if word in text] == mended
    assert ("mended" in text) == bool(mended)


def test_targets_choose() -> None:
    xt.home()
    with rope_compat.patched(targets="x_transformers") as patch:
        assert {entry.rule for entry in patch.journal if entry.rule != "reference"} <= {s.name for s in SHIMS}
        assert patch.journal
    with rope_compat.patched(targets="transformers") as patch:
        assert not {entry.rule for entry in patch.journal} & {shim.name for shim in SHIMS}


def native_results(module: ModuleType) -> dict[str, Any]:
    """What native calls give, or the error that they raise."""

    def result(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return type(error)

    torch.manual_seed(0)
    t = torch.randn(2, 3, 6, 8)
    plain, xpos = module.RotaryEmbedding(8), module.RotaryEmbedding(8, use_xpos=True)
    freqs = torch.randn(6, 8)[None] if xt.BATCHED else torch.randn(6, 8)
    return {
        "plain": result(lambda: xt.native_call(plain)),
        "xpos": result(lambda: xt.native_call(xpos)),
        "apply": result(lambda: module.apply_rotary_pos_emb(t, freqs)),
        "scaled": result(lambda: module.apply_rotary_pos_emb(t, freqs, freqs.abs())),
        "half": result(lambda: module.apply_rotary_pos_emb(t.bfloat16(), freqs, 0.5)),
    }


def test_native_calls_are_the_same_to_the_bit_where_they_work() -> None:
    module = xt.home()
    before = native_results(module)
    with rope_compat.patched():
        after = native_results(module)
        counted = [each for each in rope_compat.status().adapted if each.foreign_calls]
    failing = {name for name, value in before.items() if isinstance(value, type)}
    assert failing == {name for name, fails in (("plain", PLAIN_FAILS), ("xpos", XPOS_FAILS)) if fails}
    assert bool(counted) == bool(failing or xt.between(*FAULTS["index"]))
    for name in before.keys() - failing:
        one, other = (
            list(value) if isinstance(value, tuple) else [value] for value in (before[name], after[name])
        )
        for left, right in zip(one, other, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert not any(isinstance(value, type) for value in after.values())


def test_scales_by_index_before_and_by_position_after() -> None:
    if not xt.between(*FAULTS["index"]):
        return
    rotary, positions = xt.home().RotaryEmbedding(8, use_xpos=True), torch.tensor([3, 4, 9, 27])
    wrong = rotary(positions)[1]
    torch.testing.assert_close(wrong.double(), xt.scales(torch.arange(4), 8), rtol=3e-7, atol=0)
    with rope_compat.patched():
        right = rotary(positions)[1]
    torch.testing.assert_close(right.double(), xt.scales(positions, 8), rtol=3e-7, atol=0)


def graphs(call: Callable[..., Any], *args: Any) -> list[list[str]]:
    """The operations of each graph that torch.compile makes of `call`; no breaks allowed."""
    found: list[list[str]] = []

    def backend(module: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        found.append([f"{node.op} {node.target}" for node in module.graph.nodes])
        return module.forward

    torch._dynamo.reset()
    torch.compile(call, backend=backend, fullgraph=True)(*args)
    return found


def test_compiled_native_calls_have_the_same_graph() -> None:
    module = xt.home()
    t, freqs = torch.randn(2, 3, 6, 8), torch.randn(1, 6, 8) if xt.BATCHED else torch.randn(6, 8)
    rotary = module.RotaryEmbedding(8)

    def rotated(t: Any, freqs: Any) -> Any:
        return module.apply_rotary_pos_emb(t, freqs)

    def embedded(t: Any) -> Any:
        return xt.native_call(rotary, 6)

    def both() -> list[list[list[str]]]:
        return [graphs(rotated, t, freqs)] + ([] if PLAIN_FAILS else [graphs(embedded, t)])

    before = both()
    assert all(len(found) == 1 and len(found[0]) > 3 for found in before)
    with rope_compat.patched():
        assert both() == before
    assert both() == before


def test_compiled_foreign_calls_have_one_graph() -> None:
    module, rotary = xt.home(), xt.home().RotaryEmbedding(8, use_xpos=True)
    t = torch.randn(2, 3, 6, 8)

    def foreign(t: Any) -> Any:
        freqs, scale = rotary(6, "cpu")
        return module.apply_rotary_pos_emb(t, freqs[None, None], scale)

    with rope_compat.patched():
        assert len(graphs(foreign, t)) == 1
        expected = xt.rotate(t, xt.angles(torch.arange(6), 8)) * xt.scales(torch.arange(6), 8)
        torch.testing.assert_close(
            torch.compile(foreign, backend="eager")(t).double(), expected, rtol=2e-6, atol=2e-6
        )


def test_undoing_restores_identity_and_what_others_hold() -> None:
    module = xt.home()
    cls, function = module.RotaryEmbedding, module.apply_rotary_pos_emb
    forward, by_length = vars(cls)["forward"], vars(cls).get("forward_from_seq_len")
    holder = ModuleType("holds_x_transformers")
    holder.apply, holder.cls = function, cls  # type: ignore[attr-defined]
    sys.modules[holder.__name__] = holder
    try:
        with rope_compat.patched(), rope_compat.patched():
            assert module.RotaryEmbedding is holder.cls is cls
            assert holder.apply is module.apply_rotary_pos_emb is not function
            assert vars(cls)["forward"] is not forward
        assert holder.apply is module.apply_rotary_pos_emb is function
        assert vars(cls)["forward"] is forward
        assert vars(cls).get("forward_from_seq_len") is by_length
    finally:
        del sys.modules[holder.__name__]


def test_patch_before_the_import_and_the_commands_without_transformers() -> None:
    code = (
        "import sys, rope_compat\n"
        "from rope_compat._cli.main import main\n"
        "rope_compat.patch(on_problem='error')\n"
        "assert 'torch' not in sys.modules\n"
        "steps = [step for step in rope_compat.plan().steps if step.target.startswith('x_transformers')]\n"
        "assert {step.state for step in steps} == {'on import'}, steps\n"
        f"from {xt.HOME} import RotaryEmbedding, apply_rotary_pos_emb\n"
        "import torch\n"
        "freqs, scale = RotaryEmbedding(8, use_xpos=True)(5, 'cpu')\n"
        "assert freqs.shape == scale.shape == (5, 8)\n"
        "apply_rotary_pos_emb(torch.randn(2, 3, 5, 8), freqs[None, None], scale)\n"
        "assert main(['doctor']) == 0 and main(['plan']) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"OK: x-transformers {xt.HERE} is supported" in done.stdout
    assert f"and x-transformers {xt.HERE}" in " ".join(done.stdout.split())


def test_the_command_doctor_names_what_is_known_to_be_wrong() -> None:
    codes = {problem.code for problem in rope_compat.detect().problems}
    expected = {
        "x-transformers-offset": xt.between(*FAULTS["einsum"]),
        "x-transformers-xpos-cache": xt.between("1.21.0", "1.27.11"),
        "x-transformers-xpos-name": xt.between(*FAULTS["NameError"]),
        "x-transformers-xpos-index": xt.between(*FAULTS["index"]),
        "x-transformers-typ-as": PLAIN_FAILS,
        "x-transformers-xpos-einops": xt.between(*FAULTS["EinopsError"]),
        "x-transformers-xpos-batch": xt.between("1.42.21", "2.11.11"),
    }
    assert {code for code in codes if code.startswith("x-")} == {
        code for code, due in expected.items() if due
    }
