"""Shared. What exists on disk (catalog) and what a worker holds of it (registry)."""
