#!/bin/sh
# A server that runs a part of the suite opens its door for that part's domain only.
#   NGINX_SITES   ai, telegram, mail; separated by spaces; empty: all of them
set -eu
[ -n "${NGINX_SITES:-}" ] || exit 0
for file in "${NGINX_CONF_DIR:-/etc/nginx/conf.d}"/site-*.conf; do
    site=${file##*/site-}
    case " $NGINX_SITES " in
        *" ${site%.conf} "*) ;;
        *) rm -f "$file" ;;
    esac
done
