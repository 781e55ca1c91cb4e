#!/usr/bin/env bash
# Run by Snakemake in the new environment. NLS_SOURCE is this checkout; workflow/rules/common.smk sets it.
set -euo pipefail
python -m pip install --no-deps --requirement "$NLS_SOURCE/requirements-no-deps.txt"
# From a copy: pip would leave a folder of what it built in the checkout, and take files of that the next time.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$NLS_SOURCE"/{nls,pyproject.toml,README.md,LICENSE} "$copy"
python -m pip install --no-deps "$copy"
