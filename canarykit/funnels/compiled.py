"""The scans compiled: the same source, its names bound to machine code, cached on disk.

A compiled function cannot call a plain one, so each scan is rebound to a namespace in which its callees are
compiled already. The cache is keyed by a digest of every scan's source: changing one recompiles all.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from canarykit.compiler import njit
from canarykit.funnels.engine import actor, scan_ordered, scan_trends, scan_unordered
from canarykit.funnels.packed import bucket_memory, bucket_scan, pack_kernels, scan_single_matches

_SOURCES = (
    scan_ordered,
    scan_unordered,
    actor,
    scan_trends,
    pack_kernels,
    bucket_memory,
    scan_single_matches,
    bucket_scan,
)


def compiled(name: str) -> Any:
    """The compiled form of a scan, by the name of its plain form."""
    return _namespace()[name]


@cache
def _namespace() -> dict[str, Any]:
    digest = hashlib.sha256("".join(inspect.getsource(module) for module in _SOURCES).encode()).hexdigest()
    bound: dict[str, Any] = {"__name__": __name__, "np": np}
    for module in _SOURCES:
        bound.update({key: value for key, value in vars(module).items() if isinstance(value, int)})
        inlined = getattr(module, "INLINED", ())  # small ones whose call would cost more than they do
        for function in module.KERNELS:
            copy = FunctionType(function.__code__, bound, function.__name__)
            copy.__qualname__ = f"{function.__name__}_{digest[:12]}"
            bound[function.__name__] = njit(forceinline=function in inlined)(copy)
    return bound
