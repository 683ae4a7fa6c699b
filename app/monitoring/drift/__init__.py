"""Shared. Whether the traffic of a version is still like what it was trained on."""
