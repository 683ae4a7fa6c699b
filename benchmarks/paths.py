"""Harness. Where things are: the project, and the state that the harness keeps."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "benchmarks" / "requirements"
WRK_SCRIPT = ROOT / "benchmarks" / "load.lua"
# Virtual environments, logs, texts and results; not in git.
STATE = ROOT / ".bench"
REAL_TEXTS = ROOT / ".data" / "sentiment.jsonl"
FALLBACK_TEXTS = ROOT / "tests" / "data" / "held_out.jsonl"
