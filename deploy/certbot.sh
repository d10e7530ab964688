#!/bin/sh
# Gets a certificate for each domain, and renews it in time. Until there is one, what lies in /certificates
# (self-signed, made by `make up`) serves.
#   PROFILES           what runs here, with commas in between: the domains of others need no certificate
#   CERTIFICATES_DIR   where nginx reads them                                                    [/certificates]
#   LETSENCRYPT_DIR    where certbot keeps them                                                  [/etc/letsencrypt]
set -u
[ -n "${ACME_EMAIL:-}" ] || { echo "ACME_EMAIL is missing: the authority writes there before a certificate ends" >&2; exit 1; }
certificates=${CERTIFICATES_DIR:-/certificates} live=${LETSENCRYPT_DIR:-/etc/letsencrypt}/live

domains() {  # those that are served, each once; of names that lead nowhere, no authority certifies any
    {
        echo "${AI_DOMAIN:-}"
        case ",${PROFILES:-}," in *,telegram,*) echo "${TELEGRAM_DOMAIN:-}" ;; esac
        case ",${PROFILES:-}," in *,mail,* | *,mailserver,*) echo "${MAIL_DOMAIN:-}" ;; esac
    } | grep -v -e '^$' -e 'localhost$' | sort -u
}
certify() {  # certify DOMAIN
    certbot certonly --non-interactive --agree-tos --email "$ACME_EMAIL" --server "$ACME_SERVER" \
        --webroot --webroot-path /var/www/acme --cert-name "$1" --domain "$1" --keep-until-expiring || return 1
    mkdir -p "$certificates/$1"
    for part in fullchain privkey; do
        # In one step: nginx may read at any moment.
        cp -L "$live/$1/$part.pem" "$certificates/$1/.$part.new" || return 1
        mv "$certificates/$1/.$part.new" "$certificates/$1/$part.pem" || return 1
    done
}

# After a failure soon again, then ever more seldom: an authority takes five failures an hour for a name.
delay=60
while :; do
    missing=
    for domain in $(domains); do
        certify "$domain" || missing="$missing $domain"
    done
    if [ -z "$missing" ]; then
        delay=60
        sleep 43200
    else
        echo "no certificate for$missing; again in $delay seconds" >&2
        sleep "$delay"
        delay=$((delay * 4))
        [ "$delay" -le 3600 ] || delay=3600
    fi
done
