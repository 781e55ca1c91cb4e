#!/usr/bin/env bash
# Run by Snakemake in the new environment. NLS_SOURCE is this checkout; workflow/rules/common.smk sets it.
set -euo pipefail
python -m pip install --no-deps --requirement "$NLS_SOURCE/requirements-no-deps.txt"
python -m pip install --no-deps "$NLS_SOURCE"
