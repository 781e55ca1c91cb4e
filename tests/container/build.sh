#!/usr/bin/env bash
# Builds the Containerfile where no container registry can be reached (as root, on Debian), and runs its command,
# `make smoke`: a quarter of an hour and 12 GB in a temporary folder, which is removed. The base image python:3.12-slim is
# Debian with Python, so a small Debian 12 with its Python 3.11 stands in for it, from the mirror that apt uses.
# Words go to `buildah build`, such as `--volume /opt/wheels:/opt/wheels:ro`, where pip is to find packages in a folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v buildah debootstrap > /dev/null || apt-get install --yes --no-install-recommends buildah crun debootstrap
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
buildah() { command buildah --storage-driver vfs --root "$store/images" --runroot "$store/run" "$@"; }

mirror=$(apt-get indextargets --format '$(REPO_URI)' | sed --quiet 1p)
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$store/base" "$mirror"
# Packages come from where this machine has them.
for settings in /etc/apt/apt.conf.d /etc/pip.conf /etc/xdg/pip /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$settings" ] || cp -r --parents "$settings" "$store/base"
done
base=$(buildah from scratch)
buildah add --quiet "$base" "$store/base" / > /dev/null
rm -rf "$store/base"
buildah commit --quiet "$base" docker.io/library/python:3.12-slim > /dev/null
buildah rm "$base" > /dev/null

git clone --quiet . "$store/context"
time buildah build --pull-never --isolation chroot --tag nls "$@" "$store/context"
container=$(buildah from --pull-never nls)
command=$(buildah inspect --format '{{range .OCIv1.Config.Cmd}}{{.}} {{end}}' "$container")
read -ra words <<< "$command"
time buildah run --isolation chroot "$container" -- "${words[@]}"
mkdir -p reports/container
buildah run --isolation chroot "$container" -- tar --create reports/smoke |
    tar --extract --directory reports/container --strip-components 1
echo "The image's report: $PWD/reports/container/smoke/report.html"
