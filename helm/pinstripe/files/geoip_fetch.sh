# Fetches a GeoIP database (.mmdb, .mmdb.gz or .tar.gz) and renames it over the old one, which a gateway notices by itself.
# Argument: "start" never fails, for without a database only nearness is lost; "update" does.
set -eu
directory="${GEOIP_DIRECTORY:-/var/lib/geoip}"
target="$directory/city.mmdb"
work="$directory/.new"
mode="$1"

give_up() {
    echo "geoip: $1" >&2
    rm -rf "$work"
    if [ "$mode" = start ]; then
        echo "geoip: starting without a new database" >&2
        exit 0
    fi
    exit 1
}

rm -rf "$work"
mkdir -p "$work"
set -- --fail --silent --show-error --location --proto-redir =https --connect-timeout 10 --max-time 240 \
    --retry 3 --retry-delay 5 --max-filesize 536870912 --output "$work/fetched"
if [ -e /secrets/netrc ]; then
    set -- "$@" --netrc-file /secrets/netrc
fi
curl "$@" "$GEOIP_URL" || give_up "the database could not be fetched"

case "$GEOIP_URL" in
    *.tar.gz* | *.tgz* | *suffix=tar.gz*)
        tar -xzf "$work/fetched" -C "$work" || give_up "the archive is broken"
        found=$(find "$work" -name '*.mmdb' | head -n 1)
        ;;
    *.gz*)
        gunzip -c "$work/fetched" >"$work/city.mmdb" || give_up "the file is broken"
        found="$work/city.mmdb"
        ;;
    *) found="$work/fetched" ;;
esac
[ -n "$found" ] || give_up "the archive holds no .mmdb"
# The mark before the metadata, within the last 128 KiB of every such file.
tail -c 131072 "$found" | grep -q 'MaxMind.com' || give_up "what was fetched is no database"
mv "$found" "$target"
rm -rf "$work"
echo "geoip: database is new"
