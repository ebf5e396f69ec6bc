"""Patches of other projects, unmodified, under rope_compat: see docs/troubleshooting/other-patches.md."""
