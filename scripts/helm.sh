#!/usr/bin/env bash
# Tests the chart, the alerts, the Dockerfile and the compose file, without a cluster or a container engine: helm/tests/ with Helm
# as a library from PyPI. Everything that is installed or written goes into target/. Needs target/debug/pinstripe, which has to
# load what the chart renders.
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh

export PINSTRIPE_BIN="${PINSTRIPE_BIN:-$PWD/target/debug/pinstripe}"
if [ ! -x "$PINSTRIPE_BIN" ]; then
    echo "$PINSTRIPE_BIN is not there: cargo build --bin pinstripe" >&2
    exit 1
fi
make_venv "$PWD/target/helm/python" "$PWD/helm/tests/requirements.txt" 3.11
if [ -n "$venv_missing" ]; then
    echo "!! SKIPPED: the chart was NOT tested, for $venv_missing" >&2
    exit 0
fi
exec target/helm/python/bin/python -m unittest discover --start-directory helm/tests --verbose
