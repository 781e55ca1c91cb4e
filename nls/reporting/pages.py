"""Pages of HTML that stand alone: templates of this package under one head, with the same colours, light and dark."""

import html
import re
from importlib import resources


def page(template: str, title: str, **parts: str) -> str:
    """Return a template of this package with its parts, ``{{ name }}``, filled in.

    Args:
        template: the file.
        title: the page's, as text.
        parts: the others, as HTML.

    Raises:
        KeyError: the template has a part that is not given.
    """
    parts["title"] = html.escape(title)
    return _filled(template, parts | {"head": _filled("head.html", parts)})


def _filled(template: str, parts: dict[str, str]) -> str:
    text = resources.files("nls.reporting").joinpath(template).read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], text)
