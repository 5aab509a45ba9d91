#!/usr/bin/env bash
# All tests. Needs a Rust toolchain and a C compiler; PostgreSQL and Redis are started by scripts/services.sh, which says
# what to do where they are missing. Clients of others run when there are Node and Python, the chart's tests with Python.
set -eu
cd "$(dirname "$0")/.."
. scripts/tools.sh

# The tests with real processes start this binary.
cargo build --bin pinstripe
if cargo nextest --version >/dev/null 2>&1; then
    scripts/services.sh cargo nextest run --workspace --no-fail-fast
else
    scripts/services.sh cargo test --workspace --no-fail-fast
fi
scripts/helm.sh
scripts/clients.sh
