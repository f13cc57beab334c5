# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: the directory of a stack, who owns it, and its end.

# Takes dir, or finds a stack in it (then it is not ours). What is in it will be deleted, so nothing may be
# in it that we did not put there.
claim() {
  local held=''
  claiming=1
  [[ -n $dir ]] || dir=$(mktemp -d "${TMPDIR:-/tmp}/oncemark-stack.XXXXXX")
  dir=$(realpath -m -- "$dir")
  [[ $dir != *[,\\[:space:]]* ]] || die "Kafka takes no comma, backslash or white space in a path: choose another --dir than $dir"
  mkdir -p -- "$dir" || die "cannot make $dir"
  [[ -e $dir/$marker || -z $(ls -A -- "$dir") ]] || die "$dir is not empty and holds no stack: choose another --dir"
  chmod 700 "$dir" # whoever reaches the socket is root of the database
  ! have_stack || held=1
  lock 0
  [[ -n $held ]] || ours=1
  claiming=''
  [[ -z $interrupted ]] || exit "$interrupted"
}

# One command at a time changes a stack.
lock() { # SECONDS
  exec 9>>"$dir/$marker"
  flock -w "$1" 9 || die "another command is starting or stopping the stack in $dir"
  [[ -e $dir/$marker ]] || die "the stack in $dir has just been removed"
}

unlock() { exec 9>&-; }

have_stack() { [[ -e $dir/$marker ]]; }

need_stack() {
  have_stack || die "no stack in $dir"
  [[ -e $dir/kafka.port && -e $dir/mysql.port && -e $dir/redis.port ]] || die "the stack in $dir is not complete; 'down' removes it"
}

# Stops everything that runs in dir and removes it; nothing of this may be cut short.
teardown() {
  local pid i
  set +e
  trap '' INT TERM HUP
  exec 8>&2 2>/dev/null # a process may be gone before it is told to go
  [[ -z $interrupted ]] || stop_command
  [[ -n $ours ]] || return 0
  have_stack && exec 9>>"$dir/$marker" && flock -w "$stop_seconds" 9
  # Kafka may hang when it is told to stop while it starts. Nothing in dir is worth the wait.
  signal_servers TERM "${servers[@]}"
  signal_servers CONT "${servers[@]}"
  await_end "$discard_seconds" "${servers[@]}"
  for pid in "${spawned[@]}"; do # one spawned a moment ago cannot be recognised yet
    [[ $(ps -o ppid= -p "$pid") -eq $$ ]] && kill -KILL "$pid"
  done
  if [[ $(cat "$dir/socket.dir" 2>/dev/null) == /tmp/oncemark-socket.* ]]; then rm -rf "$(cat "$dir/socket.dir")"; fi
  for (( i = 0; i < 100; i++ )); do
    for pid in $(pids_with "ONCEMARK_STACK_SERVER=$dir"); do kill -KILL "$pid"; done
    [[ -n $(pids_with "ONCEMARK_STACK_SERVER=$dir") ]] || { rm -rf "$dir" && return 0; }
    sleep 0.05
  done
  say "cannot remove $dir" 2>&8
  return 1
}
