#!/usr/bin/env bash
# Builds a release and measures it: starts networks of its own, prints the table, ends. Arguments go to the load test.
set -eu
cd "$(dirname "$0")/.."
. scripts/tools.sh

cargo build --release --bin pinstripe --bin loadtest
exec target/release/loadtest "$@"
