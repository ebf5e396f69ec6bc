"""How facts are kept: runs of builds with equal facts, in one file. The format is described in
`docs/catalog.md`.
"""
