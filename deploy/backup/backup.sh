#!/bin/sh
# One backup: a dump of each database, the settings, the secrets and the certificates, in one file.
# Written under another name first, and checked, before it counts; older ones than BACKUP_KEEP go.
set -eu
umask 077
. "$(dirname "$0")/common.sh"
stamp=$(date -u +%Y%m%dT%H%M%SZ)
work=$(mktemp -d "${TMPDIR:-/tmp}/neo-backup.XXXXXX")
trap 'rm -rf "$work" "$work.tar.gz"' EXIT

mkdir -p "$work/databases"
for database in $DATABASES; do
    pg_dump --format=custom --no-owner --file "$work/databases/$database.dump" "$database"
    # A dump that cannot be listed cannot be restored.
    pg_restore --list "$work/databases/$database.dump" > /dev/null
    echo "$database: $(wc -c < "$work/databases/$database.dump") bytes"
done
present=
for part in $PARTS; do
    [ -e "$BACKUP_SOURCES/$part" ] && present="$present $part"
done
[ -n "$present" ] && tar -C "$BACKUP_SOURCES" -cf "$work/installation.tar" $present
(cd "$work" && find . -type f ! -name SHA256SUMS | sort | xargs sha256sum > SHA256SUMS)

name=neo-$stamp.tar.gz
if [ -n "${BACKUP_RECIPIENT:-}" ]; then
    name=$name.age
    # Not through a pipe: there nobody would notice that tar failed.
    tar -C "$work" -czf "$work.tar.gz" .
    age --recipient "$BACKUP_RECIPIENT" --output "$BACKUP_DIR/.$name.partial" "$work.tar.gz"
else
    tar -C "$work" -czf "$BACKUP_DIR/.$name.partial" .
    tar -tzf "$BACKUP_DIR/.$name.partial" > /dev/null
fi
[ -s "$BACKUP_DIR/.$name.partial" ] || fail "the backup is empty"
sync "$BACKUP_DIR/.$name.partial"
mv "$BACKUP_DIR/.$name.partial" "$BACKUP_DIR/$name"
rm -f "$BACKUP_DIR"/.neo-*.partial

# For Prometheus, through node-exporter's textfile collector.
if [ -n "${BACKUP_METRICS_DIR:-}" ]; then
    {
        echo "# HELP neo_backup_last_success_timestamp_seconds When the last backup was complete."
        echo "# TYPE neo_backup_last_success_timestamp_seconds gauge"
        echo "neo_backup_last_success_timestamp_seconds $(date +%s)"
        echo "# HELP neo_backup_size_bytes Size of the last backup."
        echo "# TYPE neo_backup_size_bytes gauge"
        echo "neo_backup_size_bytes $(wc -c < "$BACKUP_DIR/$name")"
    } > "$BACKUP_METRICS_DIR/.backup.prom"
    chmod 644 "$BACKUP_METRICS_DIR/.backup.prom"
    mv "$BACKUP_METRICS_DIR/.backup.prom" "$BACKUP_METRICS_DIR/backup.prom"
fi
ls -1 "$BACKUP_DIR" | grep '^neo-.*\.tar\.gz' | sort -r | tail -n "+$((${BACKUP_KEEP:-14} + 1))" | while read -r old; do
    rm -f "$BACKUP_DIR/$old"
    echo "removed $old"
done
echo "made $BACKUP_DIR/$name"
