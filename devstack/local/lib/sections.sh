# shellcheck shell=bash
# Sections that many services' configuration files have in common.

database_url() { echo "mysql+pymysql://openstack:$PASSWORD@$IP:$MYSQL_PORT/$1?charset=utf8"; } # DATABASE

database() { # SECTION DATABASE
    printf '[%s]\nconnection = %s\nmax_pool_size = 20\nmax_overflow = 40\n\n' "$1" "$(database_url "$2")"
}

credentials() { # USER: how a service logs in at Keystone
    cat <<END
auth_url = $AUTH_URL
auth_type = password
username = $1
password = $PASSWORD
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = $REGION
END
}

client() { # SECTION USER: credentials for calls to another service
    printf '[%s]\n' "$1"
    credentials "$2"
}

authtoken() { # USER: how a service checks its callers' tokens
    client keystone_authtoken "$1"
    cat <<END
www_authenticate_uri = $AUTH_URL
memcached_servers = $IP:$MEMCACHED_PORT
service_token_roles_required = true
service_token_roles = service

END
}

# Schemas, keys and rings are made once per state: each of these tools needs seconds for its imports alone.
once() { # NAME COMMAND...
    local name=$1
    shift
    [ -e "$STATE/done/$name" ] && return
    say "preparing $name"
    mkdir -p "$STATE/done"
    "$@" >>"$LOG/prepare-$name.log" 2>&1 || {
        tail -n 5 "$LOG/prepare-$name.log" >&2
        die "$name could not be prepared; see $LOG/prepare-$name.log"
    }
    touch "$STATE/done/$name"
}

wsgi() { # NAME PORT FILE PROCESSES [VARIABLE=VALUE...]: a WSGI application under uwsgi
    local name=$1 port=$2 file=$3 processes=$4
    shift 4
    # --http-socket knows no keep-alive; without the header clients would wait for more on the connection.
    start "$name" env "$@" uwsgi --plugin python3 --http-socket "$IP:$port" --add-header 'Connection: close' \
        --wsgi-file "$file" --master --processes "$processes" --threads 2 --enable-threads --lazy-apps \
        --die-on-term --buffer-size 65535 --thunder-lock --need-app --disable-logging \
        --procname-prefix-spaced "poolmgr-$name"
}

# The packages' own start scripts go through uwsgi; the services' main functions still serve HTTP themselves.
run_main() { # PROGRAM MODULE [ARGUMENT...]
    local program=$1 module=$2
    shift 2
    echo "import sys; sys.argv[0] = '$program'; from $module import main; sys.exit(main())"
}
