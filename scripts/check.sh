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
deny=$(command -v cargo-deny || echo "$PWD/target/tools/bin/cargo-deny")
if [ ! -x "$deny" ]; then
    echo "building cargo-deny (some minutes, once)"
    cargo install --quiet --locked cargo-deny --version 0.20.2 --root target/tools --target-dir target/tools/build
fi
# Advisories are left out: their database is not in a package registry. `cargo deny check advisories` where GitHub is
# reachable.
"$deny" check bans licenses sources
