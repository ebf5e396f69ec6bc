"""Which names a module has: the flow analysis, against what Python binds when it runs the same code."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_compat.catalog.model import ReleaseFacts
from rope_compat.catalog.reading.facts import Binding, ModuleFacts
from rope_compat.catalog.reading.names import flow_of, negated
from rope_compat.catalog.reading.release import assemble, read_module

PACKAGE = "transformers"


def names_of(source: str) -> dict[str, Binding]:
    return flow_of(ast.parse(textwrap.dedent(source)).body, PACKAGE).names


def release(**files: str) -> ReleaseFacts:
    facts: dict[str, ModuleFacts] = {}
    for path, source in files.items():
        path = f"transformers/{path.replace('__', '/')}.py".replace("/init.py", "/__init__.py")
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        facts[path] = read_module(
            textwrap.dedent(source).encode(), module, is_package=path.endswith("__init__.py")
        )
    return assemble("9.0.0", facts)


def importable(facts: ReleaseFacts, module: str = PACKAGE) -> dict[str, tuple[str, str]]:
    return {each.name: (each.kind, each.condition) for each in facts.names[module]}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): ...", {"f": ""}),
        ("import os.path, sys as s", {"os": "", "s": ""}),
        ("a, (b, *c) = x = 1, (2, 3)", {"a": "", "b": "", "c": "", "x": ""}),
        ("a: int", {}),
        ("a: int = 1", {"a": ""}),
        ("x = 1\ndel x", {}),
        ("if ok():\n    x = 1", {"x": "ok()"}),
        ("if ok():\n    x = 1\nelse:\n    x = 2", {"x": ""}),
        ("if ok():\n    x = 1\nelse:\n    y = 2", {"x": "ok()", "y": "not ok()"}),
        ("if not ok():\n    x = 1", {"x": "not ok()"}),
        ("if not ok():\n    pass\nelse:\n    x = 1", {"x": "ok()"}),
        ("if a():\n    if b():\n        x = 1", {"x": "a() and b()"}),
        ("if a() or b():\n    if c():\n        x = 1", {"x": "(a() or b()) and c()"}),
        ("if not ok():\n    raise ImportError\nelse:\n    x = 1", {"x": ""}),
        ("if TYPE_CHECKING:\n    x = 1\nelse:\n    y = 1", {"y": ""}),
        ("if typing.TYPE_CHECKING:\n    x = 1", {}),
        ("x = 0\nif ok():\n    x = 1", {"x": ""}),
        ("if ok():\n    x = 1\nx = 0", {"x": ""}),
        ("if a():\n    x = 1\nif b():\n    x = 2", {"x": "a() or b()"}),
        ("if a():\n    x = 1\nif not a():\n    x = 2", {"x": ""}),
        ("try:\n    import x\nexcept ImportError:\n    x = None", {"x": ""}),
        ("try:\n    import x\nexcept ImportError:\n    pass", {"x": "no ImportError"}),
        ("try:\n    import x\nexcept ImportError:\n    y = 1", {"x": "no ImportError", "y": "ImportError"}),
        ("try:\n    import x\nexcept ImportError:\n    raise", {"x": ""}),
        ("try:\n    import x\nfinally:\n    y = 1", {"x": "", "y": ""}),
        ("with a() as b:\n    c = 1", {"b": "", "c": ""}),
        ("for i in x:\n    j = 1", {"i": "the loop runs", "j": "the loop runs"}),
        # How transformers says "if torch is there".
        (
            """
            try:
                if not is_torch_available():
                    raise OptionalDependencyNotAvailable()
            except OptionalDependencyNotAvailable:
                y = 1
            else:
                x = 1
            """,
            {"y": "not is_torch_available()", "x": "is_torch_available()"},
        ),
    ],
)
def test_conditions(source: str, expected: dict[str, str]) -> None:
    assert {name: binding.condition for name, binding in names_of(source).items()} == expected


def test_kinds_and_origins() -> None:
    source = "class C: ...\ndef f(): ...\nd = {}\nv = 1\nimport m\nfrom .a.b import x as y\nfrom . import z"
    assert names_of(source) == {
        "C": Binding("class"),
        "f": Binding("function"),
        "d": Binding("mapping"),
        "v": Binding("value"),
        "m": Binding("module"),
        "y": Binding("import", "", "transformers.a.b:x"),
        "z": Binding("import", "", "transformers:z"),
    }


blocks = st.deferred(
    lambda: st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.sampled_from("xyz")),
            st.tuples(st.just("raise")),
            st.tuples(st.just("if"), st.sampled_from("abc"), blocks, blocks),
            st.tuples(st.just("try"), st.sampled_from("abc"), blocks, blocks),
        ),
        max_size=3,
    )
)


def written(block: list[tuple[object, ...]], indent: str = "") -> list[str]:
    lines: list[str] = []
    for kind, *rest in block:
        if kind == "set":
            lines.append(f"{indent}{rest[0]} = 1")
        elif kind == "raise":
            lines.append(f"{indent}raise KeyError")
        else:
            test, first, second = rest
            inner = indent + "    "
            head = [f"{indent}if {test}:"] if kind == "if" else [f"{indent}try:", f"{inner}need({test})"]
            tail = f"{indent}else:" if kind == "if" else f"{indent}except ValueError:"
            lines += [
                *head,
                *written(first, inner),
                f"{inner}pass",
                tail,
                *written(second, inner),
                f"{inner}pass",
            ]  # type: ignore[arg-type]
    return lines


@given(blocks, st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_what_is_said_to_be_there_in_any_case_is_there_and_nothing_else_comes(
    block: list[tuple[object, ...]], switches: tuple[bool, bool, bool]
) -> None:
    """Whatever the conditions are: run the code, and compare what it has bound."""
    source = "\n".join(written(block))
    flow = flow_of(ast.parse(source).body, PACKAGE)

    def need(value: bool) -> None:
        if not value:
            raise ValueError

    space: dict[str, object] = {"need": need, **dict(zip("abc", switches, strict=True))}
    try:
        exec(source, space)
    except KeyError:
        return  # a module that raises cannot be imported
    bound = {name for name in "xyz" if name in space}
    always = {name for name, binding in flow.names.items() if not binding.condition}
    assert always <= bound <= set(flow.names)


@pytest.mark.parametrize(
    "condition", ["a()", "not a()", "a() and b()", "not (a() or b())", "a or not b", "not a in b"]
)
def test_negated_is_the_opposite_and_twice_the_same(condition: str) -> None:
    values = {"a": lambda: True, "b": lambda: False}
    for pair in ((True, True), (True, False), (False, True), (False, False)):
        if "in" in condition:
            values = {"a": 1, "b": [1] if pair[0] else []}  # type: ignore[dict-item]
        elif "()" in condition:
            values = {"a": lambda pair=pair: pair[0], "b": lambda pair=pair: pair[1]}  # type: ignore[misc]
        else:
            values = {"a": pair[0], "b": pair[1]}  # type: ignore[dict-item]
        assert bool(eval(negated(condition), dict(values))) is not bool(eval(condition, dict(values)))
    assert negated(negated(condition)) == condition


def test_star_imports_take_what_all_says_or_what_is_public() -> None:
    facts = release(
        init="from .a import *\nfrom .b import *",
        a="__all__ = ['f', '_g']\ndef f(): ...\ndef _g(): ...\ndef h(): ...",
        b="def x(): ...\ndef _y(): ...\nif ok():\n    z = 1",
    )
    assert importable(facts) == {
        "f": ("function", ""),
        "_g": ("function", ""),
        "x": ("function", ""),
        "z": ("value", "ok()"),
    }


def test_star_imports_in_a_circle_end() -> None:
    facts = release(init="", a="from .b import *\nx = 1", b="from .a import *\ny = 1")
    assert importable(facts, "transformers.a")["x"] == ("value", "")


LAZY = """
    _import_structure = {"models": [], "models.llama": ["LlamaConfig", "Gone"], "utils": ["logging"]}
    try:
        if not is_torch_available():
            raise OptionalDependencyNotAvailable()
    except OptionalDependencyNotAvailable:
        from .utils import dummy_pt_objects
        _import_structure["utils.dummy_pt_objects"] = [n for n in dir(dummy_pt_objects) if n[0] != "_"]
    else:
        _import_structure["models.llama"].append("LlamaModel")
        _import_structure["models.llama"].extend(["LlamaOnly"])
    if TYPE_CHECKING:
        from .models.llama import LlamaConfig
    else:
        sys.modules[__name__] = _LazyModule(__name__, x, _import_structure, extra_objects={"__version__": 1})
    hidden = 1
