# Sourced by the other scripts: says clearly what is missing on this machine.
missing=""
command -v cargo >/dev/null 2>&1 || missing="$missing
  - the Rust toolchain (cargo, rustc 1.95 or newer): https://rustup.rs"
command -v cc >/dev/null 2>&1 || missing="$missing
  - a C compiler (cc), for example the packages gcc and libc6-dev"
if [ -n "$missing" ]; then
    echo "This machine lacks what Pinstripe is built with:$missing" >&2
    exit 1
fi
