# shellcheck shell=bash
# Background processes: each in a session of its own, known by its id and its start time.
# An id alone could by now belong to somebody else's process.

start_time() { # PID: in clock ticks since boot; fails when there is no such process
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The name, in parentheses, may hold blanks: what follows it starts with the third field.
    read -ra stat <<<"${stat##*) }"
    echo "${stat[19]}"
}

alive() { # NAME: does the process that was started under this name still run?
    local pid born
    { read -r pid born <"$RUN/$1.pid"; } 2>/dev/null || return 1
    [ -n "$born" ] && [ "$(start_time "$pid")" = "$born" ]
}

start() { # NAME COMMAND...: output goes to the log of that name; nothing happens if it runs already
    local name=$1 pid
    shift
    alive "$name" && return
    setsid "$@" </dev/null >>"$LOG/$name.log" 2>&1 9>&- & # 9 is up.sh's lock
    pid=$!
    echo "$pid $(start_time "$pid")" >"$RUN/$name.pid"
}

stop() { # NAME: asks its process group to end, and after 15 s ends it
    local pid _
    if alive "$1"; then
        read -r pid _ <"$RUN/$1.pid"
        kill -TERM -- "-$pid" 2>/dev/null || true
        for _ in {1..150}; do
            kill -0 -- "-$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$pid" 2>/dev/null || true # for what is left of it, most times nothing
    fi
    rm -f "$RUN/$1.pid"
}

started() { # the names of all that was started
    local file
    for file in "$RUN"/*.pid; do
        [ -e "$file" ] && basename "$file" .pid
    done
}

wait_for() { # NAME SECONDS COMMAND...: until the command succeeds; fails at once when NAME ends
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$name" || die "$name ended; see $LOG/$name.log"
        [ "$SECONDS" -lt "$deadline" ] || die "$name is not ready (waited for: $*); see $LOG/$name.log"
        sleep 0.25
    done
}

listens() { (exec 3<>"/dev/tcp/$IP/$1"); } # PORT
answers() { curl -s -o /dev/null --noproxy '*' --max-time 5 "$1"; } # URL

# A port that is taken would show up minutes later as a riddle in some log.
want_free() { # NAME PORT
    alive "$1" || ! listens "$2" 2>/dev/null ||
        die "port $2, wanted by $1, is taken: stop what listens there or set POOLMGR_OPENSTACK_PORT_OFFSET"
}
