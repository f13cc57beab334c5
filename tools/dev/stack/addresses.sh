# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: ports, sockets and passwords.

new_password() { # FILE
  (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$1")
}

# Where sockets lie: dir, or, the kernel takes 107 bytes for a path, another directory.
socket_dir() {
  local short=$dir
  if (( $(printf '%s' "$dir/mysql.sock" | wc -c) > 107 )); then
    [[ -e $dir/socket.dir ]] || mktemp -d /tmp/oncemark-socket.XXXXXX >"$dir/socket.dir"
    short=$(cat "$dir/socket.dir")
  fi
  printf '%s' "$short"
}

# Below the range from which the kernel takes ports for outgoing connections: one of those on the port of a
# server that is being restarted would keep it from coming back.
free_port() {
  local low port
  read -r low _ </proc/sys/net/ipv4/ip_local_port_range
  (( low >= 12000 )) || low=30000
  while :; do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % (low - 10000)))
    accepts "$port" || break
  done
  echo "$port"
}

accepts() { (exec 4<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
