"""The mathematics of rotary position embedding: pairings, cos/sin layouts, operations, an fp64 reference.

Rotary position embedding (RoFormer, Su et al., 2021, arXiv 2104.09864) turns each pair of channels of q and
k by an angle proportional to the token's position. Which channels make a pair, and how the angles travel
(tables, gathered values, half width, bare angles), is what differs between models and releases of
transformers:

- `pairing`: which channels make a pair;
- `layouts`: the forms in which cos and sin are handed over, and conversions between them;
- `mismatch`: why shapes do not meet, in words;
- `operations`: the functions that adapters call, equal to the bit to the transformers functions they stand
  for;
- `frequencies`: inverse frequencies of every rope type, equal to the bit to transformers' init functions;
- `reference`, `exact`: the same mathematics in fp64, written a second time and differently, to judge the
  operations and frequencies by.

Nothing is imported here, so that importing a neighbour does not import torch. No module of this package knows
any other part of rope_compat but `rope_compat.errors`.
"""
