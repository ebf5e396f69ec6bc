"""How findings are shown: pages as text and on a terminal, the catalog's timelines as text, SVG and HTML.

It knows pages and the catalog, and no record that prints itself: they import it, see `_report.page`.
"""
