# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: one Redis.

# Debian's redis-tools holds the server too: one program, which acts as the name that it is called by. The package
# redis-server adds that name, and a system service that starts when it is installed.
find_redis() { type -P redis-server || type -P redis-check-rdb; }

redis_prepare() {
  ln -s "$(find_redis)" "$dir/redis-server"
  printf '%s' "$(socket_dir)/redis.sock" >"$dir/redis.socket"
  new_password "$dir/redis.password"
  redis_settings
}

redis_settings() {
  local port socket password  # not read in the document itself: see mysql_accounts
  port=$(free_port)
  socket=$(cat "$dir/redis.socket")
  password=$(cat "$dir/redis.password")
  echo "$port" >"$dir/redis.port"
  (umask 077 && cat >"$dir/redis.conf") <<EOF
bind 127.0.0.1
port $port
unixsocket $socket
dir $dir/tmp
user default off
user oncemark on >$password ~* &* +@all

# Only hints lie here: nothing is kept.
save ""
appendonly no

# A title would be written over the environment, by which this script knows its processes.
set-proc-title no
EOF
}

redis_launch() { launch redis "$dir/redis-server" "$dir/redis.conf"; }

# Whoever knows the password is ours.
redis_answers() {
  local answer=''
  { exec 4<>"/dev/tcp/127.0.0.1/$(cat "$dir/redis.port")"; } 2>/dev/null || return 1
  printf 'AUTH oncemark %s\r\n' "$(cat "$dir/redis.password")" >&4
  read -r -t 2 answer <&4 || true
  exec 4>&-
  [[ $answer == +OK* ]]
}
