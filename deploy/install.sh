#!/bin/sh
# Makes a fresh server into one that runs the suite: Docker, a firewall, the code, settings, secrets, and `make up`.
# For Debian 12 and 13, Ubuntu 22.04 and 24.04, on x86-64. Safe to repeat: what is there stays as it is.
#
#   deploy/install.sh [--dry-run] [--directory DIR] [--repository URL] [--no-firewall] [--no-start] [NAME=VALUE…]
#
#   --dry-run         print each step, and do nothing
#   --directory DIR   where the suite lies, or is cloned to   [this checkout, else /opt/neo]
#   --repository URL  what is cloned where there is no checkout yet
#   --no-firewall     leave the firewall as it is
#   --no-start        do not build and start the suite
#   NAME=VALUE        settings for .env, as AI_DOMAIN=ai.example.org; those of ASKED below may also come from the
#                     environment, which other users of the machine do not see: secrets had better
set -eu
export LC_ALL=C
ASKED="AI_DOMAIN TELEGRAM_DOMAIN MAIL_DOMAIN ACME_EMAIL COMPOSE_PROFILES BACKUP_RECIPIENT WEBHOOK_URL
    TELEGRAM_BOT_TOKEN EMAIL_ADDRESS EMAIL_PASSWORD IMAP_HOST SMTP_HOST"
# Megabytes. Whoever knows better sets them in the environment.
MIN_MEMORY_MB=${MIN_MEMORY_MB:-3500}
MIN_DISK_MB=${MIN_DISK_MB:-15000}
# The last one for `make dns CHECK=1`.
NEEDED="ca-certificates git make openssl python3-dnspython"

dry='' firewall=yes start=yes repository='' given='' changed=0
directory=$(dirname "$0")/..
[ -e "$directory/docker-compose.yml" ] || directory=/opt/neo

fail() {
    echo "deploy/install.sh: $*" >&2
    exit 1
}
say() { echo "$*"; }
run() {  # run COMMAND…: a step that changes something; printed, and done unless it is a dry run
    changed=$((changed + 1))
    echo "+ $*"
    [ -n "$dry" ] || "$@"
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --dry-run) dry=yes ;;
            --no-firewall) firewall='' ;;
            --no-start) start='' ;;
            --directory | --repository)
                [ $# -ge 2 ] || fail "$1 wants a value"
                if [ "$1" = --directory ]; then directory=$2; else repository=$2; fi
                shift
                ;;
            [A-Z]*=*)
                name=${1%%=*}
                case "$name" in
                    *[!A-Z0-9_]* | PATH | HOME | IFS | ENV | LC_* | LD_*) fail "$name is no name of a setting" ;;
                esac
                export "$name=${1#*=}"
                given="$given $name"
                ;;
            *) fail "what is $1? The first lines of this file say what can be asked for" ;;
        esac
        shift
    done
    for name in $ASKED; do
        case " $given " in *" $name "*) continue ;; esac
        eval "value=\${$name:-}"
        [ -z "$value" ] || given="$given $name"
    done
}

check_machine() {
    # shellcheck disable=SC1091  # the machine's own
    system=$(. /etc/os-release 2> /dev/null && echo "${ID:-} ${VERSION_ID:-}") || system=''
    [ "$system" != " " ] || system=''
    case "$system" in
        "debian 12" | "debian 13" | "ubuntu 22.04" | "ubuntu 24.04") ;;
        *) fail "this is ${system:-an unknown system}: only Debian 12 and 13, Ubuntu 22.04 and 24.04 are known here. \
With Docker and its compose installed by hand, \`make up\` works elsewhere, too" ;;
    esac
    [ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m): the images are for x86_64"
    [ "$(id -u)" = 0 ] || fail "run this as root: sudo deploy/install.sh …"
    memory=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
    [ "$memory" -ge "$MIN_MEMORY_MB" ] ||
        fail "$memory MB of memory are too few for a model beside the databases: $MIN_MEMORY_MB are wanted (MIN_MEMORY_MB)"
    # Where the suite runs already, its images are there.
    wanted=$MIN_DISK_MB
    if [ -s "$directory/deploy/secrets/redis/password" ]; then wanted=$((MIN_DISK_MB / 10)); fi
    disk=$(df -Pm /var/lib | awk 'NR == 2 { print $4 }')
    [ "$disk" -ge "$wanted" ] ||
        fail "$disk MB are free below /var/lib, where Docker keeps images and databases: $wanted are wanted (MIN_DISK_MB)"
    say "$system, $memory MB of memory, $disk MB free"
}

check_place() {
    [ ! -e "$directory/docker-compose.yml" ] || return 0
    [ -n "$repository" ] || fail "there is no suite in $directory: --repository says what is to be cloned"
    [ ! -e "$directory" ] || [ -z "$(ls -A "$directory")" ] || fail "$directory is there, and no checkout of the suite"
}

is_installed() { dpkg-query --show --showformat '${db:Status-Status}\n' "$1" 2> /dev/null | grep -qx installed; }
has_compose() { docker compose version > /dev/null 2>&1 || command -v docker-compose > /dev/null; }
candidate() {  # candidate PACKAGE…: the first that apt knows
    for package in "$@"; do
        if apt-cache show "$package" 2> /dev/null | grep -q '^Package:'; then
            echo "$package"
            return
        fi
    done
    [ -n "$dry" ] || fail "apt knows none of $*"
    # Its lists may never have been fetched.
    echo "docker-compose"
}

