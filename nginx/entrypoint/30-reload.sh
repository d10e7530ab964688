#!/bin/sh
# Certificates are made and renewed beside us. What is in their files is looked at again and again; when it has
# changed, nginx reads them. Where it cannot (a key that is not yet that of its certificate), it goes on with what it
# has, and is asked again at the next look.
#   NGINX_RELOAD_SECONDS   between two looks                                                             [5]
#   NGINX_RELOAD           what makes nginx read its configuration again          [nginx -t -q && nginx -s reload]
set -eu
folder=${NGINX_CERTIFICATE_DIR:-/etc/nginx/certificates}
reload=${NGINX_RELOAD:-nginx -t -q && nginx -s reload}

content() {
    cat "$folder"/*/*.pem 2> /dev/null | cksum
}
known=$(content)
(
    refused=
    while sleep "${NGINX_RELOAD_SECONDS:-5}"; do
        found=$(content)
        [ "$found" != "$known" ] || continue
        if said=$(eval "$reload" 2>&1); then
            known=$found
        elif [ "$found" != "$refused" ]; then
            refused=$found
            echo "certificates have changed, and nginx does not take them: $said" >&2
        fi
    done
) &
