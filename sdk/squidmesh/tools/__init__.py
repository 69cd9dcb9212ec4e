"""What steps may use to talk to the world outside. Each tool is a module of its own, imported by name."""
