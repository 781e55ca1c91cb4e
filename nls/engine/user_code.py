"""A user's own class or function, named as ``path/to/file.py:Name``."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from nls.errors import NlsError, RunError, UserError

# Of the names of the modules that users' files become.
_PREFIX = "nls_user_"


class _Uncached(SourceFileLoader):
    """Compiles a file as it stands, and leaves nothing beside it.

    Python takes a compiled file for current if the source has the same size and the same second of change.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def is_user_code(name: str) -> bool:
    """Tell whether ``name`` has the form ``file.py:Name``."""
    file, _, attribute = name.rpartition(".py:")
    return bool(file and attribute)


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
    module_name = f"{_PREFIX}{path.stem}"
    loader = _Uncached(module_name, str(path))
    module = importlib.util.module_from_spec(ModuleSpec(module_name, loader, origin=str(path)))
    module.__file__ = str(path)
    # Registered so that dataclasses and pickling of the user's classes find their module.
    sys.modules[module_name] = module
    with told_as_theirs(str(path), "cannot be imported", "mend the file"):
        loader.exec_module(module)
    if not hasattr(module, attribute):
        raise UserError(f"{path}: holds no {attribute!r}; write FILE.py:NAME with a name that it defines")
    return getattr(module, attribute)


@contextmanager
def told_as_theirs(name: str, what: str, remedy: str) -> Iterator[None]:
    """Tell an exception of a user's code, to which an exit counts, in one line with the user's own frames below it.

    Raises:
        UserError: instead of the exception.
    """
    try:
        yield
    except NlsError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{name}: {what} ({_told(error)}); {remedy}", below=frames_of_user(error)) from error


def raised_in_user_code(error: BaseException) -> RunError | None:
    """Return what to tell of an exception that arose in a user's code; None if it arose elsewhere."""
    frames = frames_of_user(error)
    return RunError(f"{_told(error)}, raised by your own code", below=frames) if frames else None


def frames_of_user(error: BaseException) -> str:
    """Return the frames of an exception that lie in a user's file, as Python prints them; empty if none does."""
    inside = [
        place
        for place in traceback.walk_tb(error.__traceback__)
        if str(place[0].f_globals.get("__name__")).startswith(_PREFIX)
    ]
    return "".join(traceback.StackSummary.extract(iter(inside)).format()).rstrip()


def described(thing: object) -> str:
    """Return the name of a thing's class, with its file if that is a user's."""
    kind = type(thing)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return f"{file}:{kind.__name__}" if kind.__module__.startswith(_PREFIX) else kind.__name__


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
