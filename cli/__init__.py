"""CLI. The `mlserve` command: thin verbs over app."""

import sys
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """As Python does, but for Ctrl-C: where nothing else handles it, verbs are being imported."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, at)


sys.excepthook = _report
