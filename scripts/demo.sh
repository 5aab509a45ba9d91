#!/usr/bin/env bash
# Builds a release, starts a network in .pinstripe, uploads a sample directory and says what to try next.
set -eu
cd "$(dirname "$0")/.."
. scripts/tools.sh

listen="${PINSTRIPE_LISTEN:-127.0.0.1:8080}"
dir="${PINSTRIPE_DIR:-.pinstripe}"
nodes="${PINSTRIPE_NODES:-26}"

echo "Building a release (some minutes the first time)"
cargo build --release --bin pinstripe
pinstripe="$PWD/target/release/pinstripe"

# A dev.json older than this was left by a network that ended uncleanly, and is not believed.
started=$(mktemp)
network="" sample=""
finish() {
    trap - EXIT
    rm -rf "$started" "$sample"
    if [ -n "$network" ]; then
        kill "$network" 2>/dev/null || true
        wait "$network" 2>/dev/null || true
    fi
}
trap finish EXIT
trap 'exit 0' INT
trap 'exit 1' TERM HUP

echo "Starting one gateway, one monitor and $nodes storage nodes in $dir"
"$pinstripe" dev --nodes "$nodes" --dir "$dir" --listen "$listen" &
network=$!
waited=0
until [ "$dir/dev.json" -nt "$started" ]; do
    if ! kill -0 $network 2>/dev/null; then
        echo "The network did not start; its logs are in $dir/logs" >&2
        echo "If the address $listen is taken: stop what runs there, or PINSTRIPE_LISTEN=127.0.0.1:9080 make demo" >&2
        exit 1
    fi
    sleep 0.2
    waited=$((waited + 1))
    if [ $waited -gt 600 ]; then
        echo "The network did not start in two minutes; its logs are in $dir/logs" >&2
        exit 1
    fi
done

sample=$(mktemp -d)
mkdir "$sample/site"
cat > "$sample/site/index.html" <<'HTML'
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Pinstripe</title></head>
<body><h1>It works</h1><p>This page is pinned on twenty nodes; any eight of them give it back.</p>
<p><a href="words.txt">words.txt</a></p></body></html>
HTML
for i in $(seq 1 20000); do echo "line $i of a file that is cut into blocks, coded and spread"; done > "$sample/site/words.txt"
cid=$("$pinstripe" add --quiet --dir "$dir" "$sample/site")
rm -rf "$sample" "$started"
key=$(cat "$dir/api.key")

cat <<EOT

Uploaded a sample directory.
  CID   $cid
  URL   http://$listen/ipfs/$cid/

Upload a file of your own:
  curl -X POST -H "Authorization: Bearer $key" -F file=@README.md http://$listen/v1/files

Read it back (the gateway sends you to a node of your region):
  curl -L http://$listen/ipfs/CID

Read as somebody in another region does (eu, na, as):
  curl --interface 127.1.0.9 -sIL http://$listen/ipfs/$cid/ | grep -i location
  curl --interface 127.2.0.9 -sIL http://$listen/ipfs/$cid/ | grep -i location

Kill a node and watch this terminal: within seconds it is noticed, within two minutes its pieces are rebuilt elsewhere.
  kill -9 \$(pgrep -f "$dir/nodes/node-01/pinner.toml")
  $pinstripe health --dir $dir $cid

More: $pinstripe --help     Stop the network: Ctrl-C
EOT
wait $network
