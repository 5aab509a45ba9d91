#!/bin/sh
# Makes the secrets of a new network into a directory: those of compose.yaml into deploy/secrets, which is the default, or those of
# the chart's trial (helm/values/trial.yaml) with the hosts of its databases as the second and third argument:
#
#   deploy/secrets.sh [DIRECTORY [POSTGRES_HOST [REDIS_HOST]]]
#
# It never overwrites: whoever loses network.key loses the network.
set -eu
here=$(dirname "$0")
to="${1:-$here/secrets}"
postgres="${2:-postgres}"
redis="${3:-redis}"

if [ -e "$to" ]; then
    echo "$to is there already; nothing was changed" >&2
    exit 1
fi
command -v openssl >/dev/null 2>&1 || { echo "openssl is not here" >&2; exit 1; }

# Nobody else gets into the directory. The files themselves can be read by the users of containers, who have other numbers.
umask 077
mkdir -p "$to.new"
password=$(openssl rand -hex 24)
redis_password=$(openssl rand -hex 24)
openssl rand -hex 32 >"$to.new/network.key"
openssl rand -hex 24 >"$to.new/admin.token"
printf '%s' "$password" >"$to.new/postgres-password"
printf 'postgres://pinstripe:%s@%s/pinstripe' "$password" "$postgres" >"$to.new/database-url"
printf '%s' "$redis_password" >"$to.new/redis-password"
printf 'redis://:%s@%s:6379' "$redis_password" "$redis" >"$to.new/redis-url"
# Filled by deploy/invite.sh.
: >"$to.new/invite"
chmod 444 "$to.new"/*
chmod 644 "$to.new/invite"
mv "$to.new" "$to"
echo "made $to: keep network.key safe, there is no other copy"
