"""The table of the configuration's keys, made from the models that check it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nls.engine.files import write_text
from nls.experiments.suite import SuiteConfig

TABLE = Path("config/README.md")

HEAD = """# Configuration

A suite is one YAML file. `paper.yaml`, the default, is the paper. `smoke.yaml` is the same code in minutes.
[The README](../README.md#which-config) has a line for each of the others.

```bash
snakemake --configfile config/smoke.yaml             # a suite
snakemake table1 --configfile config/smoke.yaml      # a part of it
```

Below is every key with its type, default and meaning. A key without default must be given. `<name>` stands for a name
of your choice, `[]` for each entry of a list. An unknown key or a wrong value stops before any job starts.

This file is written by `make keys`.
"""

EXPERIMENTS = """
## Experiments

Each experiment is a key below `experiments`. One that is left out is not run.
"""

COLUMNS = """
| key | type | default | meaning |
|---|---|---|---|
"""


def table_text() -> str:
    """Return config/README.md."""
    schema = SuiteConfig.model_json_schema()
    models = schema["$defs"]
    experiments = models["Experiments"]["properties"]
    general = {
        "properties": {key: entry for key, entry in schema["properties"].items() if key != "experiments"}
    }
    text = HEAD + _table(general | {"required": schema["required"]}, models) + EXPERIMENTS
    for name, entry in experiments.items():
        ((_, model),) = _model(entry, models)
        text += f"\n### {name}\n" + _table(model, models)
    return text


def _table(model: dict[str, Any], models: dict[str, Any]) -> str:
    return COLUMNS + "".join(f"{row}\n" for row in _rows(model, models, ""))


def _rows(model: dict[str, Any], models: dict[str, Any], prefix: str) -> Iterator[str]:
    required = model.get("required", [])
    for key, entry in model.get("properties", {}).items():
        name = f"{prefix}{key}"
        inner = _model(entry, models)
        default = (
            "" if key in required or inner else f"`{json.dumps(entry.get('default'), ensure_ascii=False)}`"
        )
        meaning = entry.get("description", "").replace("|", "\\|")
        yield f"| `{name}` | {_type(entry, models)} | {default} | {meaning} |"
        for suffix, part in inner:
            if len(inner) > 1:
                yield f"| **with `method: {_method(part)}`** | | | |"
            yield from _rows(part, models, f"{name}{suffix}.")


def _method(model: dict[str, Any]) -> str:
    """Return what the key ``method`` is in one of several models that it tells apart."""
    method = model["properties"]["method"]
    return method.get("const", method.get("description"))


def _model(entry: dict[str, Any], models: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the models inside an entry, each with what stands between the key and the model's keys."""
    if "$ref" in entry:
        return [("", models[entry["$ref"].rsplit("/", 1)[1]])]
    found = [pair for option in entry.get("anyOf", entry.get("oneOf", [])) for pair in _model(option, models)]
    values = [entry.get("additionalProperties"), *entry.get("patternProperties", {}).values()]
    for value in (value for value in values if isinstance(value, dict)):
        found += [(f".<name>{suffix}", part) for suffix, part in _model(value, models)]
    if "items" in entry:
        found += [(f"[]{suffix}", part) for suffix, part in _model(entry["items"], models)]
    return found


def _type(entry: dict[str, Any], models: dict[str, Any]) -> str:
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    options = entry.get("anyOf", entry.get("oneOf"))
    if options:
        return " or ".join(
            dict.fromkeys(_type(option, models) for option in options if option.get("type") != "null")
        )
    if "$ref" in entry:
        return "mapping"
    kind = {"object": "mapping", "array": "list"}.get(entry.get("type", "any"), entry.get("type", "any"))
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {entry[bound]:.10g}" for bound, sign in bounds.items() if bound in entry)
    inside = f" of {_type(entry['items'], models)}" if "items" in entry else ""
    return f"{kind}{inside}" + (f", {limits}" if limits else "")


if __name__ == "__main__":
    write_text(TABLE, table_text())
    print(f"wrote {TABLE}")
