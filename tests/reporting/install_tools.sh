#!/usr/bin/env bash
# Install what the report's tests open and compile pages with, from Debian's packages: Chromium and LaTeX with booktabs.
# Call it as root. Where nothing can be installed it ends with 3, and those tests are skipped.
set -euo pipefail

refuse() {
    echo "no Chromium or LaTeX: $1" >&2
    exit 3
}

command -v chromium > /dev/null && command -v pdflatex > /dev/null && kpsewhich booktabs.sty > /dev/null && exit 0
[ "$(id -u)" = 0 ] || refuse "installing them needs root"
command -v apt-get > /dev/null || refuse "installing them needs apt-get (Debian or Ubuntu)"
apt-get update -qq || refuse "apt-get update failed"
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y chromium texlive-latex-recommended \
    > /dev/null || refuse "apt-get install chromium texlive-latex-recommended failed"
