# redis:7.2-bookworm
FROM neo-test-base
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/*
