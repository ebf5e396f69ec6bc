"""Which releases compute other numbers than a given one for the model at hand, and how far off they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .._facts.drift import DRIFTS, Drift, Embedding, Span
from .._facts.regimes import TABLED, as_version, is_before
from .._outcome import Item
from ..configs.nested import rope_specs
from ..configs.reading import plain_fields
from ..configs.spec import RopeSpec
from ..errors import ArgumentError, RopeConfigError

__all__ = ["embeddings_of", "known_drift"]


def known_drift(spec_or_config: Any, model_type: str | None, version: str) -> tuple[Item, ...]:
    """The differences between releases of transformers that touch a model.

    Args:
        spec_or_config: a config of any release, native or custom, the dictionary of a config.json, or a
            `RopeSpec`; that does not say the length that the config is made for, so there are no sizes.
        model_type: as in the config; None for what the config itself says.
        version: the release that the model runs on, usually the installed one.

    Returns:
        One item for each difference: kind ``known drift``, status ``note``, what this release and the others
        do, and how to have their numbers. ``max_error`` is the phase error in radians at ``position``, the
        largest as against the nearest of the other releases, computed from the frequencies of both for this
        very config; None where it is no matter of frequencies.

    Raises:
        ArgumentError: `version` cannot be read.
        RopeConfigError: fields of the config contradict each other.
    """
    here = as_version(version)
    if here is None:
        raise ArgumentError(f'version={version!r} is not a version; expected a release such as "4.49.0"')
    found: list[Item] = []
    for path, embedding in embeddings_of(spec_or_config, model_type):
        for drift in map(_dated(embedding.model_type), DRIFTS):
            span = drift.span_of(str(here))
            if span is not None and drift.touches(embedding):
                found.append(_item(path, embedding, drift, span, str(here)))
    return tuple(found)


def embeddings_of(spec_or_config: Any, model_type: str | None) -> Iterator[tuple[str, Embedding]]:
    """Each rotary embedding of a config and of those inside it, by path and layer type.

    A config that says nothing of one counts as well, since some differences are those of a model as a whole.
    """
    if isinstance(spec_or_config, RopeSpec):
        yield from _by_layer("", spec_or_config, model_type or "", {})
        return
    outer = plain_fields(spec_or_config)
    named = model_type or str(outer.get("model_type") or "")
    specs = rope_specs(spec_or_config)
    for path, spec in (specs or {"": RopeSpec()}).items():
        inner: Any = spec_or_config
        for name in path.split(".") if path else ():
            inner = plain_fields(inner)[name]
        fields = plain_fields(inner)
        yield from _by_layer(path, spec, str(fields.get("model_type") or named) if path else named, fields)
    if specs and "" not in specs:
        yield "", Embedding(RopeSpec(), named, outer)


def _by_layer(path: str, spec: RopeSpec, model_type: str, fields: Any) -> Iterator[tuple[str, Embedding]]:
    if not spec.layers:
        yield path, Embedding(spec, model_type, fields)
    for layer_type, layer in spec.layers.items():
        if layer is not None:
            whole = replace(spec.for_layer(layer_type), head_dim=layer.head_dim or spec.head_dim)
            yield ".".join(filter(None, (path, layer_type))), Embedding(whole, model_type, fields)


def _dated(model_type: str) -> Any:
    """Fill in when rotary classes of this model lost their tables."""
    first = TABLED.get(model_type, TABLED["llama"])

    def dated(drift: Drift) -> Drift:
        if drift.name != "half-precision-frequencies":
            return drift
        from .. import catalog

        releases = catalog.releases()
        before = releases[releases.index(first) - 1]
        spans = tuple(
            replace(
                span, first=span.first.format(first=first), last=span.last and span.last.format(before=before)
            )
            for span in drift.spans
        )
        return replace(drift, spans=spans)

    return dated


def _item(path: str, embedding: Embedding, drift: Drift, span: Span, here: str) -> Item:
    others = [each for each in drift.spans if each.does != span.does]
    sizes = [(each, _size(drift, embedding, here, each)) for each in others]
    known = [(each, size) for each, size in sizes if size is not None]
    largest = max((size for _, size in known), key=lambda size: size.radians, default=None)
    does = "; ".join(f"{each} {each.does}" for each in others)
    reason = f"transformers {here} and its neighbours ({span}) {span.does}; {does}"
    scaled = next((size.factors for _, size in known if size.factors[0] != size.factors[1]), None)
    if scaled is not None:
        reason += f"; cos and sin are scaled by {scaled[0]:.4g} here and {scaled[1]:.4g} there"
    if largest is None or largest.radians == 0:
        reason += f"; measured in logits of a tiny model: {drift.measured}"
    return Item(
        name=f"{path}: {drift.name}" if path else drift.name,
        kind="known drift",
        status="note",
        reason=f"{reason} ({drift.upstream})",
        max_error=None if largest is None else largest.radians,
        fault=drift.name,
        position=None if largest is None else largest.position,
        advice=_advice(drift, others, here),
    )


def _size(drift: Drift, embedding: Embedding, here: str, other: Span) -> Any:
    """The size as against the nearest release of other ones; None where it cannot be computed."""
    if not drift.computed:
        return None
    there = other.first if other.last is None or is_before(here, other.first) else other.last
    try:
        from .drift_sizes import size_between

        return size_between(drift.computed, embedding, here, there)
    except (ImportError, RopeConfigError):
        # Without torch, or where one of the releases could not have computed it at all.
        return None


def _advice(drift: Drift, others: list[Span], here: str) -> str:
    if drift.restored_from is None or is_before(here, drift.restored_from):
        return drift.otherwise or f"for the other numbers, install transformers {others[-1]}"
    wanted = next((each for each in reversed(others) if not is_before(each.first, "4.36.0")), others[-1])
    release = wanted.last or wanted.first
    return (
        f'for the numbers of {wanted}: rope_compat.patch(written_for="{release}", numbers="written_for") '
        "before the model is made"
    )