"""


def test_the_import_structure_of_a_lazy_package() -> None:
    facts = release(
        init=LAZY,
        models__init="",
        models__llama__init="class LlamaConfig: ...\nclass LlamaModel: ...\nclass LlamaOnly: ...",
        utils__init="",
        utils__logging="",
        utils__dummy_pt_objects="class LlamaModel: ...\nclass _Hidden: ...",
    )
    assert importable(facts) == {
        "__version__": ("value", ""),
        "LlamaConfig": ("class", ""),
        # A dummy stands in for it where torch is missing; for this one there is none.
        "LlamaModel": ("class", ""),
        "LlamaOnly": ("class", "is_torch_available()"),
        "logging": ("module", ""),
    }


def test_a_lazy_package_that_scans_its_directory() -> None:
    scanning = """
        if TYPE_CHECKING:
            from .modeling_llama import *
        else:
            _file = globals()["__file__"]
            sys.modules[__name__] = _LazyModule(__name__, _file, define_import_structure(_file))
    """
    root = """
        if TYPE_CHECKING: ...
        else:
            s = define_import_structure(Path(__file__).parent / "models", prefix="models")
            sys.modules[__name__] = _LazyModule(__name__, f, s)
    """
    facts = release(
        init=root,
        models__init=scanning,
        models__llama__init=scanning,
        models__llama__modeling_llama="""
            __all__ = ["LlamaModel", "lost"]
            class LlamaModel: ...
            class Hidden: ...
            @requires(backends=("torch",))
            class Decorated: ...
        """,
        models__llama__modular_llama="__all__ = ['Modular']\nclass Modular: ...",
        models__llama__convert_llama="__all__ = ['convert']\ndef convert(): ...",
    )
    for module in ("transformers", "transformers.models", "transformers.models.llama"):
        assert importable(facts, module) == {"LlamaModel": ("class", ""), "Decorated": ("class", "")}, module


def test_old_names_of_modules_that_go_on_working() -> None:
    facts = release(
        init="""
            if TYPE_CHECKING: ...
            else:
                _LEGACY_MODULE_ALIASES = {"tokenization_utils": "tokenization_new"}
                sys.modules[__name__] = _LazyModule(__name__, f, {})
        """,
        tokenization_new="class PreTrainedTokenizer: ...",
    )
    assert importable(facts, "transformers.tokenization_utils")["PreTrainedTokenizer"] == ("class", "")


def test_names_that_a_module_serves_itself() -> None:
    facts = release(
        init="""
            _WHERE = {"Lazy": "somewhere"}
            def __getattr__(name):
                if name in _WHERE:
                    return 1
        """
    )
    assert importable(facts) == {
        "_WHERE": ("mapping", ""),
        "__getattr__": ("function", ""),
        "Lazy": ("value", ""),
    }
