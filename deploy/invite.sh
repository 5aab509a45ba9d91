#!/bin/sh
# Lets the nodes of compose.yaml join: an invitation into deploy/secrets/invite, and the nodes started anew, for they read it then.
set -eu
cd "$(dirname "$0")/.."
if [ -s deploy/secrets/invite ]; then
    echo "deploy/secrets/invite holds an invitation already; nothing was changed" >&2
    exit 1
fi
invite=$(deploy/admin.sh invite compose --nodes 6 --hours 24 | grep -o 'inv_[A-Za-z0-9_-]*')
# Into the file that containers have mounted: a new one in its place they would not see.
printf '%s\n' "$invite" >deploy/secrets/invite
docker compose restart pinner-1 pinner-2 pinner-3 pinner-4 pinner-5 pinner-6
