#!/bin/sh
# A backup every BACKUP_INTERVAL seconds, counted from the last one, so that a container that starts again makes none
# before it is due. One that fails is tried again in ten minutes; that no backup has succeeded for long is seen by
# Prometheus.
set -u
interval=${BACKUP_INTERVAL:-86400}
soon=${BACKUP_FIRST_AFTER:-60}
while :; do
    last=$(find "${BACKUP_DIR:-/backups}" -maxdepth 1 -name 'neo-*.tar.gz*' -printf '%T@\n' | sort -n | tail -n 1)
    last=${last%%.*}
    due=$((${last:-0} + interval - $(date +%s)))
    if [ "$due" -lt "$soon" ]; then due=$soon; fi
    # The clock may have been wrong when the last one was made.
    if [ "$due" -gt "$interval" ]; then due=$interval; fi
    sleep "$due"
    soon=0
    if ! sh "$(dirname "$0")/backup.sh"; then
        echo "the backup failed; again in ten minutes" >&2
        soon=600
    fi
done
