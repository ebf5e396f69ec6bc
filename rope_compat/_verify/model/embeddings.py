"""The rotary embeddings of a model: which modules hold them, and which configuration each belongs to."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..._adapters.classes.shape import native_of, parameters
from ..._facts.config_fields import FULL, LOCAL_MODULES, SLIDING
from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from .expected import Described, describe

__all__ = ["Settings", "Unit", "gives_sin_first", "layers_of", "own_tensors", "units"]

_NAME = re.compile(r"rotary|rope(?!r)", re.IGNORECASE)
_NOT = re.compile(r"attention|attn|layer|block|model|decoder", re.IGNORECASE)
_TENSORS = re.compile(
    r"_?(inv_freq|freqs_cis|freqs_ci|cos_cached|sin_cached|freqs_cos|freqs_sin)$|embed_positions$"
)
_NESTED = re.compile(r"(?P<layer>\w+?)_inv_freq$")
_OF_PICTURES = re.compile(r"vision|visual|image|audio|speech|2d", re.IGNORECASE)
#: Models whose configs have no theta: `create_sinusoidal_positions` of their modeling files has it.
_FIXED_THETA = {"gptj": 10000.0, "codegen": 10000.0}


@dataclass(frozen=True)
class Unit:
    """One rotary embedding: a module, or what a module holds for one kind of layers.

    Attributes:
        path: of the module in the model.
        module: the module.
        layer_type: the kind of layers, where the module is asked with one, or is for one.
        described: what its configuration says; None where it says nothing.
        reason: why there is nothing to compare with.
        by_type: the module's forward takes the layer type.
    """

    path: str
    module: nn.Module
    layer_type: str | None
    described: Described | None
    reason: str = ""
    by_type: bool = False

    @property
    def name(self) -> str:
        """For people."""
        name = self.path or type(self.module).__name__
        return f"{name}[{self.layer_type}]" if self.by_type else name

    @property
    def is_named_rotary(self) -> bool:
        """Whether its class is called after what it does, so that its forward gives cos and sin."""
        return bool(_NAME.search(type(self.module).__name__))

    @property
    def frequencies(self) -> tuple[str, Tensor | None]:
        """Name and value of the inverse frequencies; None where the module keeps none."""
        name = f"{self.layer_type}_inv_freq" if self.by_type else "inv_freq"
        value = getattr(self.module, name, None)
        return name, value if isinstance(value, Tensor) else None


class Settings:
    """Which configuration a module belongs to: its own, or that of the nearest module around it."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._specs: dict[int, RopeSpec | RopeConfigError] = {}

    def config_of(self, path: str) -> Any:
        """The configuration for the module at `path`; None if there is none."""
        parts = path.split(".") if path else []
        chain: list[nn.Module] = [self._model]
        for part in parts:
            inner = chain[-1]._modules.get(part)
            if inner is None:
                break
            chain.append(inner)
        if parts and parts[-1] in LOCAL_MODULES:
            chain.pop()  # it has a copy of the config, with the local theta in place of the other
        for module in reversed(chain):
            config = vars(module).get("config")
            if config is not None and not isinstance(config, dict):
                return config
        return None

    def spec_of(self, config: Any) -> RopeSpec:
        """Its specification, of its text part where it says nothing itself.

        Raises:
            RopeConfigError: the configuration contradicts itself.
        """
        known = self._specs.get(id(config))
        if known is None:
            try:
                known = RopeSpec.of(config)
                if known.theta is None and not known.layers and hasattr(config, "text_config"):
                    known = RopeSpec.of(config.text_config)
            except RopeConfigError as error:
                known = error
            self._specs[id(config)] = known
        if isinstance(known, RopeConfigError):
            raise known
        return known

    def _is_of_text(self, config: Any) -> bool:
        own = RopeSpec.of(config)
        return own.theta is None and not own.layers and hasattr(config, "text_config")

    def described(self, path: str, layer_type: str | None) -> tuple[Described | None, str]:
        """What the configuration of a module says, or why it cannot be told."""
        config = self.config_of(path)
        if config is None:
            return None, "no module around it has a config"
        try:
            spec = self.spec_of(config)
            if spec.theta is None and not spec.layers:
                spec = replace(spec, theta=_FIXED_THETA.get(getattr(config, "model_type", "")))
            if spec.theta is None and not any(layer and layer.theta for layer in spec.layers.values()):
                return None, f"{type(config).__name__} does not say which theta it has"
            source = _text(config) if self._is_of_text(config) else config
            return describe(source, spec, layer_type), ""
        except RopeConfigError as error:
            return None, f"the config cannot be judged: {error}"


def _text(config: Any) -> Any:
    return getattr(config, "text_config", config)


def units(model: nn.Module, settings: Settings) -> list[Unit]:
    """Every rotary embedding of a model, each module once."""
    found: list[Unit] = []
    seen: set[int] = set()
    for path, module in model.named_modules():
        if id(module) not in seen and _is_rotary(module):
            seen.add(id(module))
            found += _of_module(path, module, settings)
    return found


def _is_rotary(module: nn.Module) -> bool:
    name = type(module).__name__
    if any(_TENSORS.search(attribute) for attribute in own_tensors(module)):
        return True
    # Such that compute lazily have no tensors yet; containers are not meant.
    return bool(_NAME.search(name)) and not _NOT.search(name) and not module._modules


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Buffers and plain tensor attributes of one module, by name."""
    found = {name: value for name, value in module._buffers.items() if value is not None}
    found |= {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    return found


def _of_module(path: str, module: nn.Module, settings: Settings) -> Iterator[Unit]:
    if _OF_PICTURES.search(f"{path} {type(module).__name__}") and "Text" not in type(module).__name__:
        yield Unit(path, module, None, None, "not an embedding of text positions")
        return
    nested = layers_of(module)
    for name in nested:
        described, reason = settings.described(path, name)
        yield Unit(path, module, name, described, reason, by_type=True)
    if not nested:
        layer_type = _layer_type(path, settings)
        described, reason = settings.described(path, layer_type)
        yield Unit(path, module, layer_type, described, reason)


def layers_of(module: nn.Module) -> list[str]:
    """The layer types that one module holds frequencies for."""
    matches = (_NESTED.fullmatch(name) for name in own_tensors(module))
    names = [match["layer"] for match in matches if match]
    return [name for name in names if name != "original" and not name.endswith("_original")]


def _layer_type(path: str, settings: Settings) -> str | None:
    """Which layers a module is for, where the configuration has several kinds and each a module."""
    config = settings.config_of(path)
    try:
        spec = settings.spec_of(config) if config is not None else None
    except RopeConfigError:
        return None
    if spec is None or not spec.layers:
        return None
    local = path.rpartition(".")[2] in LOCAL_MODULES or ".local" in path
    return SLIDING if local else FULL if FULL in spec.layers else None


def real(value: Tensor) -> Tensor:
    """A tensor for measuring: float64 on the CPU."""
    if value.is_complex():
        return value.detach().to("cpu", torch.complex128)
    return value.detach().to("cpu", torch.float64)


def gives_sin_first(cls: type[nn.Module]) -> bool:
    """Whether a rotary class gives sin and cos: the function beside it takes ``(tensor, sin, cos)``.

    GPT-J and CodeGen, which have rotary classes from 5.24.0 on.
    """
    function = vars(sys.modules.get(cls.__module__, object)).get("apply_rotary_pos_emb")
    names = parameters(native_of(function)) if callable(function) else ()
    return {"sin", "cos"} <= set(names) and names.index("sin") < names.index("cos")
