# postgres:15-bookworm
FROM neo-test-base
# The official image's number.
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --no-create-home postgres && apt-get update \
    && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends postgresql-15 postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
COPY postgres-entrypoint.sh /docker-entrypoint.sh
ENTRYPOINT ["sh", "/docker-entrypoint.sh"]
