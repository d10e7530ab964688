# For backup.sh and restore.sh: where things are.
#   BACKUP_DIR        where backups lie, and where they are made and unpacked   [/backups]
#   BACKUP_SOURCES    folder with the installation: .env, config, secrets, …    [/installation]
#   BACKUP_RECIPIENT  age's public key; empty: backups are not encrypted
#   BACKUP_IDENTITY   file with age's secret key, for restoring only
#   PGHOST, PGPORT, PGUSER, and PGPASSWORD_FILE: a file that holds the password
BACKUP_DIR=${BACKUP_DIR:-/backups}
BACKUP_SOURCES=${BACKUP_SOURCES:-/installation}
DATABASES=${BACKUP_DATABASES:-"aicore telegram mail"}
# What an installation is, besides its databases. Models are fetched again.
PARTS=".env config deploy/secrets deploy/certificates"
# What only some have: accounts and keys of a mail server of their own, and those with an authority for certificates.
MORE_PARTS="deploy/mailserver deploy/acme"
export PGHOST="${PGHOST:-postgres}" PGPORT="${PGPORT:-5432}" PGUSER="${PGUSER:-postgres}"
if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
fi
fail() {
    echo "$*" >&2
    exit 1
}
make_work() {  # one at a time; $work is a folder for its owner only, where there is room for what is in a backup
    exec 9> "$BACKUP_DIR/.lock"
    flock -n 9 || { echo "waiting for a backup or a restore that is under way" >&2 && flock 9; }
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # What was killed has left its own.
    rm -rf "$BACKUP_DIR"/.work.*
    work=$(mktemp -d "$BACKUP_DIR/.work.XXXXXX")
}
