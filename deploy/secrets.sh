#!/bin/sh
# Makes every secret of the suite that is missing, one file each (mode 600), in a folder per service: each
# container sees its own folder only. What stands in .env is taken from there, and emptied there.
# Safe to repeat: what is there stays.
set -eu
umask 077
cd "$(dirname "$0")/.."
. deploy/settings.sh
secrets=deploy/secrets
owner=$(value NEO_UID 10001)
made=0

letters() {  # letters COUNT SET: that many random characters of a set
    LC_ALL=C tr -dc "$2" < /dev/urandom | head -c "$1"
}
write() {  # write FILE VALUE
    mkdir -p "$secrets/$(dirname "$1")"
    printf '%s\n' "$2" > "$secrets/$1.partial"
    mv "$secrets/$1.partial" "$secrets/$1"
    made=$((made + 1))
}
fresh() {  # fresh FILE: a random secret, unless it is there
    [ -s "$secrets/$1" ] || write "$1" "$(letters 48 'A-Za-z0-9')"
}
key() {  # key FILE: an API key of the AI core, unless it is there
    [ -s "$secrets/$1" ] || write "$1" "neo_$(letters 10 'a-z0-9')_$(letters 40 'A-Za-z0-9')"
}
same() {  # same FROM TO: what two containers must both know
    cmp -s "$secrets/$1" "$secrets/$2" || write "$2" "$(cat "$secrets/$1")"
}
given() {  # given FILE NAME: what only the operator knows, from .env
    value=$(sed -n "s/^$2=\(..*\)$/\1/p" .env 2>/dev/null | tail -n 1)
    [ -n "$value" ] || return 0
    write "$1" "$value"
    sed "s/^$2=.*$/$2=/" .env > .env.partial && cat .env.partial > .env && rm .env.partial
    echo "$2 now stands in $secrets/$1 instead of .env"
}

for service in ai-core telegram mail; do
    fresh "postgres/${service}_password"
    same "postgres/${service}_password" "$service/db_password"
    fresh "$service/secret_key"
done
fresh postgres/superuser_password
fresh redis/password
same postgres/superuser_password backup/postgres_password
for service in ai-core telegram mail exporters; do same redis/password "$service/redis_password"; done
same postgres/superuser_password exporters/postgres_password
# The exporter of Redis reads a list of addresses with their passwords.
[ -s "$secrets/exporters/redis.json" ] && grep -qF "\"$(cat "$secrets/redis/password")\"" "$secrets/exporters/redis.json" \
    || write exporters/redis.json "{\"redis://redis:6379\": \"$(cat "$secrets/redis/password")\"}"
for service in telegram mail; do
    if runs_here ai-core || ! stands_alone; then
        key "$service/ai_api_key"
        same "$service/ai_api_key" "ai-core/${service}_key"
    elif runs_here "$service"; then
        # The AI core is elsewhere, and its keys are made there.
        given "$service/ai_api_key" AI_API_KEY
        if [ ! -s "$secrets/$service/ai_api_key" ]; then
            echo "AI_API_KEY is missing: write into .env what stands in $secrets/$service/ai_api_key on the AI core's server" >&2
            exit 1
        fi
    fi
done
key prometheus/ai_core_key
same prometheus/ai_core_key ai-core/metrics_key
# docker-compose.gpu.yml: the server that computes on a graphics processor.
fresh gpu-engine/api_key
same gpu-engine/api_key ai-core/gpu_engine_key
fresh telegram/webhook_secret
fresh mail/admin_key
fresh grafana/admin_password
given telegram/telegram_bot_token TELEGRAM_BOT_TOKEN
given telegram/webhook_secret WEBHOOK_SECRET
given mail/email_password EMAIL_PASSWORD
given mail/smtp_password SMTP_PASSWORD
given ai-core/huggingface_token HUGGINGFACE_TOKEN

# Where the operator puts the addresses that alerts go to.
mkdir -p "$secrets/alertmanager"

# The containers run as this user. Root can give the files away; anybody else runs the containers as themselves.
# PostgreSQL's image becomes a user of its own before it reads them, and backups read them, too: nobody else comes
# past the folder around them.
if [ "$(id -u)" = 0 ]; then
    chown -R "$owner:$owner" "$secrets"
    chown -R "${POSTGRES_UID:-999}:$owner" "$secrets/postgres"
    chmod -R u=rwX,g=rX,o= "$secrets/postgres"
else
    chmod -R u=rwX,go=rX "$secrets/postgres"
fi
echo "$made secrets made in $secrets"
