#!/bin/sh
# The password goes through a file in memory: on a command line, every process of the host could read it.
set -eu
umask 077
{
    printf 'requirepass %s\n' "$(cat /run/secrets/password)"
    # What is here may be lost; full, it gives up what is used least, and never refuses to write.
    printf 'save ""\nappendonly no\nmaxmemory %s\nmaxmemory-policy allkeys-lfu\n' "${REDIS_MAX_MEMORY:-256mb}"
    printf 'dir /tmp\nbind 0.0.0.0\nprotected-mode yes\n'
} > /tmp/redis.conf
exec redis-server /tmp/redis.conf
