#!/bin/sh
# Brings a backup back: restore.sh FILE [databases|installation|all], or looks whether it could: restore.sh FILE check.
# The services must be stopped. What is in the databases now is replaced; that is asked for with
# RESTORE_CONFIRM=yes. Nothing is touched before the whole file has been read and its sums are right.
set -eu
umask 077
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || fail "usage: restore.sh FILE [databases|installation|all|check]"
file=$1
what=${2:-all}
case "$what" in
    databases | installation | all)
        [ "${RESTORE_CONFIRM:-}" = yes ] || fail "This replaces what is there now. Set RESTORE_CONFIRM=yes to go on."
        ;;
    check) ;;
    *) fail "what to restore: databases, installation or all; check looks whether it could be" ;;
esac
[ -r "$file" ] || file=$BACKUP_DIR/$1
[ -r "$file" ] || fail "$1 is not there or cannot be read, nor is $file"
work=
make_work

case "$file" in
    *.age)
        [ -r "${BACKUP_IDENTITY:-}" ] || fail "this backup is encrypted: set BACKUP_IDENTITY to the file of age's secret key"
        age --decrypt --identity "$BACKUP_IDENTITY" --output "$work/all.tar.gz" "$file" ||
            fail "it cannot be decrypted with this key: nothing was changed"
        tar -C "$work" -xzf "$work/all.tar.gz" || fail "$file is damaged: nothing was changed"
        rm -f "$work/all.tar.gz"
        ;;
    *) tar -C "$work" -xzf "$file" || fail "$file is damaged: nothing was changed" ;;
esac
(cd "$work" && sha256sum --quiet -c SHA256SUMS) || fail "$file is damaged: nothing was changed"

if [ "$what" != installation ]; then
    for dump in "$work"/databases/*.dump; do
        pg_restore --no-owner --file /dev/null "$dump" || fail "$(basename "$dump") cannot be read: nothing was changed"
    done
fi
if [ "$what" = check ]; then
    echo "$file is whole, and could be restored"
    exit 0
fi
if [ "$what" != installation ]; then
    for dump in "$work"/databases/*.dump; do
        database=$(basename "$dump" .dump) script=${dump%.dump}.sql
        # As text it is much larger than the dump: one at a time.
        pg_restore --no-owner --file "$script" "$dump" || fail "the database $database is as it was"
        # Whoever is still connected would write into what is being replaced.
        psql -qAt -v ON_ERROR_STOP=1 -d postgres -v database="$database" <<'SQL'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'database' AND pid <> pg_backend_pid() \g /dev/null
SQL
        # All of it or nothing: what fails in between leaves the database as it was.
        psql -q --single-transaction -v ON_ERROR_STOP=1 -d "$database" -o /dev/null \
            -c "DROP SCHEMA public CASCADE" -c "CREATE SCHEMA public AUTHORIZATION \"$database\"" \
            -c "SET ROLE \"$database\"" -f "$script" \
            || fail "the database $database is as it was; those that were named before are restored"
        rm -f "$script"
        echo "restored the database $database"
    done
fi
if [ "$what" != databases ] && [ -e "$work/installation.tar" ]; then
    tar -C "$BACKUP_SOURCES" -xf "$work/installation.tar"
    echo "restored settings, secrets and certificates in $BACKUP_SOURCES"
fi
