# Debian's rspamd and clamd in one image. Neither has what it would fetch: rules of strangers, signatures.
FROM neo-test-base
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends clamav-daemon rspamd \
    && rm -rf /var/lib/apt/lists/* /var/lib/clamav/* && printf 'com\nfr\ntest\n' > /etc/rspamd/endings.dat
