"""The mathematics of rotary position embedding: pairings, cos/sin layouts, operations, an fp64 reference.

Rotary position embedding (RoFormer, Su et al., 2021, arXiv 2104.09864) turns each pair of channels of q and
k by an angle proportional to the token's position. Which channels make a pair, and how the angles travel
(tables, gathered values, half width, bare angles), is what differs between models and releases of
transformers:

- `pairing`: which channels make a pair;
- `layouts`: the forms in which cos and sin are handed over, conversions between them, and layouts of q and k;
- `mismatch`: why shapes do not meet, in words;
- `operations`: the functions that adapters call, equal to the bit to the transformers functions they stand
  for (`rotation`: Llama's, `flash`: those with flash-attn's kernel);
- `frequencies`: inverse frequencies of every rope type, equal to the bit to transformers' init functions;
- `reference`, `exact`: the same mathematics in fp64, written a second time and differently, to judge the
  operations and frequencies by; `parameters` reads them from a config's keys;
- `angles`, `xpos`, `decay`: what else has a definition, in fp64: sections and axes, xPos, RoFormer's bound.

Nothing is imported here, so that importing a neighbour does not import torch. No module of this package knows
any other part of rope_compat but `rope_compat.errors` and the table of rope types.
"""
