#!/bin/sh
# Runs `pinstripe admin` in a gateway of compose.yaml, where the admin API listens: deploy/admin.sh accounts
set -eu
cd "$(dirname "$0")/.."
# The quotes keep the token inside the container.
# shellcheck disable=SC2016
exec docker compose exec -T gateway-1 sh -c \
    'PINSTRIPE_GATEWAY=http://127.0.0.1:8081 PINSTRIPE_ADMIN_TOKEN=$(cat /run/secrets/admin.token) exec pinstripe admin "$@"' sh "$@"
