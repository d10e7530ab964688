#!/bin/sh
# A self-signed certificate for each domain that has none yet, so that nginx can start and TLS works locally.
# What an authority gives later takes its place. One that this script has made, and that ends within thirty days, is
# made anew; others are never touched. Safe to repeat.
set -eu
umask 077
cd "$(dirname "$0")/.."
# As long as all clients take one that no authority has signed.
days=825
maker="Code du Travail Neo, make up"
is_ours() {  # is_ours FILE DOMAIN
    names=$(openssl x509 -in "$1" -noout -subject -issuer -nameopt multiline 2> /dev/null | sed -n 's/^ *\(common\|organization\)Name *= //p')
    [ "$names" = "$(printf '%s\n%s\n%s\n%s' "$maker" "$2" "$maker" "$2")" ]
}
for domain in "$@"; do
    folder=deploy/certificates/$domain
    if [ -s "$folder/fullchain.pem" ] && [ -s "$folder/privkey.pem" ]; then
        is_ours "$folder/fullchain.pem" "$domain" || continue
        ! openssl x509 -in "$folder/fullchain.pem" -noout -checkend $((30 * 86400)) > /dev/null || continue
        echo "the certificate for $domain ends soon; where another server trusts it, copy the new one there"
    fi
    mkdir -p "$folder"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$days" -subj "/O=$maker/CN=$domain" \
        -addext "subjectAltName=DNS:$domain" -keyout "$folder/.privkey.pem" -out "$folder/.fullchain.pem" 2> /dev/null
    for part in privkey fullchain; do mv "$folder/.$part.pem" "$folder/$part.pem"; done
    echo "made a self-signed certificate for $domain in $folder"
done
if [ "$(id -u)" = 0 ]; then chown -R "${NEO_UID:-10001}:${NEO_UID:-10001}" deploy/certificates; fi
