#!/usr/bin/env bash
# Runs a command with the servers that some tests need, and ends them whatever becomes of it: scripts/services.sh COMMAND...
#
#   TEST_POSTGRES_URL    a PostgreSQL of its own, which ends with the command. If it is set already, that one is used.
#   TEST_POSTGRES_BIN    where its programs are: tests that restart a server start one of their own.
#   TEST_REDIS_SERVER    the redis-server binary, for the same.
#
# What is missing is installed where that is permitted (as root with apt-get). Otherwise this fails and says what to do;
# PINSTRIPE_TEST_WITHOUT="postgresql redis" goes without one of them or both, and their tests are then NOT run.
set -eu
cd "$(dirname "$0")/.."

# The oldest PostgreSQL that the project supports.
oldest=15
without=" ${PINSTRIPE_TEST_WITHOUT:-} "
home=""
bin=""

# Finds the newest PostgreSQL; leaves `bin` empty if there is none that is new enough.
find_postgres() {
    local candidate version newest=0
    bin=""
    for candidate in /usr/lib/postgresql/*/bin "$(dirname "$(command -v postgres || echo /nowhere/postgres)")"; do
        [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] || continue
        version=$("$candidate/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
        if [ "$version" -ge "$oldest" ] && [ "$version" -gt "$newest" ]; then
            newest=$version
            bin=$candidate
        fi
    done
}

find_redis() {
    redis=$(command -v redis-server || true)
}

# Installs packages if somebody may: 1 otherwise.
install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    echo "Installing $* (once)" >&2
    export DEBIAN_FRONTEND=noninteractive
    local get="apt-get install -y -qq --no-install-recommends"
    $get "$@" >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1 && $get "$@" >&2; }
}

# Has the servers' programs at hand, or says what to do and ends.
require_programs() {
    local packages=() lacking=""
    find_postgres
    find_redis
    if [ -z "${TEST_POSTGRES_URL:-}" ] && [ -z "$bin" ] && [[ "$without" != *" postgresql "* ]]; then
        packages+=(postgresql)
    fi
    if [ -z "$redis" ] && [[ "$without" != *" redis "* ]]; then
        packages+=(redis-server)
    fi
    if [ ${#packages[@]} -gt 0 ]; then
        install "${packages[@]}" || true
        find_postgres
        find_redis
    fi
    if [[ " ${packages[*]-} " == *" postgresql "* ]] && [ -z "$bin" ]; then
        lacking="$lacking
  - PostgreSQL $oldest or newer (Debian's package postgresql), or TEST_POSTGRES_URL with the URL of one where databases may
    be created. Without it nothing is tested on PostgreSQL: to go without, PINSTRIPE_TEST_WITHOUT=postgresql"
    fi
    if [[ " ${packages[*]-} " == *" redis-server "* ]] && [ -z "$redis" ]; then
        lacking="$lacking
  - redis-server (Debian's package redis-server). Without it nothing that gateways share through Redis is tested: to go
    without, PINSTRIPE_TEST_WITHOUT=redis"
    fi
    if [ -n "$lacking" ]; then
        echo "The tests need servers that are not on this machine and could not be installed:$lacking" >&2
        exit 1
    fi
}

# PostgreSQL refuses to run as root.
as_owner() {
    if [ "$(id -u)" -eq 0 ]; then
        runuser -u "$owner" -- "$@"
    else
        "$@"
    fi
}

# Starts a server in a directory of its own, for as long as this process lives.
start_postgres() {
    owner=$(id -un)
    if [ "$(id -u)" -eq 0 ]; then
        owner=nobody
        if id postgres >/dev/null 2>&1; then
            owner=postgres
        fi
    fi
    # Not below TMPDIR, which another user may not enter. The server's log says what it does not like.
    home=$(mktemp -d /tmp/pinstripe-postgres.XXXXXX)
    [ "$(id -u)" -ne 0 ] || chown "$owner" "$home"
    watch_over
    local data="$home/data" password port tries
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && echo "$password" >"$home/password")
    [ "$(id -u)" -ne 0 ] || chown "$owner" "$home/password"
    if ! as_owner "$bin/initdb" --pgdata "$data" --username pinstripe --pwfile "$home/password" \
        --auth scram-sha-256 --encoding UTF8 --lc-collate C --lc-ctype C.UTF-8 --no-sync >"$home/initdb.log" 2>&1; then
        cat "$home/initdb.log" >&2
        exit 1
    fi
    cat >>"$data/postgresql.conf" <<'CONF'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 500
shared_buffers = 256MB
max_wal_size = 4GB
wal_level = minimal
max_wal_senders = 0
autovacuum_naptime = 10s
listen_addresses = '127.0.0.1'
CONF
    # Between choosing a port and listening on it another process may take it.
    for tries in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        if as_owner "$bin/pg_ctl" start --silent --wait --timeout 60 --pgdata "$data" --log "$home/server.log" \
            --options "-p $port -k $home" >/dev/null 2>&1; then
            export TEST_POSTGRES_URL="postgres://pinstripe:$password@127.0.0.1:$port/postgres"
            return
        fi
    done
    cat "$home/server.log" >&2
    exit 1
}

stop_postgres() {
    [ -n "$home" ] || return 0
    if [ -e "$home/data/postmaster.pid" ]; then
        as_owner "$bin/pg_ctl" stop --silent --mode immediate --pgdata "$home/data" >/dev/null 2>&1 || true
    fi
    rm -rf "$home"
}

# Ends the server also when this process is killed: in a session of its own, it waits for that.
watch_over() {
    local mine=$$
    export -f stop_postgres as_owner
    home="$home" bin="$bin" owner="$owner" mine="$mine" setsid bash -c '
        trap "" INT TERM HUP
        while kill -0 "$mine" 2>/dev/null && [ -d "$home" ]; do sleep 1; done
        stop_postgres' </dev/null >/dev/null 2>&1 &
}

command=""
finish() {
    local status=$?
    trap - EXIT INT TERM HUP
    if [ -n "$command" ]; then
        kill -- "-$command" 2>/dev/null || true
        wait "$command" 2>/dev/null || true
    fi
    stop_postgres
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

require_programs
if [[ "$without" == *" postgresql "* ]]; then
    unset TEST_POSTGRES_URL TEST_POSTGRES_BIN
    bin=""
    echo "!! SKIPPED: nothing is tested on PostgreSQL, as PINSTRIPE_TEST_WITHOUT says" >&2
elif [ -z "${TEST_POSTGRES_URL:-}" ]; then
    start_postgres
fi
if [ -n "$bin" ]; then
    export TEST_POSTGRES_BIN="$bin"
fi
if [[ "$without" == *" redis "* ]]; then
    unset TEST_REDIS_SERVER
    echo "!! SKIPPED: nothing is tested with Redis, as PINSTRIPE_TEST_WITHOUT says" >&2
else
    export TEST_REDIS_SERVER="${TEST_REDIS_SERVER:-$redis}"
fi
# In the background, so that a signal to this process is answered at once, and in a group of its own, which ends as a whole.
set -m
"$@" </dev/null &
command=$!
status=0
wait "$command" || status=$?
command=""
exit $status
