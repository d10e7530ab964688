#!/bin/sh
# Brings the databases of a backup back: the services stop, what the databases hold is replaced, and the services
# start again. Settings, secrets and certificates come first, on a new machine: see deploy/README.md.
set -eu
cd "$(dirname "$0")/.."
[ -n "${1:-}" ] || { echo "which one? make restore FILE=$(ls deploy/backups 2> /dev/null | grep '^neo-' | tail -n 1)" >&2; exit 1; }
for service in $(deploy/compose.sh config --services | grep -xE 'ai-core|telegram|mail'); do
    # One that has never been started has no container. One that has, and cannot be stopped, would go on writing.
    containers=$(deploy/compose.sh ps -q "$service")
    if [ -n "$containers" ]; then deploy/compose.sh stop "$service"; fi
done
deploy/compose.sh run --rm -T -e RESTORE_CONFIRM=yes -e BACKUP_IDENTITY="${BACKUP_IDENTITY:-}" backup \
    sh /opt/neo-backup/restore.sh "$1" databases
deploy/up.sh
