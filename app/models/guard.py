"""Worker process. Whatever a file makes a library raise becomes one `ArtifactInvalid`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import ArtifactInvalid, ModelError

logger = logging.getLogger(__name__)

MAX_REASON_CHARS = 200


@contextmanager
def only_model_errors(subject: str) -> Iterator[None]:
    """Let `ModelError` through and turn all other errors, SystemExit too, into `ArtifactInvalid`.

    A damaged or hostile file may trip a library anywhere, with RecursionError or MemoryError as
    well, and a pickle may try to end the process.
    """
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        logger.debug("reading a model failed", exc_info=True, extra={"subject": subject})
        raise ArtifactInvalid(subject, _reason(error)) from error


def _reason(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) else str(error)
    said = " ".join((said or "").split())
    kind = type(error).__name__
    # A library's message may name files of this machine.
    if not said or "/" in said or "\\" in said:
        return f"it cannot be read ({kind})"
    return f"it cannot be read ({kind}: {said[:MAX_REASON_CHARS]})"
