# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack, through load_database: MariaDB, as Debian installs it.

check_database() {
  local tool
  for tool in mariadbd mariadb-install-db; do
    type -P "$tool" >/dev/null || die "$tool not found. Run: tools/setup"
  done
}

mysql_make_data() {
  # shellcheck disable=SC2046 # nothing or one word
  spawn mysql mariadb-install-db --no-defaults $(as_root) --datadir="$dir/mysql" --tmpdir="$dir/tmp" --skip-test-db \
    --skip-name-resolve --auth-root-authentication-method=normal --innodb-log-file-size=48M
}

mysql_launch() { mysql_start mariadbd --no-defaults --innodb-log-file-size=48M; }

# root has no password, so it shall come in through the socket only.
mysql_closes_doors="DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');"
