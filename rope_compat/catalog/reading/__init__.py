"""Reads one source file into facts, by parsing alone; nothing is imported or executed.

`rope_compat.catalog.reading.module.read_module` is the entry; the other modules each read one kind of fact.
"""
