#!/bin/sh
# Starts the suite: makes what is missing (settings, secrets, certificates), builds the images, and waits until
# every service is well. Safe to repeat; what has not changed goes on running.
set -eu
cd "$(dirname "$0")/.."

. deploy/settings.sh

if [ ! -e .env ]; then
    cp .env.example .env
    echo "made .env from .env.example"
fi
NEO_UID=$(user)
export NEO_UID
deploy/secrets.sh
ai=$(value AI_DOMAIN ai.localhost) telegram=$(value TELEGRAM_DOMAIN telegram.localhost) mail=$(value MAIL_DOMAIN mail.localhost)
if stands_alone; then
    if runs_here ai-core; then deploy/certificates.sh "$ai"; fi
    if runs_here telegram; then deploy/certificates.sh "$telegram"; fi
else
    deploy/certificates.sh "$ai" "$telegram" "$mail"
fi
mkdir -p config deploy/switches deploy/backups deploy/certificates deploy/acme deploy/state/prometheus \
    deploy/state/grafana deploy/state/metrics deploy/state/acme deploy/wheels deploy/prometheus/targets \
    deploy/secrets/alertmanager
# Another user than that of the containers reads what is measured there.
chmod 755 deploy/state/metrics 2> /dev/null || true

# Without a list of models of one's own, the demo model is served.
[ -e config/models.json ] || cp config/models.demo.json config/models.json

if ! stands_alone; then
    for profile in telegram mail; do
        if ! has_profile "$profile"; then echo "$profile is off: COMPOSE_PROFILES=$profile in .env switches it on"; fi
    done
fi
if runs_here telegram && [ ! -s deploy/secrets/telegram/telegram_bot_token ]; then
    echo "TELEGRAM_BOT_TOKEN is missing: write the token that @BotFather gave you into .env, and run this again" >&2
    exit 1
fi
if runs_here mail && ! grep -qE '^(MAIL_)?(EMAIL_PASSWORD_FILE|OAUTH_REFRESH_TOKEN_FILE|ACCOUNTS_PATH)=.' \
    .env deploy/state/settings/mail.env; then
    echo "EMAIL_PASSWORD is missing: write the mailbox's password into .env (or OAUTH_REFRESH_TOKEN, or ACCOUNTS_PATH), \
and run this again" >&2
    exit 1
fi

# Docker kills what has not ended after stop_grace_period (deploy/compose.services.yml), with its running answers.
ends_in_time() {  # ends_in_time SETTING DEFAULT SECONDS: five are left for all else
    seconds=$(value "$1" "$2")
    if [ "${seconds%%.*}" -gt $(($3 - 5)) ]; then
        echo "$1=$seconds: Docker kills this service $3 seconds after it is told to stop; at most $(($3 - 5)) are possible" >&2
        exit 1
    fi
}
ends_in_time DRAIN_TIMEOUT 30 45
ends_in_time TELEGRAM_DRAIN_TIMEOUT 20 30
ends_in_time MAIL_DRAIN_TIMEOUT 20 60

# What Prometheus is to find; a service that should run and does not is noticed this way only.
target() { printf '[{"targets": [%s]}]\n' "$2" > "deploy/prometheus/targets/$1.json"; }
target ai-core '"ai-core:8000"'
if runs_here telegram; then target telegram '"telegram:8001"'; else target telegram ''; fi
if runs_here mail; then target mail '"mail:8002"'; else target mail ''; fi
port=$(value HTTPS_PORT 443)
[ "$port" = 443 ] && port= || port=:$port
door() { printf '{"targets": ["https://%s%s/livez"], "labels": {"service": "%s"}}' "$1" "$port" "$2"; }
domains=$(door "$ai" ai-core)
if has_profile telegram; then domains="$domains, $(door "$telegram" telegram)"; fi
if has_profile mail; then domains="$domains, $(door "$mail" mail)"; fi
printf '[%s]\n' "$domains" > deploy/prometheus/targets/domains.json
# And who is to hear of what it finds.
if has_profile monitoring; then deploy/alerts.sh; fi

# Folders that containers write into, and secrets, belong to the user that they run as.
if [ "$(id -u)" = 0 ]; then
    chown -R "$NEO_UID:$NEO_UID" deploy/backups deploy/acme deploy/state deploy/certificates
    # Backups read these. Where not everybody may, the group of the containers may.
    find . deploy -maxdepth 0 ! -perm -o=rx -exec chgrp "$NEO_UID" {} + -exec chmod g+rx {} +
    for part in .env config deploy/mailserver; do
        [ ! -e "$part" ] || find "$part" \( -type d ! -perm -o=rx -o -type f ! -perm -o=r \) \
            -exec chgrp "$NEO_UID" {} + -exec chmod g+rX {} +
    done
fi
deploy/compose.sh build --quiet
# Roles that a later version asks for, and passwords that have changed: before the services come with them, where the
# cluster runs already. One that is not up yet may refuse that; once all is well, it is done again, and says why not.
tend_cluster() {
    deploy/compose.sh exec -T postgres sh -c 'PGHOST=127.0.0.1 PGPASSWORD=$(cat /run/secrets/superuser_password) \
        sh /docker-entrypoint-initdb.d/init.sh' < /dev/null
}
if [ -n "$(deploy/compose.sh ps -q postgres)" ]; then tend_cluster 2> /dev/null || true; fi
deploy/compose.sh up --detach --remove-orphans
deploy/wait.sh
tend_cluster
# What stands in their files has no effect on those that run already.
if has_profile monitoring; then
    for each in prometheus alertmanager; do deploy/compose.sh exec -T "$each" sh -c 'kill -HUP 1' < /dev/null; done
fi
if ! runs_here ai-core; then exit 0; fi
echo "https://$ai answers. A key for a program: deploy/compose.sh exec ai-core ai-core keys create --name NAME"
