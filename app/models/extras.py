"""Worker process. Libraries that an installation may lack, and what brings them."""

import importlib
from collections.abc import Mapping
from typing import Any

from app.errors import LibraryMissing


def import_optional(module: str, extras: Mapping[str, str]) -> Any:
    """The module; `extras` has the extra of this package that brings a library, by the library.

    Raises `LibraryMissing` with what to install where it needs one of these that is absent.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in extras:
            raise
        raise LibraryMissing(library, extras[library]) from error
