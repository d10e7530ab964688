#!/bin/sh
# Waits until every container of the suite that has a health check is well, and says which one is not.
set -eu
cd "$(dirname "$0")/.."
deadline=$(($(date +%s) + ${WAIT_SECONDS:-300}))
while :; do
    waiting=
    for container in $(deploy/compose.sh ps -q); do
        state=$(docker inspect --format '{{.Name}} {{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}} {{.State.ExitCode}}' "$container")
        case "$state" in
            *" healthy "* | *" running "* | *" exited 0") ;;
            *) waiting="$waiting ${state#/}," ;;
        esac
    done
    [ -n "$waiting" ] || exit 0
    if [ "$(date +%s)" -ge "$deadline" ]; then
        echo "not well:$waiting see: deploy/compose.sh logs SERVICE" >&2
        exit 1
    fi
    sleep 2
done