install_packages() {
    missing='' stale=yes
    for package in $NEEDED; do is_installed "$package" || missing="$missing $package"; done
    if [ -n "$firewall" ]; then is_installed ufw || missing="$missing ufw"; fi
    # The distribution's Docker, which gets its security updates with everything else and needs no foreign key;
    # one that is there, whoever made it, stays.
    command -v dockerd > /dev/null || missing="$missing docker.io"
    if ! has_compose; then
        run apt-get update
        stale=''
        missing="$missing $(candidate docker-compose-v2 docker-compose-plugin docker-compose)"
    fi
    if [ -z "$missing" ]; then
        say "packages: all there"
        return
    fi
    [ -z "$stale" ] || run apt-get update
    # shellcheck disable=SC2086  # several words
    run env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
}

start_docker() {
    if systemctl is-enabled --quiet docker && systemctl is-active --quiet docker; then
        say "Docker: runs, and starts with the machine"
    else
        run systemctl enable --now docker
    fi
}

ssh_ports() {  # on which sshd is reached from outside: where it listens, where its socket does, where you came in
    {
        ss -Hltnp 2> /dev/null | awk '/"sshd"/ && $4 !~ /^(127\.|\[::1\])/ { print $4 }'
        systemctl show --property Listen ssh.socket 2> /dev/null | sed -n 's/^Listen=\(.*\) (Stream)$/\1/p'
        sshd=$(command -v sshd || echo /usr/sbin/sshd)
        "$sshd" -T 2> /dev/null | awk '$1 == "port" { print $2 }'
        [ -z "${SSH_CONNECTION:-}" ] || echo "${SSH_CONNECTION##* }"
    } | sed 's/.*://' | grep -x '[0-9][0-9]*' | sort -un
}

other_firewall() {
    for service in firewalld nftables; do
        if systemctl is-active --quiet "$service" 2> /dev/null; then
            echo "$service"
            return
        fi
    done
}

close_ports() {
    if [ -z "$firewall" ]; then
        say "firewall: left as it is"
        return
    fi
    other=$(other_firewall)
    if [ -n "$other" ]; then
        say "firewall: $other rules here and is left as it is; it has to let in TCP 80 and 443"
        return
    fi
    ports=$(ssh_ports)
    [ -n "$ports" ] || { ports=22; say "no sshd found: its usual port stays open"; }
    added=$(ufw show added 2> /dev/null || true)
    # Doors first, then the wall: whoever is connected by SSH stays so.
    for port in $ports 80 443; do
        if printf '%s\n' "$added" | grep -Eqx "ufw allow $port(/tcp)?( comment .*)?"; then
            say "firewall: $port is open"
        else
            run ufw allow "$port/tcp"
        fi
    done
    if ufw status 2> /dev/null | grep -qx 'Status: active'; then
        say "firewall: is on"
    else
        run ufw --force enable
    fi
}

fetch_code() {
    if [ -e "$directory/docker-compose.yml" ]; then
        say "the suite is in $directory"
        return
    fi
    run git clone --quiet "$repository" "$directory"
}

setting_of() { sed -n "s/^$2=\(..*\)$/\1/p" "$1" 2> /dev/null | tail -n 1; }
has_secret() {  # has_secret NAME: whether deploy/secrets.sh has moved it to a file
    file=$(echo "$1" | tr '[:upper:]' '[:lower:]')
    for secret in "$directory"/deploy/secrets/*/"$file"; do
        [ ! -s "$secret" ] || return 0
    done
    return 1
}

write_setting() {  # write_setting NAME: from the variable of this name, in the place of its line
    WRITTEN=$1 awk 'BEGIN { name = ENVIRON["WRITTEN"]; value = ENVIRON[name] }
        index($0, name "=") == 1 { if (!done) print name "=" value; done = 1; next }
        { print }
        END { if (!done) print name "=" value }' "$directory/.env" > "$directory/.env.partial"
    cat "$directory/.env.partial" > "$directory/.env"
    rm "$directory/.env.partial"
}

write_settings() {
    made='' wrote=''
    if [ ! -e "$directory/.env" ]; then
        # Nobody else reads it as long as there may be secrets in it.
        run install -m 600 "$directory/.env.example" "$directory/.env"
        made=yes
    fi
    for name in $given; do
        eval "value=\$$name"
        case "$value" in *"
"*) fail "$name has more than one line" ;; esac
        there=$(setting_of "$directory/.env" "$name")
        if [ "$there" = "$value" ] || has_secret "$name"; then
            say ".env: $name is set"
        elif [ -n "$there" ] && [ "$there" != "$(setting_of "$directory/.env.example" "$name")" ]; then
            say ".env: $name stays as it is there; you asked for something else"
        else
            changed=$((changed + 1)) wrote=yes
            echo "+ $name=… into .env"
            [ -n "$dry" ] || (umask 077 && write_setting "$name")
        fi
    done
    if [ -n "$wrote" ] || [ ! -s "$directory/deploy/secrets/redis/password" ]; then
        run "$directory/deploy/secrets.sh"
    fi
    # The backup's container reads it, too; secrets stand elsewhere now.
    if [ -n "$made" ]; then run chmod 644 "$directory/.env"; fi
}

start_suite() {
    if [ -z "$start" ]; then
        say "not started: make -C $directory up"
        return
    fi
    say "starting; the first time, images are built: some twenty minutes"
    if [ -n "$dry" ]; then echo "+ $directory/deploy/up.sh"; else "$directory/deploy/up.sh"; fi
}

read_arguments "$@"
check_machine
check_place
install_packages
start_docker
close_ports
fetch_code
write_settings
if is_installed unattended-upgrades; then upgrades="installed, and left as they are"; else upgrades="not installed; that is yours to decide"; fi
say "unattended upgrades: $upgrades"
start_suite
if [ -n "$dry" ]; then say "$changed steps, none of them done: this was a dry run"; else say "done: $changed steps changed something"; fi
say "what is to be set for your domains: make -C $directory dns"
