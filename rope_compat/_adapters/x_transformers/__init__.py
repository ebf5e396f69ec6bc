"""x-transformers' rotary embedding: its call forms in every release from 1.16.0 on, and its broken releases.

Knows the live class and function, and not who patches what.
"""
