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
    cargo install --quiet --locked cargo-deny --version 0.20.2 --root target/tools --target-dir target/tools/build || true
fi
if [ ! -x "$deny" ]; then
    echo "!! SKIPPED: licences, sources and advisories were NOT checked, for cargo-deny is not here and cannot be installed" >&2
    exit 0
fi
"$deny" check bans licenses sources
echo "== advisories"
# Their database is a repository on GitHub, which not every machine reaches.
if timeout 120 "$deny" fetch db >/dev/null 2>&1; then
    "$deny" check advisories
else
    echo "!! SKIPPED: advisories were NOT checked, for their database cannot be fetched" >&2
fi
