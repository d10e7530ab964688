#!/bin/sh
# Writes Alertmanager's configuration, deploy/state/alertmanager/alertmanager.yml: deploy/alertmanager/routes.yml,
# and those who hear alerts, from .env (ALERT_…) and deploy/secrets/alertmanager. Says so if nobody does.
set -eu
cd "$(dirname "$0")/.."
. deploy/settings.sh
secrets=deploy/secrets/alertmanager
target=deploy/state/alertmanager/alertmanager.yml

quoted() {  # quoted WORD: for YAML
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"
}
secret() {  # secret FILE: whether it is there
    [ -s "$secrets/$1" ]
}
missing() {
    echo "$1 is missing: write it into .env, or leave $2 empty" >&2
    exit 1
}
telegram() {
    chat=$(value ALERT_TELEGRAM_CHAT '')
    [ -n "$chat" ] || return 0
    case "$chat" in *[!0-9-]*) echo "ALERT_TELEGRAM_CHAT: $chat is no number of a chat" >&2; exit 1 ;; esac
    secret telegram_token || missing ALERT_TELEGRAM_TOKEN ALERT_TELEGRAM_CHAT
    echo "    telegram_configs:"
    echo "      - {bot_token_file: /run/secrets/telegram_token, chat_id: $chat, parse_mode: '', send_resolved: true}"
}
email() {
    to=$(value ALERT_EMAIL '') server=$(value ALERT_SMTP '') user=$(value ALERT_SMTP_USER '')
    from=$(value ALERT_EMAIL_FROM '')
    [ -n "$to" ] || return 0
    [ -n "$server" ] || missing ALERT_SMTP ALERT_EMAIL
    [ -z "$user" ] || secret smtp_password || missing ALERT_SMTP_PASSWORD ALERT_SMTP_USER
    echo "    email_configs:"
    echo "      - to: $(quoted "$to")"
    echo "        from: $(quoted "${from:-$to}")"
    echo "        smarthost: $(quoted "$server")"
    if [ -n "$user" ]; then
        echo "        auth_username: $(quoted "$user")"
        echo "        auth_password_file: /run/secrets/smtp_password"
    fi
    echo "        send_resolved: true"
}
slack() {
    secret slack_url || return 0
    echo "    slack_configs:"
    # Of its own accord Alertmanager tells the alert's name there, and not what it means.
    echo "      - api_url_file: /run/secrets/slack_url"
    echo "        send_resolved: true"
    echo "        text: '{{ range .Alerts }}{{ .Annotations.summary }}. {{ end }}'"
}
webhook() {
    secret webhook_url || return 0
    echo "    webhook_configs:"
    echo "      - {url_file: /run/secrets/webhook_url, send_resolved: true}"
}
ways() {  # ways KIND…: those that are set
    for way; do $way; done
}

every="telegram email slack webhook"
tickets=$(value ALERT_TICKETS '')
tickets=$(printf '%s' "$tickets" | tr ',' ' ')
for way in $tickets; do
    case " $every " in *" $way "*) ;; *) echo "ALERT_TICKETS: $way is none of $every" >&2; exit 1 ;; esac
done
# shellcheck disable=SC2086  # words
pages=$(ways $every) tickets=$(ways ${tickets:-$every})
[ -n "$pages" ] || echo "nobody hears alerts: set ALERT_TELEGRAM_CHAT, ALERT_EMAIL, ALERT_SLACK_URL or ALERT_WEBHOOK_URL in .env"
[ -z "$pages" ] || [ -n "$tickets" ] || echo "nobody hears tickets: what ALERT_TICKETS names is not set in .env"

mkdir -p "$(dirname "$target")"
{
    echo "# Written by deploy/alerts.sh from .env; \`make up\` writes it again."
    cat deploy/alertmanager/routes.yml
    echo
    echo "receivers:"
    printf '  - name: on-call\n%s\n' "$pages"
    printf '  - name: tickets\n%s\n' "$tickets"
    echo "  - name: watchdog"
    if secret watchdog_url; then
        echo "    webhook_configs:"
        echo "      - {url_file: /run/secrets/watchdog_url, send_resolved: false}"
    fi
} > "$target.partial"
# Written over, so that a container that runs sees it.
cat "$target.partial" > "$target"
rm "$target.partial"
