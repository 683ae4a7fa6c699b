"""Shared. What callers tell of predictions, by their ids; and how good a version is by it."""
