"""What a system or a store refuses, distinguished from faults of a checkpoint itself."""

import errno
import os
import re
from itertools import chain
from pathlib import Path

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # its own fault; other numbers are the system's
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")  # as tensorstore ends its messages
# packages that speak with object stores
_CLIENTS = {"aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests"}
_REFUSALS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED")


def refusal(fault: BaseException | None) -> str:
    """Return what the system refused where a checkpoint is unreadable through no fault of its own; '' else."""
    while fault is not None:
        code = _OS_ERROR.search(str(fault))
        number = int(code[1]) if code else getattr(fault, "errno", None)
        if number is not None and number not in _MISSING:
            return os.strerror(number)
        of_system = isinstance(fault, (MemoryError, TimeoutError, ConnectionError, PermissionError))
        if of_system or _is_of_client(fault) or any(word in str(fault) for word in _REFUSALS):
            return cause(fault)
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    return ""


def _is_of_client(fault: BaseException) -> bool:
    """Return whether an object store, or the way to it, refused; gcsfs says 'Forbidden' in an OSError's text."""
    return type(fault).__module__.partition(".")[0] in _CLIENTS or str(fault).startswith("Forbidden: ")


def denied(folder: Path) -> str:
    """Return what may not be read in a checkpoint and so looks as if it were missing; '' where everything may."""
    inside = (Path(parent, name) for parent, folders, names in os.walk(folder) for name in folders + names)
    unreadable = (
        path for path in chain([folder], inside) if not os.access(path, os.R_OK) and os.path.lexists(path)
    )
    return next((f"no permission to read {path}" for path in unreadable), "")


def cause(fault: Exception) -> str:
    """Return the end of a chain such as 'Error writing a: failed to write b: No space left on device'."""
    return str(fault).strip().split(": ")[-1].partition(" [")[0][:200] or type(fault).__name__
