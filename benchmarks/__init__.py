"""Harness. Measures mlserve and the servers it is compared with, side by side in one run.

Nothing of the product imports this package. docs/benchmarks.md says how to run it.
"""
