"""Shared. From texts to predictions: gateways (API) and the engine that computes (worker)."""
