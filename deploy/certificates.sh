#!/bin/sh
# A self-signed certificate for each domain that has none yet, so that nginx can start and TLS works locally.
# What an authority gives later takes its place. Safe to repeat.
set -eu
umask 077
cd "$(dirname "$0")/.."
for domain in "$@"; do
    folder=deploy/certificates/$domain
    [ -s "$folder/fullchain.pem" ] && [ -s "$folder/privkey.pem" ] && continue
    mkdir -p "$folder"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$domain" \
        -addext "subjectAltName=DNS:$domain" -keyout "$folder/privkey.pem" -out "$folder/fullchain.pem" 2> /dev/null
    echo "made a self-signed certificate for $domain in $folder"
done
if [ "$(id -u)" = 0 ]; then chown -R "${NEO_UID:-10001}:${NEO_UID:-10001}" deploy/certificates; fi
