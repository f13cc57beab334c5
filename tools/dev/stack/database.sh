# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: what both database servers, the one of mariadb.sh and the one of mysql.sh, have in common.
# Whichever it is, it is called mysql in commands and file names.

# Written down, so that later commands know how the server is started.
database_kind() { cat "$dir/database.kind" 2>/dev/null || echo "$database"; }

load_database() {
  # shellcheck source=tools/dev/stack/mariadb.sh
  . "$repo/tools/dev/stack/$(database_kind).sh"
}

mysql_prepare() {
  echo "$database" >"$dir/database.kind"
  printf '%s' "$(socket_dir)/mysql.sock" >"$dir/mysql.socket"
  new_password "$dir/mysql.password"
  : >"$dir/mysql.options"
  (( ${#mysql_options[@]} == 0 )) || printf -- '--%s\n' "${mysql_options[@]}" >"$dir/mysql.options"
  mysql_ports
  mysql_make_data
}

mysql_ports() { free_port >"$dir/mysql.port"; }

# Both servers refuse to run as root unless told so.
as_root() { if (( EUID == 0 )); then echo --user=root; fi; }

# Durable as in production: what the tests prove about crashes must not rest on a lax setting.
mysql_start() { # COMMAND AND FIRST OPTIONS
  local chosen
  mapfile -t chosen <"$dir/mysql.options"
  # shellcheck disable=SC2046 # nothing or one word
  launch mysql "$@" $(as_root) --datadir="$dir/mysql" --tmpdir="$dir/tmp" \
    --socket="$(cat "$dir/mysql.socket")" --pid-file="$dir/mysql/mysqld.pid" \
    --bind-address=127.0.0.1 --port="$(cat "$dir/mysql.port")" --skip-name-resolve --max-connections=300 \
    --character-set-server=utf8mb4 \
    --ssl-ca="$dir/tls/authority.pem" --ssl-cert="$dir/tls/server.pem" --ssl-key="$dir/tls/server.key" \
    --innodb-flush-log-at-trx-commit=1 --sync-binlog=1 --server-id=1 --log-bin=binlog --binlog-format=ROW \
    "${chosen[@]}"
}

mysql_client() { mariadb --no-defaults -u root -S "$(cat "$dir/mysql.socket")" "$@"; }

mysql_answers() {
  [[ -S $(cat "$dir/mysql.socket") ]] || return 1
  mysql_client --connect-timeout=2 -e 'DO 1' >/dev/null 2>&1
}

# Through standard input, where no process list shows the password; not in the binlog, which so starts empty.
mysql_accounts() {
  # Not in the document itself: an interrupt that comes while bash reads a substitution there breaks its trap.
  local password
  password=$(cat "$dir/mysql.password")
  mysql_client <<EOF
SET sql_log_bin = 0;
CREATE DATABASE oncemark CHARACTER SET utf8mb4;
CREATE USER oncemark@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO oncemark@'%' WITH GRANT OPTION;
$mysql_closes_doors
FLUSH PRIVILEGES;
EOF
}
