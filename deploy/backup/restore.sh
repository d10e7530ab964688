#!/bin/sh
# Brings a backup back: restore.sh FILE [databases|installation|all].
# The services must be stopped. What is in the databases now is replaced; that is asked for with
# RESTORE_CONFIRM=yes. Nothing is touched before the whole file has been read and its sums are right.
set -eu
umask 077
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || fail "usage: restore.sh FILE [databases|installation|all]"
file=$1
what=${2:-all}
case "$what" in databases | installation | all) ;; *) fail "what to restore: databases, installation or all" ;; esac
[ -r "$file" ] || file=$BACKUP_DIR/$1
[ -r "$file" ] || fail "$1 is not there, nor is $file"
[ "${RESTORE_CONFIRM:-}" = yes ] || fail "This replaces what is there now. Set RESTORE_CONFIRM=yes to go on."
work=$(mktemp -d "${TMPDIR:-/tmp}/neo-restore.XXXXXX")
trap 'rm -rf "$work"' EXIT

case "$file" in
    *.age)
        [ -r "${BACKUP_IDENTITY:-}" ] || fail "this backup is encrypted: set BACKUP_IDENTITY to the file of age's secret key"
        age --decrypt --identity "$BACKUP_IDENTITY" "$file" > "$work.tar.gz" || { rm -f "$work.tar.gz"; fail "it cannot be decrypted with this key"; }
        tar -C "$work" -xzf "$work.tar.gz"
        rm -f "$work.tar.gz"
        ;;
    *) tar -C "$work" -xzf "$file" ;;
esac
(cd "$work" && sha256sum --quiet -c SHA256SUMS) || fail "$file is damaged: nothing was changed"

if [ "$what" != installation ]; then
    for dump in "$work"/databases/*.dump; do
        pg_restore --no-owner --file "${dump%.dump}.sql" "$dump" || fail "$(basename "$dump") cannot be read: nothing was changed"
    done
    for script in "$work"/databases/*.sql; do
        database=$(basename "$script" .sql)
        # Whoever is still connected would write into what is being replaced.
        psql -qAt -v ON_ERROR_STOP=1 -d postgres -v database="$database" <<'SQL'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'database' AND pid <> pg_backend_pid() \g /dev/null
SQL
        # All of it or nothing: what fails in between leaves the database as it was.
        psql -q --single-transaction -v ON_ERROR_STOP=1 -d "$database" -o /dev/null \
            -c "DROP SCHEMA public CASCADE" -c "CREATE SCHEMA public AUTHORIZATION \"$database\"" \
            -c "SET ROLE \"$database\"" -f "$script" \
            || fail "the database $database is as it was; those that were named before are restored"
        echo "restored the database $database"
    done
fi
if [ "$what" != databases ] && [ -e "$work/installation.tar" ]; then
    tar -C "$BACKUP_SOURCES" -xf "$work/installation.tar"
    echo "restored settings, secrets and certificates in $BACKUP_SOURCES"
fi
