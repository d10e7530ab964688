# For backup.sh and restore.sh: where things are.
#   BACKUP_DIR        where backups lie                                         [/backups]
#   BACKUP_SOURCES    folder with the installation: .env, config, secrets, …    [/installation]
#   BACKUP_RECIPIENT  age's public key; empty: backups are not encrypted
#   BACKUP_IDENTITY   file with age's secret key, for restoring only
#   PGHOST, PGPORT, PGUSER, and PGPASSWORD_FILE: a file that holds the password
BACKUP_DIR=${BACKUP_DIR:-/backups}
BACKUP_SOURCES=${BACKUP_SOURCES:-/installation}
DATABASES=${BACKUP_DATABASES:-"aicore telegram mail"}
# What an installation is, besides its databases. Models are fetched again.
PARTS=".env config deploy/secrets deploy/certificates"
export PGHOST="${PGHOST:-postgres}" PGPORT="${PGPORT:-5432}" PGUSER="${PGUSER:-postgres}"
if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
fi
fail() {
    echo "$*" >&2
    exit 1
}
