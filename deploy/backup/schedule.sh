#!/bin/sh
# A backup every BACKUP_INTERVAL seconds, the first one soon after the start. One that fails is tried again
# in ten minutes; that no backup has succeeded for long is seen by Prometheus.
set -u
sleep "${BACKUP_FIRST_AFTER:-60}"
while :; do
    if sh "$(dirname "$0")/backup.sh"; then
        sleep "${BACKUP_INTERVAL:-86400}"
    else
        echo "the backup failed; again in ten minutes" >&2
        sleep 600
    fi
done
