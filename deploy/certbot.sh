#!/bin/sh
# Gets a certificate for each domain, and renews it in time. Until there is one, what lies in /certificates
# (self-signed, made by `make up`) serves.
set -u
domains="$AI_DOMAIN $TELEGRAM_DOMAIN $MAIL_DOMAIN"
[ -n "${ACME_EMAIL:-}" ] || { echo "ACME_EMAIL is missing: the authority writes there before a certificate ends" >&2; exit 1; }
while :; do
    for domain in $domains; do
        certbot certonly --non-interactive --agree-tos --email "$ACME_EMAIL" --server "$ACME_SERVER" \
            --webroot --webroot-path /var/www/acme --cert-name "$domain" --domain "$domain" --keep-until-expiring \
            || { echo "no certificate for $domain; again in an hour" >&2; failed=1; continue; }
        mkdir -p "/certificates/$domain"
        for part in fullchain privkey; do
            # In one step: nginx may read at any moment.
            cp -L "/etc/letsencrypt/live/$domain/$part.pem" "/certificates/$domain/.$part.pem"
            mv "/certificates/$domain/.$part.pem" "/certificates/$domain/$part.pem"
        done
    done
    if [ -n "${failed:-}" ]; then failed=; sleep 3600; else sleep 43200; fi
done
