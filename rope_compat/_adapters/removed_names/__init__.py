"""Names beside RoPE that transformers has taken away, and what they were: data, and implementations beside.

Nothing here is imported before somebody asks for such a name; torch only by what needs it.
"""
