"""``layout=`` of the functional forms, and `rope_compat.strict`: numbers, contradictions, ambiguities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import rope_compat
from rope_compat import functional, strict
from rope_compat.errors import CallFormError, LayoutError

B, H, S, D = 2, 4, 7, 8
PLAIN = ("apply_rotary_pos_emb", "apply_rotary_pos_emb_interleave")
FIXED = {
    "apply_rotary_pos_emb_vision": "bshd",
    "apply_rotary_pos_emb_flashatt": "bshd",
    "apply_rotary_pos_emb_2d": "bhsd",
}


def sample(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(layout: str, heads: int = H, length: int = S) -> tuple[Tensor, Tensor]:
    """q and k in a layout, the same numbers in both; k has fewer heads."""
    q, k = sample(B, heads, length, D), sample(B, heads, length, D, seed=1)
    return (q, k) if layout == "bhsd" else (q.transpose(1, 2), k.transpose(1, 2))


def tables(length: int = S, batch: int | None = None, width: int = D) -> tuple[Tensor, Tensor]:
    angles = torch.arange(length)[:, None] / 100 ** (torch.arange(0, width, 2) / width)
    angles = torch.cat((angles, angles), dim=-1)
    angles = angles if batch is None else angles.expand(batch, -1, -1)
    return angles.cos(), angles.sin()


def turned(outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return tuple(x.transpose(1, 2) for x in outputs)


@pytest.fixture(params=[functional, strict], ids=["functional", "strict"])
def functions(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("name", PLAIN)
def test_a_layout_is_an_unsqueeze_dim(functions: Any, name: str) -> None:
    apply = getattr(functions, name)
    cos, sin = tables(batch=B)
    right = apply(*pair("bhsd"), cos, sin, unsqueeze_dim=1)
    for layout, axis in (("bhsd", 1), ("bshd", 2)):
        q, k = pair(layout)
        expected = right if layout == "bhsd" else turned(right)
        for found in (
            apply(q, k, cos, sin, layout=layout),
            apply(q=q, k=k, cos=cos, sin=sin, layout=layout),
            apply(q, k, cos, sin, unsqueeze_dim=axis, layout=layout),
            apply(q, k, cos, sin, None, axis, layout=layout),
            apply(q, k, cos, sin, unsqueeze_dim=axis - 4, layout=layout),
            # Without a batch: what is declared says where the positions are.
            apply(q, k, cos[0], sin[0], layout=layout),
            apply(q, k, *tables(20), torch.arange(S)[None], layout=layout),
            apply(q, k, *tables(20), position_ids=torch.arange(S), layout=layout),
        ):
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", PLAIN)
def test_packed_tokens(functions: Any, name: str) -> None:
    apply = getattr(functions, name)
    cos, sin = tables()
    (q, k), right = (x[0] for x in pair("bhsd")), apply(*pair("bhsd"), cos[None], sin[None], layout="bhsd")
    found = apply(q, k, cos, sin, layout="bhsd")
    assert all(torch.equal(x, y[0]) for x, y in zip(found, right, strict=True))
    found = apply(q.transpose(0, 1), k.transpose(0, 1), cos, sin, layout="bshd")
    assert all(torch.equal(x.transpose(0, 1), y[0]) for x, y in zip(found, right, strict=True))


@pytest.mark.parametrize("name", PLAIN)
def test_a_mismatch_names_the_axes(functions: Any, name: str) -> None:
    apply = getattr(functions, name)
    cos, sin = tables(batch=B)
    with pytest.raises(LayoutError) as error:
        apply(*pair("bshd"), cos, sin, layout="bhsd")
    for part in (
        "q has shape (2, 7, 4, 8)",
        'layout="bhsd", (b, h, s, d)',
        "axis 2, the positions, has length 4",
        "hold 7 positions",
        'Axis 1 has length 7: pass layout="bshd", or transpose q and k with .transpose(1, 2)',
    ):
        assert part in str(error.value)
    with pytest.raises(LayoutError, match=r'axis 1, the positions, has length 4.*pass layout="bhsd"'):
        apply(*pair("bhsd"), cos, sin, layout="bshd")
    # k alone.
    with pytest.raises(LayoutError, match=r"k has shape \(2, 7, 4, 8\)"):
        apply(pair("bhsd")[0], pair("bshd")[1], cos, sin, layout="bhsd")
    # One head: without the declaration, each position would meet every other one.
    with pytest.raises(LayoutError, match="axis 2, the positions, has length 1"):
        apply(sample(B, S, 1, D), sample(B, S, 1, D), cos, sin, layout="bhsd")
    with pytest.raises(LayoutError, match="hold 5 positions"):
        apply(*pair("bhsd"), *tables(20), torch.arange(5)[None], layout="bhsd")


@pytest.mark.parametrize("name", [*PLAIN, "apply_multimodal_rotary_pos_emb"])
def test_a_contradiction_is_refused(functions: Any, name: str) -> None:
    apply = getattr(functions, name)
    cos, sin = tables(batch=B)
    for axis, layout in ((2, "bhsd"), (1, "bshd"), (-2, "bhsd")):
        with pytest.raises(CallFormError, match=rf"means unsqueeze_dim=\d.*unsqueeze_dim={axis} was given"):
            apply(*pair(layout), cos, sin, unsqueeze_dim=axis, layout=layout)
    with pytest.raises(CallFormError, match="layout='sbhd' is not known"):
        apply(*pair("bhsd"), cos, sin, layout="sbhd")


@pytest.mark.parametrize("name", FIXED)
def test_functions_that_have_one_layout_take_both(functions: Any, name: str) -> None:
    apply, native = getattr(functions, name), FIXED[name]
    other = "bhsd" if native == "bshd" else "bshd"
    cos, sin = tables()
    right = apply(*pair(native), cos, sin)
    assert all(map(torch.equal, apply(*pair(native), cos, sin, layout=native), right))
    assert all(map(torch.equal, apply(*pair(other), cos, sin, layout=other), turned(right)))
    q, k = pair(other)
    assert all(map(torch.equal, apply(q=q, k=k, cos=cos, sin=sin, layout=other), turned(right)))
    with pytest.raises(LayoutError, match=f'pass layout="{other}"'):
        apply(*pair(other), cos, sin, layout=native)
    with pytest.raises(CallFormError, match="layout='sbhd' is not known"):
        apply(*pair(native), cos, sin, layout="sbhd")


@pytest.mark.parametrize("name", ["apply_rotary_pos_emb_vision", "apply_rotary_pos_emb_flashatt"])
def test_one_tensor_and_its_angles(functions: Any, name: str) -> None:
    apply = getattr(functions, name)
    freqs = torch.arange(S)[:, None] / 100 ** (torch.arange(0, D, 2) / D)
    x = sample(1, S, H, D)
    right = apply(x, freqs)
    assert torch.equal(apply(x, freqs, layout="bshd"), right)
    assert torch.equal(apply(tensor=x.transpose(1, 2), freqs=freqs, layout="bhsd"), right.transpose(1, 2))
    with pytest.raises(LayoutError, match=r'tensor has shape.*pass layout="bshd"'):
        apply(x, freqs, layout="bhsd")


def test_sections(functions: Any) -> None:
    apply = functions.apply_multimodal_rotary_pos_emb
    cos, sin = (table.expand(3, B, S, D) for table in tables())
    right = apply(*pair("bhsd"), cos, sin, [1, 1, 2])
    assert all(map(torch.equal, apply(*pair("bhsd"), cos, sin, [1, 1, 2], layout="bhsd"), right))
    assert all(map(torch.equal, apply(*pair("bshd"), cos, sin, [1, 1, 2], layout="bshd"), turned(right)))
    with pytest.raises(LayoutError, match='pass layout="bshd"'):
        apply(*pair("bshd"), cos, sin, [1, 1, 2], layout="bhsd")


ALL = (*PLAIN, *FIXED)


@pytest.mark.parametrize("name", ALL)
def test_as_many_heads_as_positions(name: str) -> None:
    """Both layouts fit: usually the first is taken for granted, and the other is wrong without a word."""
    cos, sin = tables(S, None if name in FIXED else B)
    q, k = pair("bhsd", heads=S)
    usual = getattr(functional, name)
    assert not torch.equal(usual(q, k, cos, sin)[0], usual(q.transpose(1, 2), k, cos, sin)[0].transpose(1, 2))
    careful = getattr(strict, name)
    with pytest.raises(LayoutError, match=r"as many heads as positions.*strict=True refuses that"):
        careful(q, k, cos, sin)
    for layout in ("bhsd", "bshd"):
        assert all(
            map(torch.equal, careful(q, k, cos, sin, layout=layout), usual(q, k, cos, sin, layout=layout))
        )
    if name in PLAIN:
        assert all(map(torch.equal, careful(q, k, cos, sin, unsqueeze_dim=1), usual(q, k, cos, sin)))


@pytest.mark.parametrize("name", PLAIN)
def test_what_strict_does_not_mind(name: str) -> None:
    usual, careful = getattr(functional, name), getattr(strict, name)
    cos, sin = tables(S, B)
    projected = sample(B, S, S * D).view(B, S, S, D).transpose(1, 2)
    # As a model makes it; other lengths; k with fewer heads; one position.
    calls: list[tuple[Any, ...]] = [
        (projected, projected, cos, sin),
        (*pair("bhsd"), cos, sin),
        (pair("bhsd", heads=S)[0], pair("bhsd")[1], cos, sin),
        (sample(B, S, 1, D), sample(B, 1, 1, D), cos[:, :1], sin[:, :1]),
        (*pair("bhsd", heads=S), *tables(20), torch.arange(S)[None], 1),
    ]
    for call in calls:
        assert all(map(torch.equal, careful(*call), usual(*call)))
    with pytest.raises(
        LayoutError, match=r"axis 2, the positions in layout .*, has length 1, but cos and sin hold 7"
    ):
        careful(sample(B, S, 1, D), sample(B, S, 1, D), cos, sin)


def test_it_is_off_unless_asked_for() -> None:
    # The adapter itself, and nothing around it: what is not asked for costs nothing.
    for name in PLAIN:
        code = getattr(functional, name).__code__
        assert code.co_name == "q_k_cos_sin"
        assert code is not getattr(strict, name).__code__
    assert rope_compat.strict is strict
