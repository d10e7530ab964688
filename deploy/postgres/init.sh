#!/bin/sh
# A role and a database for each service that uses this cluster (NEO_SERVICES; empty: all of them), which sees no
# other, and a role for Prometheus's exporter, which sees numbers and no table. PostgreSQL's image runs it when the
# cluster is made; `make up` runs it again, so that what a later version has added, and passwords that have changed,
# are there as well. Safe to repeat.
set -eu
ask() { psql -qAtX -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres "$@"; }
role() {  # role NAME FILE: is there, with the password in the file
    ask -v role="$1" -v password="$(cat "${SECRETS:-/run/secrets}/$2")" <<'SQL'
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN PASSWORD :'password';
SQL
}

for service in ${NEO_SERVICES:-ai-core telegram mail}; do
    role=$(printf '%s' "$service" | tr -d -)
    role "$role" "${service}_password"
    ask -v role="$role" <<'SQL'
SELECT format('CREATE DATABASE %I OWNER %I', :'role', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
SQL
done
role exporter exporter_password
ask -c "GRANT pg_monitor TO exporter"
