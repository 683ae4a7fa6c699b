"""Shared. Bulk jobs: texts in Redis, computed chunk by chunk, every one accounted for."""
