#!/bin/bash
# What docker-mailserver does of what the suite relies on: accounts from its folder, IMAP with TLS, submission
# with a password, mail for its own domains from everybody. No filters: the suite has its own.
set -eu
accounts=/tmp/docker-mailserver/postfix-accounts.cf
domains=$(sed 's/.*@\(.*\)|.*/\1/' "$accounts" | sort -u | tr '\n' ' ')
sed 's/|\(.*\)/ here/' "$accounts" > /etc/postfix/people
sed 's/|/:/' "$accounts" > /etc/dovecot/people
mkdir -p /var/mail-state/postfix && chown postfix: /var/mail-state/postfix && chown mail:mail /var/mail

cat > /etc/dovecot/dovecot.conf <<CONF
protocols = imap lmtp
log_path = /dev/stderr
ssl = required
ssl_cert = <$SSL_CERT_PATH
ssl_key = <$SSL_KEY_PATH
mail_location = maildir:/var/mail/%d/%n
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
mail_max_userip_connections = 100
passdb {
  driver = passwd-file
  args = /etc/dovecot/people
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/mail/%d/%n
}
namespace inbox {
  inbox = yes
  mailbox Sent {
    special_use = \Sent
    auto = subscribe
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = 24
  }
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = 12345
  }
}
service anvil {
  chroot =
}
CONF

postconf -e "maillog_file=/dev/stdout" "myhostname=$(hostname)" "mydestination=" "inet_protocols=ipv4" \
    "inet_interfaces=all" "mynetworks=127.0.0.0/8" "alias_maps=" "alias_database=" "local_recipient_maps=" \
    "queue_directory=/var/mail-state/postfix" "virtual_mailbox_domains=$domains" \
    "virtual_mailbox_maps=texthash:/etc/postfix/people" "virtual_transport=lmtp:inet:127.0.0.1:24" \
    "default_transport=error:5.1.2 no mail leaves this machine" "disable_dns_lookups=yes" "smtp_host_lookup=native" \
    "smtpd_relay_restrictions=permit_sasl_authenticated,reject_unauth_destination" \
    "smtpd_sasl_type=dovecot" "smtpd_sasl_path=inet:127.0.0.1:12345" "smtpd_tls_auth_only=yes" \
    "smtpd_tls_cert_file=$SSL_CERT_PATH" "smtpd_tls_key_file=$SSL_KEY_PATH" "smtpd_tls_security_level=may" \
    "queue_run_delay=5s" "minimal_backoff_time=5s" "maximal_backoff_time=10s" "lmtp_destination_recipient_limit=1"
postconf -M submission/inet="submission inet n - n - - smtpd -o smtpd_tls_security_level=encrypt \
-o smtpd_sasl_auth_enable=yes -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject"
# Nothing is in a chroot, where neither certificates nor names would be.
postconf -F "*/*/chroot=n"
rm -f /run/dovecot/master.pid /var/mail-state/postfix/pid/*.pid

trap 'kill $(jobs -p) 2> /dev/null' TERM INT
dovecot -F &
postfix start-fg &
# Where one of them ends, so does the container.
wait -n
kill $(jobs -p) 2> /dev/null
wait
