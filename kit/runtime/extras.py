"""Check that the packages of an extra of kit are installed before a command needs them."""

from __future__ import annotations

from importlib.util import find_spec

from kit.errors import KitError


def require_extra(command: str, extra: str, *packages: str, why: str) -> None:
    """Check that packages can be imported.

    Args:
        command: The command that needs them.
        extra: What to install, such as ``kit[tune]``.
        why: What kit needs them for, as a sentence.

    Raises:
        KitError: One is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise KitError(
            command,
            f"needs the package {' and '.join(missing)}",
            why,
            f"pip install '{extra}'",
            code="extra_missing",
        )
