"""A user's own class or function, named as ``path/to/file.py:Name``."""

import ast
import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
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


def user_files(name: str) -> list[str]:
    """Return the file of ``file.py:Name`` and the files of its folder that import statements lead to from there.

    A package (a folder with an ``__init__.py``) counts with all its files. A file that is missing or is no Python
    leads nowhere.
    """
    first = Path(user_file(name))
    beside: set[Path] = set()
    left = [first]
    while left:
        path = left.pop()
        for module in _imported(path.read_bytes() if path.is_file() else b""):
            found = set(_files_of(first.parent, module)) - beside - {first}
            beside |= found
            left += found
    return [user_file(name), *map(str, sorted(beside))]


@lru_cache(maxsize=256)
def _imported(source: bytes) -> frozenset[str]:
    """Return the first names of the modules that a file imports, anywhere in it; none of Python's own, nor nls."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return frozenset(name.partition(".")[0] for name in names) - sys.stdlib_module_names - {"nls"}


def _files_of(folder: Path, module: str) -> list[Path]:
    """Return the files of a module of a folder; none where it lies elsewhere."""
    if (folder / module / "__init__.py").is_file():
        return list((folder / module).rglob("*.py"))
    return [path for path in [folder / f"{module}.py"] if path.is_file()]


def short_name(name: str) -> str:
    """Return ``file.Name`` for ``path/to/file.py:Name``, and any other name as it is: for names of runs."""
    return f"{Path(user_file(name)).stem}.{name.rsplit(':', 1)[1]}" if is_user_code(name) else name


def load_user_code(name: str) -> Any:
    """Import the file of ``file.py:Name`` and return its object ``Name``.

    It may import files beside it, now or later. Its folder is the last to be searched, so that they hide nothing.

    Raises:
        UserError: the file is missing, cannot be imported, or has no such object.
    """
    path, attribute = Path(user_file(name)), name.rsplit(":", 1)[1]
    if not path.is_file():
        raise UserError(f"{name}: there is no file {path}; write FILE.py:NAME relative to this directory")
    if (folder := str(path.absolute().parent)) not in sys.path:
        sys.path.append(folder)
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


def make_user_object(name: str, settings: Mapping[str, Any], arguments: Sequence[str]) -> Any:
    """Return an object of the class ``file.py:Name``, made with ``settings``, to be called with these arguments.

    Raises:
        UserError: see :func:`load_user_code`; or the class does not take the settings, or the object not the
            arguments, which are told by their names.
    """
    kind = load_user_code(name)
    with told_as_theirs(name, f"does not take the settings {dict(settings)}", "mend the config"):
        made = kind(**settings)
    from torch import nn  # the command line imports this file, and must answer without torch

    # The call of torch's modules takes anything, and hands it to ``forward``.
    called = made.forward if isinstance(made, nn.Module) else made
    try:
        inspect.signature(called).bind(*arguments)
    except ValueError:  # compiled code may not say what it takes
        pass
    except TypeError as error:
        words = f"cannot be called as ({', '.join(arguments)}) ({error})"
        raise UserError(f"{name}: {words}; see docs/add_method.md") from error
    return made


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
    return f"{file}:{kind.__name__}" if is_theirs(thing) else kind.__name__


def is_theirs(thing: object) -> bool:
    """Tell whether a thing is of a class in a user's file."""
    return type(thing).__module__.startswith(_PREFIX)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
