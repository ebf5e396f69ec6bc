"""Rotary classes of transformers: every constructor form, every forward form, attributes of older releases.

Classes are changed in place, method by method; `_rules.rotary_classes` says which.
"""
