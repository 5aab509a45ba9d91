#!/usr/bin/env bash
# Drives a network of its own with clients that others wrote (third_party_clients/). Everything that is installed or
# written goes into target/. What cannot run on this machine is skipped, and said loudly.
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh

pinstripe="${PINSTRIPE_BIN:-$PWD/target/debug/pinstripe}"
source="$PWD/third_party_clients"
home="$PWD/target/third_party_clients"
run="$home/run"
if [ ! -x "$pinstripe" ]; then
    echo "$pinstripe is not there: cargo build --bin pinstripe" >&2
    exit 1
fi
mkdir -p "$home"

export npm_config_cache="$home/npm-cache" npm_config_update_notifier=false

skipped() {
    echo "!! SKIPPED: the clients from $1 were NOT run, for $2" >&2
}

# Whether what is installed is what the lock files say, for this version of the runtime.
installed() {
    [ -e "$home/$1" ] && [ -f "$home/$1.installed" ] && [ "$(cat "$home/$1.installed")" = "$2" ]
}

npm_there() {
    (cd "$home/node" && npm "$@")
}

# The packages of npm, into $home/node. Leaves has_node empty when they cannot be had here.
has_node=""
install_node() {
    if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
        skipped npm "node and npm are not here"
        return
    fi
    # The first with all the options that its test runner gets below.
    if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 11) ? 0 : 1)'; then
        skipped npm "node $(node --version) is older than 20.11"
        return
    fi
    mkdir -p "$home/node"
    rm -f "$home/node/"*.mjs
    cp "$source/"*.mjs "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$home/node/"
    local wanted
    wanted="$(node --version) $(cksum <"$source/package-lock.json")"
    # What an earlier run fetched is enough to install again.
    if ! installed node "$wanted" && ! npm_there ci --no-progress --offline >/dev/null 2>&1; then
        # With an empty cache, for npm answers from its own when it is cut off.
        rm -rf "$home/empty"
        if ! npm_there view npm version --fetch-retries=0 --fetch-timeout=30000 --cache "$home/empty" >/dev/null 2>&1; then
            skipped npm "they are not installed and the registry cannot be reached"
            return
        fi
        echo "Installing clients from npm (once)"
        npm_there ci --no-progress
    fi
    echo "$wanted" >"$home/node.installed"
    has_node=yes
}

# The packages of PyPI, into $home/python. Leaves has_python empty when they cannot be had here.
has_python=""
install_python() {
    make_venv "$home/python" "$source/requirements.txt" 3.10
    if [ -n "$venv_missing" ]; then
        skipped PyPI "$venv_missing"
        return
    fi
    has_python=yes
}

# Prints a port that nobody listens on, below those that the system gives out by itself.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

network=""
stop_network() {
    if [ -n "$network" ]; then
        kill "$network" 2>/dev/null || true
        wait "$network" 2>/dev/null || true
        network=""
    fi
}

# Shows what the network said, when something failed.
finish() {
    local status=$?
    trap - EXIT
    stop_network
    if [ $status -ne 0 ]; then
        for log in "$run/network.log" "$run/network/logs/gateway.log" "$run/network/logs/monitor.log"; do
            if [ -f "$log" ]; then
                echo "== the end of $log" >&2
                tail -n 40 "$log" >&2
            fi
        done
    else
        rm -rf "$run"
    fi
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A network of 20 nodes that is ready, or 1. Another process may take the port first, so this may be tried again.
start_network() {
    rm -rf "$run/network"
    : >"$run/network.log"
    "$pinstripe" dev --nodes 20 --fresh --dir "$run/network" --listen "127.0.0.1:$(free_port)" \
        >"$run/network.log" 2>&1 &
    network=$!
    local waited=0
    until grep -q '^ready ' "$run/network.log"; do
        if ! kill -0 "$network" 2>/dev/null || [ $waited -gt 1200 ]; then
            stop_network
            return 1
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
}

install_node
install_python
if [ -z "$has_node$has_python" ]; then
    exit 0
fi

rm -rf "$run"
mkdir -p "$run/tmp"
start_network || start_network || start_network || { echo "The network did not start" >&2; exit 1; }
export TMPDIR="$run/tmp" PINSTRIPE_DEV_JSON="$run/network/dev.json"

failed=0
if [ -n "$has_node" ]; then
    (cd "$home/node" && node --test --test-reporter=spec --test-concurrency=2 --test-timeout=300000 ./*.test.mjs) || failed=1
fi
if [ -n "$has_python" ]; then
    "$home/python/bin/python" -m unittest discover --start-directory "$source" --verbose || failed=1
fi
exit $failed
