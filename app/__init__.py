"""Shared. The domain of mlserve: models, inference and the HTTP API as one subpackage of it."""
