"""The first line of doctor's page: the verdict in plain words."""

from __future__ import annotations

from rope_compat._report.examination import Examination, is_unexpected
from rope_compat._report.functions import differing
from rope_compat._report.page import Tone

__all__ = ["headline"]


def headline(found: Examination) -> tuple[str, Tone]:
    """One sentence or two, and how grave they are."""
    words, tone = _verdict(found)
    if found.off:
        words += " ROPE_COMPAT=off: patch() does nothing."
    return words, tone


def _verdict(found: Examination) -> tuple[str, Tone]:
    environment = found.environment
    fatal = [problem for problem in found.problems if problem.severity == "fatal"]
    if fatal:
        return f"NOT WORKING: {fatal[0].message}.", "bad"
    name = f"transformers {environment.transformers.version}"
    if not environment.transformers.present:
        name = f"x-transformers {environment.x_transformers.version}"
    warnings = [problem for problem in environment.problems if problem.severity == "warning"]
    if environment.verdict == "development":
        words = f"DEVELOPMENT BUILD: {name} is no release{_source(found)}. {_functions(found)}"
        return words.rstrip(), "warn"
    if environment.verdict == "untested":
        reason = warnings[0].message if warnings else f"{name} is not a release that rope_compat knows"
        return f"UNTESTED: {reason}. {_functions(found)}".rstrip(), "warn"
    if warnings:
        number = "is one problem" if len(warnings) == 1 else f"are {len(warnings)} problems"
        return f"TAKE CARE: {name} is supported, but there {number}. {_functions(found)}".rstrip(), "warn"
    if any(problem.severity == "warning" for problem in found.problems):
        return f"TAKE CARE: {name} is supported, but not as released. {_functions(found)}", "warn"
    return f"OK: {name} is supported. {_functions(found)}".rstrip(), "good"


def _source(found: Examination) -> str:
    origin = found.environment.transformers.direct_url
    commit = origin.commit if origin is not None else None
    return f" (commit {commit[:12]})" if commit else ""


def _functions(found: Examination) -> str:
    """What is to be said of the functions, where they were looked at."""
    functions = found.functions
    if functions is None:
        return ""
    left = sum(map(is_unexpected, found.plan.steps))
    total = len(functions.targets)
    if not total:
        return "It has no rotary function that rope_compat knows."
    release = functions.release or "any release"
    new = f", {len(functions.unknown)} are new" if functions.unknown else ""
    sentence = f"Of its {total} rotary functions, {differing(functions)} from {release}{new}."
    if not functions.drift:
        sentence = f"Its {total} rotary functions are as in {release}{new}."
    if functions.how == "read":
        return f"{sentence} To be sure, run rope-compat doctor --deep."
    if found.off:
        return sentence
    return f"{sentence} patch() adapts {'all of them' if not left else f'all but {left} of them'}."
