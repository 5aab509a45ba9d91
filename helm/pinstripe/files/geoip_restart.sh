# Has the gateways replaced one after the other, as `kubectl rollout restart` does: each fetches the database when it starts.
set -eu
account="${ACCOUNT_DIRECTORY:-/var/run/secrets/kubernetes.io/serviceaccount}"
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
patch="{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"pinstripe.internal/geoip\":\"$now\"}}}}}"
# The token goes by standard input: arguments can be read by others.
printf 'header = "Authorization: Bearer %s"\n' "$(cat "$account/token")" |
    curl --config - --fail --silent --show-error --connect-timeout 10 --max-time 60 --retry 3 \
        --cacert "$account/ca.crt" --output /dev/null --request PATCH \
        --header 'Content-Type: application/strategic-merge-patch+json' --data "$patch" \
        "https://kubernetes.default.svc/apis/apps/v1/namespaces/$NAMESPACE/deployments/$DEPLOYMENT"
echo "geoip: gateways are being replaced"
