# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack, through load_database: Oracle's MySQL, from the directory that tools/dev/fetch_mysql fills.

check_database() { have_mysql || die "there is no MySQL in $mysql_home. Run: tools/setup mysql"; }

mysql_make_data() {
  # shellcheck disable=SC2046 # nothing or one word
  spawn mysql "$mysql_home/bin/mysqld" --no-defaults $(as_root) --initialize-insecure --datadir="$dir/mysql" \
    --tmpdir="$dir/tmp" --secure-file-priv= --skip-log-bin --innodb-redo-log-capacity=96M
}

# With GTIDs, as most installations have them. The X protocol and the performance schema, which nobody here asks,
# cost memory and time at every start.
mysql_launch() {
  rm -f "$(cat "$dir/mysql.socket").lock" # after a SIGKILL it names a process that is gone
  mysql_start "$mysql_home/bin/mysqld" --no-defaults --secure-file-priv= --mysqlx=OFF --performance-schema=OFF \
    --innodb-redo-log-capacity=96M --gtid-mode=ON --enforce-gtid-consistency=ON
}

# The only account is root, by the socket.
mysql_closes_doors=''
