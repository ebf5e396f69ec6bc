"""Functions that stand in a target's place: native calls straight through, foreign ones translated.

One module per family: `rotary_pos_emb`, `vision`, `flashatt`. `generation` reads what a live function is;
`forms` lists the call forms there have been. Nothing is imported here, so that a plan can be made without
torch.
"""
