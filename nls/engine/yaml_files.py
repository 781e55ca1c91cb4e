"""YAML as configs and specs are written: what would be read otherwise than a person means it is refused."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nls.errors import UserError, shortened

# Numbers to people, and words to YAML, which wants a point in the mantissa and a sign in the exponent.
_WORD_FOR_YAML = re.compile(r"([-+]?)(\d*)(\.\d*)?[eE]([-+]?)(\d+)")
_OCTAL = re.compile("[-+]?0[0-7_]+")
# Entries of a file with all its aliases replaced by what they stand for; config/paper.yaml has 1,700.
_MOST_ENTRIES = 1_000_000


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping whose keys are words.

    Raises:
        UserError: the file is missing, is not YAML, gives a key twice, holds a number that YAML takes for something
            else or that is not finite, refers to itself, or is not a mapping.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        _require_small(value)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a YAML file") from error
    except _RefusedError as error:
        raise UserError(f"{path}: line {error.problem_mark.line + 1}: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path}: not YAML ({place}{error.problem}); mend the file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())}); mend the file") from error
    except RecursionError as error:
        raise UserError(f"{path}: not YAML (nested too deeply); mend the file") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no mapping of keys to values; see config/README.md")
    return value


def yaml_text(value: Any) -> str:
    """Return YAML in the order of the mapping."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _require_small(value: Any) -> None:
    entries, left = 0, [value]
    while left:
        one = left.pop()
        inside = list(one.values()) if isinstance(one, Mapping) else one if isinstance(one, list) else []
        entries += len(inside)
        if entries > _MOST_ENTRIES:
            raise yaml.YAMLError("its aliases stand for more than a million entries, or for themselves")
        left += inside


class _Dumper(yaml.SafeDumper):
    """Quotes the words that :class:`_Loader` refuses where they are not quoted."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _WORD_FOR_YAML, list("-+.0123456789"))


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML takes the last, and numbers that are others than they look."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key is no word: give each value a name", key)
            if key.value in seen:
                raise _problem(f"the key {shortened(repr(key.value))} is given twice: leave one out", key)
            seen.add(key.value)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            self._require_as_it_looks(node)
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            kind = node.tag.rsplit(":", 1)[-1]
            raise _problem(f"{shortened(str(node.value))} is no {kind}: mend the file", node) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _problem(f"{shortened(node.value)} is no finite number: give one", node)
        return value

    def _require_as_it_looks(self, node: yaml.ScalarNode) -> None:
        base = 60 if ":" in node.value else 8 if _OCTAL.fullmatch(node.value) else None
        if node.tag.endswith((":int", ":float")) and base is not None:
            raise _problem(
                f"YAML takes {shortened(node.value)} for a number to the base {base}: put it in quotes",
                node,
            )
        found = _WORD_FOR_YAML.fullmatch(node.value)
        if found and node.tag.endswith(":str") and (found[2] or found[3]):
            sign, whole, part, exponent_sign, exponent = found.groups()
            meant = (
                f"{sign}{whole or 0}{part if part and part != '.' else '.0'}e{exponent_sign or '+'}{exponent}"
            )
            raise _problem(
                f"YAML takes {shortened(node.value)} for a word: write {shortened(meant)}, or put it in quotes",
                node,
            )


class _RefusedError(yaml.MarkedYAMLError):
    """YAML, but not what a person means."""

    problem_mark: yaml.Mark
    problem: str


def _problem(text: str, node: yaml.Node) -> _RefusedError:
    return _RefusedError(problem=text, problem_mark=node.start_mark)
