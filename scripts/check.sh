#!/usr/bin/env bash
# Formatting, lints, documentation, licences.
set -eu
cd "$(dirname "$0")/.."
. scripts/tools.sh

echo "== formatting"
cargo fmt --all -- --check
echo "== lints"
cargo clippy --workspace --all-targets -- -D warnings
echo "== documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
echo "== licences and sources"
if command -v cargo-deny >/dev/null 2>&1; then
    # The advisory database is fetched from the network; where it cannot be, the other checks still hold.
    cargo deny --offline check bans licenses sources
else
    echo "cargo-deny is not installed: licences were NOT checked (cargo install --locked cargo-deny)"
fi
