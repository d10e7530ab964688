#!/bin/sh
# docker compose, whichever of its two generations this machine has, in the folder of the suite. COMPOSE_FILE in .env
# says what is meant by it, where that is not the whole suite; without --env-file, .env would be looked for beside that.
cd "$(dirname "$0")/.." || exit 1
. deploy/settings.sh
NEO_UID=$(user)
NEO_NGINX_ADDRESS=$(nginx_address)
export NEO_UID NEO_NGINX_ADDRESS
# Compose refuses to do anything without the files that it is pointed at; deploy/secrets.sh fills these.
for service in ai-core telegram mail; do
    file=deploy/state/settings/$service.env
    [ -e "$file" ] || { mkdir -p deploy/state/settings && : > "$file"; } || exit 1
done
if [ -e .env ]; then set -- --env-file .env "$@"; fi
if docker compose version > /dev/null 2>&1; then exec docker compose "$@"; fi
if command -v docker-compose > /dev/null 2>&1; then exec docker-compose "$@"; fi
echo "Docker's compose is missing: deploy/install.sh installs it, or see https://docs.docker.com/compose/install/" >&2
exit 1
