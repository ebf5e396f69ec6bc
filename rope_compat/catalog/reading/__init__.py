"""Reads source files into facts, by parsing alone; nothing is imported or executed.

`rope_compat.catalog.reading.release` puts together what the other modules read, each one kind of fact.
"""
