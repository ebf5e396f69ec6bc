"""Which tests run in which environments of the matrix: four lanes, with the reason for each.

Data only: `tests/conftest.py` selects by it, ``docs/make_matrix.py`` makes a
table of it for ``docs/matrix.md``.
"""

from __future__ import annotations

CONTRACT, GENERATION, ONCE, PEERS = "contract", "generation", "once", "peers"

#: What each lane is for.
LANES = {
    CONTRACT: "must hold on every release, as each release has signatures, classes and configs of its own",
    GENERATION: "depends on what a generation of releases has in common, and costs much: compiled graphs, "
    "planted mistakes, models of custom code, fresh processes",
    ONCE: "does not depend on the installed release: the catalog, the engine, the mathematics",
    PEERS: "needs another package than transformers, which one environment has",
}

#: Which environments run a lane, and why these; every one that has transformers runs the contract.
ENVIRONMENTS = {
    GENERATION: {
        "tf4.36.2": "tables of cos and sin",
        "tf4.43.4": "init functions, configs in the constructors",
        "tf4.48.3": "position_embeddings",
        "tf4.57.6": "the last of 4.x",
        "tf5.0.0": "rope_parameters, and a loader that overwrites buffers",
        "tf5.10.4": "config classes as dataclasses",
        "tf5.16.1": "the last with sections that attention merges",
        "tfnewest": "the newest",
    },
    ONCE: {"tfnewest": "one is enough"},
    PEERS: {"liger": "Liger's kernels", "xt": "x-transformers", "llms": "LLMs-from-scratch"},
}

#: The lane of a test file or of a folder; what is not named is in the contract. A test that is marked
#: with a lane is in that one, wherever its file is.
FILES = {
    # Patching knows neither torch nor transformers.
    "patching": ONCE,
    # Reads this repository, what the package ships, or files that the tests write.
    "devbuild/test_project_scripts.py": ONCE,
    "third_party": ONCE,
    "unit/test_architecture.py": ONCE,
    "unit/test_cli.py": ONCE,
    "unit/test_cli_identify.py": ONCE,
    "unit/test_cli_pages.py": ONCE,
    "unit/test_cli_plan.py": ONCE,
    "unit/test_identify.py": ONCE,
    "unit/test_loading_construction.py": ONCE,
    "unit/test_packaging.py": ONCE,
    "unit/test_report_timeline.py": ONCE,
    "unit/test_rope_spec.py": ONCE,
    "unit/test_rope_spec_round_trip.py": ONCE,
    "user/test_pairing_conversion.py": ONCE,
    "user/test_tutorial.py": ONCE,
    # The catalog has all releases: what it says of them, and the records against it, for all at once.
    "unit/test_canary.py": ONCE,
    "unit/test_catalog.py": ONCE,
    "unit/test_catalog_changes.py": ONCE,
    "unit/test_catalog_command.py": ONCE,
    "unit/test_catalog_history.py": ONCE,
    "unit/test_catalog_names.py": ONCE,
    "unit/test_catalog_reading.py": ONCE,
    "unit/test_catalog_sources.py": ONCE,
    "unit/test_catalog_update.py": ONCE,
    "unit/test_class_coverage.py": ONCE,
    "unit/test_cli_history.py": ONCE,
    "unit/test_drift_records.py": ONCE,
    "unit/test_function_records.py": ONCE,
    "unit/test_rope_types.py": ONCE,
    "user/test_removed_names_table.py": ONCE,
    # The mathematics, held against itself.
    "unit/test_layouts_declared.py": ONCE,
    "unit/test_rotary_conversion.py": ONCE,
    "unit/test_rotary_flash.py": ONCE,
    "unit/test_rotary_layouts.py": ONCE,
    "unit/test_rotary_mismatch.py": ONCE,
    "unit/test_rotary_operations.py": ONCE,
    "unit/test_rotary_pairing.py": ONCE,
    "unit/test_rotary_parameters.py": ONCE,
    "unit/test_rotary_properties.py": ONCE,
    "unit/test_rotary_reference.py": ONCE,
    "unit/test_rotary_tracing.py": ONCE,
    # Metadata of made-up installations.
    "unit/test_environment.py": ONCE,
    "unit/test_environment_judge.py": ONCE,
    "unit/test_environment_x_transformers.py": ONCE,
    # The installed release's files, and what imports of them give. The two readings of every file are marked
    # to run once: `rope-compat catalog verify` reads those of all releases.
    "unit/test_catalog_installed.py": GENERATION,
    "unit/test_environment_drift.py": GENERATION,
    # Planted mistakes and whole installations: what verify and identify know is data of generations.
    "unit/test_cli_doctor.py": GENERATION,
    "user/test_conventions.py": GENERATION,
    "user/test_drift.py": GENERATION,
    "user/test_identify_models.py": GENERATION,
    "user/test_identify_transformers.py": GENERATION,
    "user/test_verify_installation.py": GENERATION,
    "user/test_verify_model.py": GENERATION,
    # Dynamo traces plain functions: which functions these are is the contract's matter. Tests of one graph in
    # other files are marked with this lane.
    "user/test_compile.py": GENERATION,
    "user/test_init_compile.py": GENERATION,
    "user/test_rotary_class_compile.py": GENERATION,
    # Whole files of custom code against goldens; test_loading.py keeps each way of loading.
    "user/test_custom_models.py": GENERATION,
    # Processes of their own, seconds each.
    "unit/test_glance.py": GENERATION,
    "user/test_example.py": GENERATION,
    "user/test_order_when_fresh.py": GENERATION,
    "user/test_pickling.py": GENERATION,
    # Names beside RoPE: which there are is held against the catalog, once.
    "user/test_removed_names.py": GENERATION,
    "user/test_removed_names_masks.py": GENERATION,
    # Others' patches, unmodified: each was written for one generation.
    "user/test_other_patches.py": GENERATION,
    # x-transformers, LLMs-from-scratch, Liger's kernels.
    "from_scratch": PEERS,
    "unit/test_rotary_xpos.py": PEERS,
    "user/test_liger.py": PEERS,
    "xtransformers": PEERS,
}

#: Files that import every model of the release, after which each patch() and undo() has hundreds of modules
#: to look at: they come last, so that the others do not pay for it.
LAST = (
    "user/test_every_module.py",
    "user/test_every_rotary_class.py",
    "user/test_identify_transformers.py",
    "user/test_one_form_functions.py",
    "user/test_verify_installation.py",
)


def lane_of(path: str) -> str:
    """The lane of a test file, by its path below ``tests``."""
    return FILES.get(path) or FILES.get(path.partition("/")[0]) or CONTRACT


def lanes_of(environment: str) -> tuple[str, ...]:
    """The lanes that an environment runs: all, unless it stands for one release or for one package."""
    if environment in ENVIRONMENTS[PEERS]:
        return (PEERS,)
    if not environment.startswith(("tf", "kernels")) or environment in ("tfany", "tfmain"):
        return tuple(LANES)
    return (CONTRACT, *(lane for lane in (GENERATION, ONCE) if environment in ENVIRONMENTS[lane]))
