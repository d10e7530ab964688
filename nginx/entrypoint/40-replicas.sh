#!/bin/bash
# Where there are several of a service, requests go to those that take them: each is asked at /readyz again and
# again, and whoever does not answer 200 is left out until it does. Where none answers well, all of them are tried:
# a service that is slow under load would otherwise be shut.
#   NGINX_REPLICAS          NAME=HOST:PORT[,HOST:PORT…], separated by spaces; a host may have several addresses.
#                           NAME is an upstream then, for AI_CORE_UPSTREAM and its kin. Empty: nothing happens here
#   NGINX_REPLICA_SECONDS   between two rounds of questions                                              [2]
#   NGINX_REPLICA_TIMEOUT   seconds that an answer may take                                              [2]
#   NGINX_RELOAD            what makes nginx read its configuration again          [nginx -t -q && nginx -s reload]
set -eu
[ -n "${NGINX_REPLICAS:-}" ] || exit 0
target=${NGINX_CONF_DIR:-/etc/nginx/conf.d}/replicas.conf
reload=${NGINX_RELOAD:-nginx -t -q && nginx -s reload}

addresses_of() {  # addresses_of HOST:PORT,…: each address with its port, a line each
    for member in ${1//,/ }; do
        getent ahostsv4 "${member%:*}" | cut -d ' ' -f 1 | sort -u | sed "s/\$/:${member##*:}/"
    done
}
well() {  # well ADDRESS:PORT
    timeout "${NGINX_REPLICA_TIMEOUT:-2}" bash -c '
        exec 3<> "/dev/tcp/${0%:*}/${0##*:}"
        printf "GET /readyz HTTP/1.0\r\nHost: replica\r\n\r\n" >&3
        read -r _ status _ <&3 && [ "$status" = 200 ]' "$1" 2> /dev/null
}
those_that_are_well() {  # … ADDRESS:PORT …: asked all at once
    for address in "$@"; do
        (if well "$address"; then echo "$address"; fi) &
    done
    wait
}
upstreams() {
    for group in $NGINX_REPLICAS; do
        all=$(addresses_of "${group#*=}")
        chosen=$(those_that_are_well $all | sort)
        echo "upstream ${group%%=*} {"
        echo "    zone ${group%%=*} 64k;"
        # Answers take from a second to minutes: whoever has the fewest under way gets the next request.
        echo "    least_conn;"
        for address in ${chosen:-$all}; do
            # Between two rounds, the first request that cannot be brought leaves it out.
            echo "    server $address max_fails=1 fail_timeout=5s;"
        done
        [ -n "$all" ] || echo "    server 127.0.0.1:9 down;"
        echo "}"
    done
}
renew() {  # succeeds if there was something new
    upstreams > "$target.new"
    if cmp -s "$target.new" "$target"; then rm "$target.new"; return 1; fi
    mv "$target.new" "$target"
}

renew || true
(
    due=
    while sleep "${NGINX_REPLICA_SECONDS:-2}"; do
        if renew; then due=yes; fi
        # What nginx does not take now, while a certificate is being laid out, say, it takes later.
        if [ -n "$due" ] && eval "$reload"; then due=; fi
    done
) &
