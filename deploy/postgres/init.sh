#!/bin/sh
# Run once, when the cluster is made: a role and a database for each service that uses it (NEO_SERVICES; empty:
# all of them), which sees no other.
set -eu
for service in ${NEO_SERVICES:-ai-core telegram mail}; do
    role=$(printf '%s' "$service" | tr -d -)
    password=$(cat "/run/secrets/${service}_password")
    psql -v ON_ERROR_STOP=1 -v role="$role" -v password="$password" \
        --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
SQL
done
