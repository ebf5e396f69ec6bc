"""Replace attributes of modules reversibly: rules, edits, import hooks, references held elsewhere, undo.

Knows neither torch nor rotary embeddings, and would serve any library. `engine` is where to start reading.
"""
