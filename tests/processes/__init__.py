"""Proof with real processes: workers are killed, frozen and stopped, servers go away, and nothing is lost.

`stage.py` starts the processes, `flows.py` is what they run, `effects.py` where its effects are written down,
`invariants.py` what must hold afterwards. Nothing here looks at a clock to know that something has happened:
a step waits for a file, a test waits for a condition.
"""
