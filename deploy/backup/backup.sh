#!/bin/sh
# One backup: a dump of each database, the settings, the secrets and the certificates, in one file. All of it, or none:
# where a part is missing, that is said. Written under another name first, and checked, before it counts.
# Of the BACKUP_KEEP latest days the last one of each stays, and so do the BACKUP_KEEP last ones of all.
set -eu
umask 077
. "$(dirname "$0")/common.sh"
work=
make_work
stamp=$(date -u +%Y%m%dT%H%M%SZ)
present=$PARTS
for part in $MORE_PARTS; do
    if [ -e "$BACKUP_SOURCES/$part" ]; then present="$present $part"; fi
done
for part in $present; do
    [ -e "$BACKUP_SOURCES/$part" ] || fail "there is no $part in the folder of the suite, or it cannot be looked into: \
no backup was made. make up makes what is missing"
    hidden=$(find "$BACKUP_SOURCES/$part" ! -readable | head -n 3)
    [ -z "$hidden" ] || fail "what belongs into a backup cannot be read: $hidden
no backup was made. make up, as root, gives files to those who read them"
done

content=$work/content
mkdir -p "$content/databases"
for database in $DATABASES; do
    pg_dump --format=custom --no-owner --file "$content/databases/$database.dump" "$database"
    # A dump that cannot be listed cannot be restored.
    pg_restore --list "$content/databases/$database.dump" > /dev/null
    echo "$database: $(wc -c < "$content/databases/$database.dump") bytes"
done
# shellcheck disable=SC2086  # several words
tar -C "$BACKUP_SOURCES" -cf "$content/installation.tar" $present
(cd "$content" && find . -type f ! -name SHA256SUMS | sort | xargs sha256sum > SHA256SUMS)

name=neo-$stamp.tar.gz
# Not through a pipe into age: there nobody would notice that tar failed.
tar -C "$content" -czf "$work/$name" .
tar -tzf "$work/$name" > /dev/null
if [ -n "${BACKUP_RECIPIENT:-}" ]; then
    age --recipient "$BACKUP_RECIPIENT" --output "$work/$name.age" "$work/$name"
    name=$name.age
fi
[ -s "$work/$name" ] || fail "the backup is empty"
sync "$work/$name"
mv "$work/$name" "$BACKUP_DIR/$name"

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
# Newest first. The name begins with the day: neo-20260131T…
ls -1 "$BACKUP_DIR" | grep '^neo-.*\.tar\.gz' | sort -r | awk -v keep="${BACKUP_KEEP:-14}" '
    { day = substr($0, 5, 8); if (!(day in seen)) { seen[day] = 1; last = ++days <= keep } else last = 0 }
    !last && NR > keep' | while read -r old; do
    rm -f "$BACKUP_DIR/$old"
    echo "removed $old"
done
echo "made $BACKUP_DIR/$name"
