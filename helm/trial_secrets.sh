#!/bin/sh
# Makes the Secrets of helm/values/trial.yaml in a namespace, for a release of that name. Refuses when one is there already.
#
#   helm/trial_secrets.sh NAMESPACE RELEASE
set -eu
cd "$(dirname "$0")/.."
if [ $# -ne 2 ]; then
    echo "usage: helm/trial_secrets.sh NAMESPACE RELEASE" >&2
    exit 2
fi
namespace="$1"
# As the chart names its objects.
case "$2" in *pinstripe*) name="$2" ;; *) name="$2-pinstripe" ;; esac

for secret in network admin database redis; do
    if kubectl -n "$namespace" get secret "pinstripe-$secret" >/dev/null 2>&1; then
        echo "the Secret pinstripe-$secret is in $namespace already; nothing was changed" >&2
        exit 1
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deploy/secrets.sh "$work/secrets" "$name-postgresql" "$name-redis" >/dev/null
from="$work/secrets"
kubectl -n "$namespace" create secret generic pinstripe-network --from-file=network.key="$from/network.key"
kubectl -n "$namespace" create secret generic pinstripe-admin --from-file=admin.token="$from/admin.token"
kubectl -n "$namespace" create secret generic pinstripe-database \
    --from-file=url="$from/database-url" --from-file=password="$from/postgres-password"
kubectl -n "$namespace" create secret generic pinstripe-redis \
    --from-file=url="$from/redis-url" --from-file=password="$from/redis-password"
echo "keep a copy of the Secret pinstripe-network: without it the network is lost"
