#!/usr/bin/env bash
# Proves what tools/stack promises: stacks side by side, exit codes, and nothing left behind, however it ends.
set -euo pipefail
stack=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/tools/stack
work=$(mktemp -d "${TMPDIR:-/tmp}/oncemark-stack-test.XXXXXX")
background=''

clean_up() {
  [[ -z $background ]] || kill "$background" 2>/dev/null || true
  local dir
  for dir in "$work"/*/; do "$stack" down --dir "$dir" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

fail() {
  printf 'FAILED: %s\n' "$1" >&2
  cat "$work"/*.out >&2 || true
  exit 1
}
passed() { printf 'passed: %s (at %d s)\n' "$1" "$SECONDS"; }

# Processes that have the directory in their arguments or in their environment.
processes_of() { # DIR
  # shellcheck disable=SC2062 # file names; the pattern is read from standard input
  printf '%s\n' "$1" | { grep -lzF --file=- /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true; } | cut -d/ -f3
}

expect_nothing_of() { # DIR
  local i
  [[ ! -e $1 ]] || fail "$1 is still there"
  for (( i = 0; i < 20; i++ )); do # a child that was just killed may take a moment to go
    [[ -n $(processes_of "$1") ]] || return 0
    sleep 0.1
  done
  fail "processes are left of $1: $(processes_of "$1" | tr '\n' ' ')"
}

expect_code() { # EXPECTED ACTUAL WHAT
  [[ $1 == "$2" ]] || fail "$3: exit code $2, expected $1"
}

sql() { # STATEMENT, with the environment of a stack
  local url=${ONCEMARK_MYSQL__URL#tcp://}
  MYSQL_PWD=$(cat "$ONCEMARK_MYSQL__PASSWORD_FILE") mariadb --no-defaults -N -B -h "${url%:*}" -P "${url#*:}" \
    -u "$ONCEMARK_MYSQL__USER" -e "$1" "$ONCEMARK_MYSQL__SCHEMA"
}
redis() { # COMMAND..., with the environment of a stack
  REDISCLI_AUTH=$(cat "$ONCEMARK_REDIS__PASSWORD_FILE") redis-cli -p "${ONCEMARK_REDIS__URL##*:}" \
    --user "$ONCEMARK_REDIS__USER" "$@" 2>&1
}
export -f sql redis

two_stacks_run_side_by_side() {
  local a=$work/a b=$work/b code=0
  # Only both sides together prove it: b's command waits until a is up, looks at both, and fails.
  # shellcheck disable=SC2016 # the inner shell expands it
  "$stack" run --dir "$b" -- bash -c '
    until [[ -e $1/a.up ]]; do sleep 0.1; done
    "$0" status --dir "$1/a" && "$0" status && [[ $ONCEMARK_STACK_DIR == "$1/b" ]] &&
      [[ $(sql "SELECT CONCAT(@@sync_binlog, DATABASE())") == 1oncemark && $(redis PING) == PONG ]] &&
      printf "%s\n" "$ONCEMARK_KAFKA__BROKERS" "$ONCEMARK_MYSQL__URL" "$ONCEMARK_REDIS__URL" >"$1/b.addresses" && exit 7
    exit 1' "$stack" "$work" >"$work/b.out" 2>&1 &
  background=$!
  "$stack" up --dir "$a" --mysql-option max-connections=77 >"$work/a.env" 2>"$work/a.out" || fail "up"
  # shellcheck source=/dev/null
  . "$work/a.env"
  touch "$work/a.up"
  wait "$background" || code=$?
  background=''
  expect_code 7 "$code" "run"
  expect_nothing_of "$b"
  ! printf '%s\n' "$ONCEMARK_KAFKA__BROKERS" "$ONCEMARK_MYSQL__URL" "$ONCEMARK_REDIS__URL" | grep -qxFf - "$work/b.addresses" ||
    fail "both stacks have the same address"
  passed "two stacks run side by side; run returns its command's exit code and leaves nothing"
}

a_stack_is_looked_after_by_commands() { # the stack that is up in $work/a
  local a=$work/a code=0
  local file
  for file in "$ONCEMARK_MYSQL__PASSWORD_FILE" "$ONCEMARK_REDIS__PASSWORD_FILE"; do
    [[ $(stat -c %a "$file") == 600 ]] || fail "others can read $file"
  done
  redis-cli -p "${ONCEMARK_REDIS__URL##*:}" PING 2>&1 | grep -q NOAUTH || fail "Redis answers without a password"
  "$stack" up --dir "$a" >"$work/again.env" 2>"$work/again.out" || fail "up, a second time"
  grep -q 'up already' "$work/again.out" || fail "a second up does not say that it is up"
  cmp -s "$work/a.env" "$work/again.env" || fail "a second up prints another environment"

  sql "CREATE TABLE kept (id INT PRIMARY KEY)"
  "$stack" kill mysql --dir "$a" || fail "kill"
  "$stack" status --dir "$a" >"$work/status.out" || code=$?
  expect_code 1 "$code" "status with a server down"
  grep -q '^kafka up ' "$work/status.out" || fail "status does not show kafka as up"
  grep -q '^mysql down ' "$work/status.out" || fail "status does not show mysql as down"
  "$stack" restart mysql --dir "$a" || fail "restart"
  sql "SELECT * FROM kept" || fail "the restarted server has another address, or has lost its data"
  [[ $(sql "SELECT @@max_connections") == 77 ]] || fail "the restarted server has lost --mysql-option"
  "$stack" status --dir "$a" >/dev/null || fail "status after the restart"

  [[ $(redis SET kept 1) == OK ]] || fail "Redis does not take a key"
  "$stack" kill redis --dir "$a" || fail "kill redis"
  code=0
  "$stack" status --dir "$a" >"$work/status.out" || code=$?
  expect_code 1 "$code" "status with Redis down"
  grep -q '^redis down ' "$work/status.out" || fail "status does not show redis as down"
  "$stack" restart redis --dir "$a" || fail "restart redis"
  [[ $(redis EXISTS kept) == 0 ]] || fail "the restarted Redis has another address, or has kept something"

  "$stack" down --dir "$a" || fail "down"
  unset "${!ONCEMARK_@}" # or our own children would look like processes of a
  expect_nothing_of "$a"
  "$stack" down --dir "$a" 2>/dev/null || fail "down, a second time"
  code=0
  "$stack" status --dir "$a" >/dev/null || code=$?
  expect_code 1 "$code" "status without a stack"
  passed "up, env, kill, restart, status and down"
}

an_interrupted_start_leaves_nothing() {
  local dir code delay
  for delay in 0.3 1.5; do # while the data directories are made; while the servers start
    dir=$work/interrupted-$delay code=0
    env --default-signal=INT "$stack" run --dir "$dir" -- touch "$work/ran" >"$work/interrupted.out" 2>&1 &
    background=$!
    sleep "$delay"
    kill -INT "$background"
    wait "$background" || code=$?
    background=''
    expect_code 130 "$code" "run, interrupted"
    [[ ! -e $work/ran ]] || fail "the command ran"
    expect_nothing_of "$dir"
  done
  passed "an interrupted start leaves nothing"
}

a_failed_start_says_why_and_leaves_nothing() {
  local dir=$work/failed code=0
  mkdir "$work/bin"
  printf '#!/bin/sh\necho "no mariadbd today"\nexit 1\n' >"$work/bin/mariadbd"
  chmod +x "$work/bin/mariadbd"
  PATH=$work/bin:$PATH "$stack" up --db mariadb --dir "$dir" >"$work/failed.out" 2>&1 || code=$?
  rm -r "${work:?}/bin"
  expect_code 1 "$code" "up with a server that cannot start"
  grep -q 'mysql did not start' "$work/failed.out" || fail "it does not say which server failed"
  grep -q 'no mariadbd today' "$work/failed.out" || fail "it does not show the server's log"
  expect_nothing_of "$dir"
  passed "a failed start says why and leaves nothing"
}

two_stacks_run_side_by_side
a_stack_is_looked_after_by_commands
an_interrupted_start_leaves_nothing
a_failed_start_says_why_and_leaves_nothing
