"""What must hold at the end, one matter a file: each check reads the ledger and the effects, and yields violations.

The rule of this folder: it shares no code with the engine. What it says of a run it knows from the rows of the
database, the log of effects, and what the crowd was promised.
"""
