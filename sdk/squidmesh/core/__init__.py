"""The pure core: workflows and their histories in, decisions out. No clock, randomness, logging, threads or I/O."""
