"""Worker process. skops.io, imported without torch.

On import skops walks through all of scikit-learn to collect the types that it trusts, and comes
through a module that imports torch where that is installed: 3 s and 190 MB in every worker, for
nothing. An entry of None makes that one import fail, which the walk takes as "not installed".
"""

import sys

_TORCH_ADAPTER = "sklearn.externals.array_api_compat.torch"


def _import_without_torch() -> None:
    if _TORCH_ADAPTER in sys.modules or "skops.io" in sys.modules:
        return
    import sklearn  # noqa: F401 - what the walk needs must be there before

    sys.modules[_TORCH_ADAPTER] = None  # type: ignore[assignment]
    try:
        import skops.io  # noqa: F401
    finally:
        del sys.modules[_TORCH_ADAPTER]


_import_without_torch()

from skops.io import dumps, loads  # noqa: E402
from skops.io.exceptions import UntrustedTypesFoundException  # noqa: E402

__all__ = ["UntrustedTypesFoundException", "dumps", "loads"]
