"""Shared. What the service counts, and what is read from the counts."""
