#!/bin/sh
# Behind a CDN, the client's address stands in a header. It is believed from the CDN's networks alone.
#   CDN_TRUSTED_RANGES   networks, separated by spaces or commas; empty: no CDN
#   CDN_ADDRESS_HEADER   CF-Connecting-IP, X-Forwarded-For, …
set -eu
target="${NGINX_CDN_FILE:-/etc/nginx/conf.d/cdn.conf}"
: > "$target"
[ -n "${CDN_TRUSTED_RANGES:-}" ] || exit 0
for range in $(printf '%s' "$CDN_TRUSTED_RANGES" | tr ',' ' '); do
    case "$range" in
        *[!0-9a-fA-F.:/]*) echo "CDN_TRUSTED_RANGES: $range is no network" >&2; exit 1 ;;
    esac
    printf 'set_real_ip_from %s;\n' "$range" >> "$target"
done
header="${CDN_ADDRESS_HEADER:-X-Forwarded-For}"
case "$header" in
    *[!A-Za-z0-9-]*) echo "CDN_ADDRESS_HEADER: $header is no header's name" >&2; exit 1 ;;
esac
printf 'real_ip_header %s;\nreal_ip_recursive on;\n' "$header" >> "$target"
