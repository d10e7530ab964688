#!/bin/sh
# Brings the databases of a backup back: the file is read to its end while everything runs; then the services stop,
# what the databases hold is replaced, and the services start again, whatever has happened.
#   deploy/restore.sh neo-….tar.gz        in deploy/backups; the folder may be named, too
#   BACKUP_IDENTITY=key.txt               where it is encrypted: the file with age's secret key
# Settings, secrets and certificates come first, on a new machine: see deploy/README.md.
set -eu
given=${1:-}
key_file=${BACKUP_IDENTITY:-}
case "$given" in "" | /*) ;; */*) given=$PWD/$given ;; esac
case "$key_file" in "" | /*) ;; *) key_file=$PWD/$key_file ;; esac
cd "$(dirname "$0")/.."
. deploy/settings.sh
fail() {
    echo "$*. Nothing was changed" >&2
    exit 1
}
[ -n "$given" ] || fail "which one? make restore FILE=$(ls deploy/backups 2> /dev/null | grep '^neo-' | tail -n 1)"
name=$(basename "$given")
file=deploy/backups/$name
[ -f "$file" ] || fail "there is no $name in deploy/backups; one from elsewhere is copied there first"
case "$given" in */*)
    # Another file with this name may be meant.
    [ ! -e "$given" ] || cmp -s "$given" "$file" || fail "$given is not the $name in deploy/backups; copy it there first"
    ;;
esac
case "$name" in *.age)
    [ -n "$key_file" ] || fail "$name is encrypted: BACKUP_IDENTITY=key.txt says where age's secret key is"
    [ -r "$key_file" ] || fail "BACKUP_IDENTITY names $key_file, which cannot be read"
    ;;
esac

stopped='' key=''
leave() {
    [ -z "$key" ] || rm -rf "$key"
    # shellcheck disable=SC2086  # several words
    [ -z "$stopped" ] || deploy/compose.sh start $stopped
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -n "$key_file" ]; then
    # The container runs as another user. In memory, where there is such a place.
    memory=/dev/shm
    [ -w "$memory" ] || { memory=$PWD/deploy/state && mkdir -p "$memory"; }
    key=$(umask 077 && mktemp -d "$memory/neo-key.XXXXXX")
    (umask 077 && cat "$key_file" > "$key/identity")
fi
if [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086  # there may be none
    chown -R "$(user):$(user)" "$file" $key
fi
inside() {  # inside MODE: restore.sh, in a container of its own
    # shellcheck disable=SC2086  # several words
    deploy/compose.sh run --rm -T ${key:+-v "$key:/run/identity:ro" -e BACKUP_IDENTITY=/run/identity/identity} \
        -e RESTORE_CONFIRM=yes backup sh /opt/neo-backup/restore.sh "$name" "$1"
}

# Its image may be of before an upgrade.
deploy/compose.sh build --quiet backup
inside check
for service in $(deploy/compose.sh config --services | grep -xE 'ai-core|telegram|mail'); do
    # One that has never been started has no container. One that has, and cannot be stopped, would go on writing.
    containers=$(deploy/compose.sh ps -q "$service")
    if [ -n "$containers" ]; then
        stopped="$stopped $service"
        deploy/compose.sh stop "$service"
    fi
done
inside databases
deploy/up.sh
stopped=''
