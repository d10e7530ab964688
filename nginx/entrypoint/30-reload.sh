#!/bin/sh
# Certificates are renewed beside us, every two months or so; nginx reads them again four times a day.
set -eu
(
    while sleep "${NGINX_RELOAD_SECONDS:-21600}"; do
        nginx -t -q && nginx -s reload
    done
) &
