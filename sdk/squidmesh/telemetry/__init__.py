"""Subscribers to committed events. They hear; they change nothing."""
