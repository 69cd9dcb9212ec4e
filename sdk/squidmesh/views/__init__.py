"""Read models: what people and programs see of a run, folded from its history.

The rule of this folder: views read, never decide, and run nothing of the workflow's code. Values are masked.
"""
