# For the scripts beside it: what the settings in .env say. Read in the folder of the suite.
value() {  # value NAME DEFAULT: a setting, from the environment or .env
    eval "given=\${$1:-}"
    [ -n "$given" ] || given=$(sed -n "s/^$1=\(..*\)$/\1/p" .env 2> /dev/null | tail -n 1)
    printf '%s' "${given:-$2}"
}
user() {  # as whom containers run: root gives its files away, nobody else can
    if [ "$(id -u)" = 0 ]; then value NEO_UID 10001; else id -u; fi
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
