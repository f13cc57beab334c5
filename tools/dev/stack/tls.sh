# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: an authority that lives as long as the stack, and the certificate of its servers.

tls_prepare() {
  local make=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30)
  (
    umask 077
    mkdir "$dir/tls"
    cd "$dir/tls"
    "${make[@]}" -subj '/CN=oncemark stack' -keyout authority.key -out authority.pem
    # What says that it is somebody else, for those who must not believe it.
    "${make[@]}" -subj '/CN=somebody else' -keyout stranger.key -out stranger.pem
    "${make[@]}" -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' \
      -addext 'basicConstraints=critical,CA:FALSE' -CA authority.pem -CAkey authority.key -keyout server.key -out server.pem
    cat server.key server.pem >server.both.pem
  ) 2>"$dir/tls.log" || { cat "$dir/tls.log" >&2; die "the certificates could not be made"; }
}
