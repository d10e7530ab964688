# Debian's nginx, Redis, PostgreSQL, Postfix and Dovecot in one image: the stand-ins below differ in what they start.
FROM neo-test-base
# PostgreSQL's number is that of its official image.
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --no-create-home postgres && apt-get update \
    && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends \
        dovecot-imapd dovecot-lmtpd gettext-base nginx-light postfix postgresql-15 postgresql-client-15 redis-server \
    && rm -rf /var/lib/apt/lists/*
