# shellcheck shell=bash
# Sourced by the scripts in tools/: where things are, and how a script speaks.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
kafka_pom=$repo/tools/dev/kafka-pom.xml
kafka_version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$kafka_pom")
kafka_home=$repo/.cache/kafka-$kafka_version
mysql_home=$repo/.cache/mysql

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
misuse() { say "$*; see ${0##*/} --help"; exit 2; }

# The jars are complete as soon as the directory is there (it arrives by rename); the copy of the
# pom inside tells whether they are the ones that are asked for now.
have_kafka() { cmp -s "$kafka_pom" "$kafka_home/pom.xml"; }

# The same for MySQL: the copy of the script that made it tells. Its version is whatever Debian had on that day.
have_mysql() { cmp -s "$repo/tools/dev/fetch_mysql" "$mysql_home/recipe"; }

java_major() { # JAVA: the number that counts, 17 for 17.0.15
  local home version
  home=$(readlink -f "$1")
  home=${home%/bin/java}
  # Reading the file that every JDK carries takes a fraction of starting a JVM to ask it.
  version=$(sed -n 's/^JAVA_VERSION="\([^"]*\)".*/\1/p' "$home/release" 2>/dev/null || true)
  [[ -n $version ]] || version=$("$1" -version 2>&1 | sed -n 's/.*version "\([^"]*\)".*/\1/p' || true)
  version=${version%%[!0-9]*}
  printf '%s\n' "${version:-0}"
}

find_java() { # a Java that Kafka 4 accepts: 17 or newer
  local java
  for java in "${JAVA_HOME:-/nonexistent}/bin/java" "$(type -P java || true)" /usr/lib/jvm/*/bin/java; do
    if [[ -x $java ]] && (( $(java_major "$java") >= 17 )); then
      printf '%s\n' "$java"
      return 0
    fi
  done
  return 1
}
