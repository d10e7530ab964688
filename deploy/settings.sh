# For the scripts beside it: what the settings in .env say. Read in the folder of the suite.
value() {  # value NAME DEFAULT: a setting, from the environment or .env
    eval "given=\${$1:-}"
    [ -n "$given" ] || given=$(sed -n "s/^$1=\(..*\)$/\1/p" .env 2> /dev/null | tail -n 1)
    printf '%s' "${given:-$2}"
}
user() {  # as whom containers run: root gives its files away, nobody else can
    if [ "$(id -u)" = 0 ]; then value NEO_UID 10001; else id -u; fi
}
nginx_address() {  # in the network that it shares with the services; where that is another one, its last address
    network=$(value NEO_EDGE_NETWORK 10.231.73.0/24)
    address=$(value NEO_NGINX_ADDRESS 10.231.73.254)
    size=$((1 << (32 - ${network#*/})))
    first=$(($(as_number "${network%/*}") / size * size))
    number=$(as_number "$address")
    [ $((number / size * size)) -eq "$first" ] || number=$((first + size - 2))
    echo "$((number >> 24)).$((number >> 16 & 255)).$((number >> 8 & 255)).$((number & 255))"
}
as_number() {  # as_number ADDRESS, in a shell of its own
    IFS=.
    set -- $1
    echo $((($1 << 24) + ($2 << 16) + ($3 << 8) + $4))
}
has_profile() {
    case ",$(value COMPOSE_PROFILES '')," in *",$1,"*) true ;; *) false ;; esac
}
stands_alone() {  # this server is for one service: COMPOSE_FILE=services/SERVICE/compose.yml
    case "$(value COMPOSE_FILE '')" in *services/*/compose.yml*) true ;; *) false ;; esac
}
runs_here() {  # runs_here SERVICE: ai-core, telegram or mail. On a server for one of them, the others do not
    case "$(value COMPOSE_FILE '')" in
        *services/"$1"/compose.yml*) true ;;
        *) ! stands_alone && { [ "$1" = ai-core ] || has_profile "$1"; } ;;
    esac
}
