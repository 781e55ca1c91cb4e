"""A user's own class or function, named as ``path/to/file.py:Name``."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from nls.errors import UserError


def is_user_code(name: str) -> bool:
    """Tell whether ``name`` has the form ``file.py:Name``."""
    return ".py:" in name


def user_file(name: str) -> str:
    """Return the file of ``file.py:Name``."""
    return name.rsplit(":", 1)[0]


def short_name(name: str) -> str:
    """Return ``file.Name`` for ``path/to/file.py:Name``, and any other name as it is: for names of runs."""
    return f"{Path(user_file(name)).stem}.{name.rsplit(':', 1)[1]}" if is_user_code(name) else name


def load_user_code(name: str) -> Any:
    """Import the file of ``file.py:Name`` and return its object ``Name``.

    Raises:
        UserError: the file is missing, cannot be imported, or has no such object.
    """
    path, attribute = Path(user_file(name)), name.rsplit(":", 1)[1]
    if not path.is_file():
        raise UserError(f"{name}: there is no file {path}; write FILE.py:NAME relative to this directory")
    module_name = f"nls_user_{path.stem}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Registered so that dataclasses and pickling of the user's classes find their module.
    sys.modules[module_name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"{path}: cannot be imported ({type(error).__name__}: {error}); mend the file"
        ) from error
    if not hasattr(module, attribute):
        raise UserError(f"{path}: holds no {attribute!r}; write FILE.py:NAME with a name that it defines")
    return getattr(module, attribute)
