# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: starts processes, and knows its own again.

# Starts a server, or what prepares one, in a session of its own: a Ctrl-C in the terminal then reaches this
# script only, which stops the servers in order. ONCEMARK_STACK_SERVER is how we know our own processes again.
# LC_ALL: this script looks for messages in the log.
spawn() { # NAME COMMAND [ARGS]
  local name=$1 fd
  shift
  (
    echo "$BASHPID" >"$dir/$name.pid"
    cd "$dir"
    # An inherited pipe or lock, held open by a server, would keep whoever waits for it waiting.
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      (( fd <= 2 )) || exec {fd}>&-
    done
    exec env -u ONCEMARK_STACK_RUN "ONCEMARK_STACK_SERVER=$dir" LC_ALL=C.UTF-8 "${tether[@]}" setsid "$@"
  ) </dev/null >>"$dir/$name.log" 2>&1 &
  spawned[$name]=$!
}

launch() { # NAME COMMAND [ARGS]
  spawn "$@"
  disown "${spawned[$1]}" # bash shall not report its end, which a test may want
}

# The pid of a server, if it runs. A pid from a file may belong to somebody else by now; the environment tells.
# It is empty for a process that has ended and that nobody has waited for.
server_pid() { # SERVER
  local pid
  pid=$(cat "$dir/$1.pid" 2>/dev/null) && [[ -n $pid ]] || return 1
  grep -qzxF -e "ONCEMARK_STACK_SERVER=$dir" "/proc/$pid/environ" 2>/dev/null || return 1
  printf '%s\n' "$pid"
}

pids_with() { # VARIABLE=VALUE: the processes that have this in the environment they were started with
  { grep -lzxF -e "$1" /proc/[0-9]*/environ 2>/dev/null || true; } | cut -d/ -f3
}

await_end() { # SECONDS NAME...: whether all of these servers ended in that time
  local deadline=$((SECONDS + $1)) name
  shift
  for name; do
    while server_pid "$name" >/dev/null; do
      (( SECONDS < deadline )) || return 1
      sleep 0.05
    done
  done
}

signal_servers() { # SIGNAL NAME...
  local signal=$1 name pid
  shift
  for name; do
    if pid=$(server_pid "$name"); then kill "-$signal" "$pid" 2>/dev/null || true; fi
  done
}

stop_server() { # NAME
  signal_servers TERM "$1"
  signal_servers CONT "$1" # a test may have paused it
  if ! await_end "$stop_seconds" "$1"; then
    say "$1 did not end within $stop_seconds s of SIGTERM; sending SIGKILL"
    kill_server "$1"
  fi
}

kill_server() { # NAME
  signal_servers KILL "$1"
  await_end "$stop_seconds" "$1" || die "$1 outlived SIGKILL"
}

# Ends all that COMMAND started. The parents in between may long be gone.
stop_command() {
  local signal pid i
  [[ -n $run_token ]] || return 0
  for signal in TERM KILL; do
    for pid in $(pids_with "ONCEMARK_STACK_RUN=$run_token"); do kill "-$signal" "$pid" 2>/dev/null || true; done
    for (( i = 0; i < 100; i++ )); do
      [[ -n $(pids_with "ONCEMARK_STACK_RUN=$run_token") ]] || return 0
      sleep 0.1
    done
  done
}
