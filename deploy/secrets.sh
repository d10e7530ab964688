#!/bin/sh
# Makes every secret of the suite that is missing, one file each (mode 600), in a folder per service: each
# container sees its own folder only. What stands in .env is taken from there, and emptied there. What only some
# installations have is told to its service in deploy/state/settings/SERVICE.env: the names of files, no secrets.
# Safe to repeat: what is there stays.
set -eu
umask 077
cd "$(dirname "$0")/.."
. deploy/settings.sh
secrets=deploy/secrets
told=deploy/state/settings
owner=$(user)
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
given() {  # given NAME FILE…: what only the operator knows, from .env
    name=$1
    shift
    # In quotes or without: the services take both.
    value=$(sed -n "s/^$name=\(..*\)$/\1/p" .env 2> /dev/null | tail -n 1 | sed "s/^\"\(.*\)\"$/\1/; s/^'\(.*\)'$/\1/")
    [ -n "$value" ] || return 0
    for into; do write "$into" "$value"; done
    sed "s/^$name=.*$/$name=/" .env > .env.partial && cat .env.partial > .env && rm .env.partial
    echo "$name now stands in $secrets/$* instead of .env"
}
may_have() {  # may_have SERVICE NAME…: secrets that not every installation has. A service must not be told of a file
    # that is not there.
    service=$1
    shift
    for name; do
        file=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]')
        given "$name" "$service/$file"
        if [ -s "$secrets/$service/$file" ]; then echo "${name}_FILE=/run/secrets/$file"; fi >> "$told/$service.env.partial"
    done
    chmod 644 "$told/$service.env.partial"
    mv "$told/$service.env.partial" "$told/$service.env"
}

given DB_PASSWORD postgres/ai-core_password
given TELEGRAM_DB_PASSWORD postgres/telegram_password
given MAIL_DB_PASSWORD postgres/mail_password
given REDIS_PASSWORD redis/password
given SECRET_KEY ai-core/secret_key telegram/secret_key mail/secret_key
for service in ai-core telegram mail; do
    fresh "postgres/${service}_password"
    same "postgres/${service}_password" "$service/db_password"
    fresh "$service/secret_key"
done
fresh postgres/superuser_password
fresh redis/password
same postgres/superuser_password backup/postgres_password
for service in ai-core telegram mail; do same redis/password "$service/redis_password"; done
fresh postgres/exporter_password
same postgres/exporter_password postgres-exporter/password
# The exporter of Redis reads a list of addresses with their passwords.
redis=$(sed 's/[\\"]/\\&/g' "$secrets/redis/password")
[ "$(cat "$secrets/redis-exporter/redis.json" 2> /dev/null)" = "{\"redis://redis:6379\": \"$redis\"}" ] \
    || write redis-exporter/redis.json "{\"redis://redis:6379\": \"$redis\"}"
# What an earlier version gave to both exporters: among it, the password of PostgreSQL's superuser.
rm -rf "$secrets/exporters"
for service in telegram mail; do
    if runs_here ai-core || ! stands_alone; then
        key "$service/ai_api_key"
        same "$service/ai_api_key" "ai-core/${service}_key"
    elif runs_here "$service"; then
        # The AI core is elsewhere, and its keys are made there.
        given AI_API_KEY "$service/ai_api_key"
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
given TELEGRAM_BOT_TOKEN telegram/telegram_bot_token
given ALERT_TELEGRAM_TOKEN alertmanager/telegram_token
given ALERT_SMTP_PASSWORD alertmanager/smtp_password
given ALERT_SLACK_URL alertmanager/slack_url
given ALERT_WEBHOOK_URL alertmanager/webhook_url
given ALERT_WATCHDOG_URL alertmanager/watchdog_url
given WEBHOOK_SECRET telegram/webhook_secret
fresh telegram/webhook_secret
given ADMIN_KEY mail/admin_key
fresh mail/admin_key
fresh grafana/admin_password
given SECRET_KEY_OLD telegram/secret_key_old mail/secret_key_old
(umask 022 && mkdir -p "$told")
rm -f "$told"/*.partial
may_have ai-core TRANSCRIPTION_API_KEY HUGGINGFACE_TOKEN
may_have telegram SECRET_KEY_OLD TELEGRAM_SECRET_KEY TELEGRAM_SECRET_KEY_OLD TELEGRAM_WEBHOOK_SECRET \
    TELEGRAM_AI_API_KEY TELEGRAM_REDIS_URL TELEGRAM_REDIS_PASSWORD
may_have mail EMAIL_PASSWORD SMTP_PASSWORD OAUTH_CLIENT_SECRET OAUTH_REFRESH_TOKEN SECRET_KEY_OLD MAIL_SECRET_KEY \
    MAIL_SECRET_KEY_OLD MAIL_EMAIL_PASSWORD MAIL_SMTP_PASSWORD MAIL_OAUTH_CLIENT_SECRET MAIL_OAUTH_REFRESH_TOKEN \
    MAIL_ADMIN_KEY MAIL_AI_API_KEY MAIL_REDIS_URL MAIL_REDIS_PASSWORD

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
