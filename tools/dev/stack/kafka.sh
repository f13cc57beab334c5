# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared with tools/stack
# Sourced by tools/stack: one Kafka broker, which is its own controller (KRaft).

kafka_prepare() {
  local java
  java=$(find_java)
  # Kafka's form of a UUID: 22 characters of URL-safe base64, of which the last can only be A, Q, g or w.
  # A '-' in front would look like an option.
  printf 'o%sA' "$(head -c 15 /dev/urandom | base64 | tr '+/' '-_')" >"$dir/cluster.id"
  new_password "$dir/kafka.password"
  kafka_properties
  spawn kafka "$java" -XX:TieredStopAtLevel=1 -XX:-UsePerfData -cp "$kafka_home/libs/*" \
    "-Dlog4j2.configurationFile=$repo/tools/dev/kafka-log4j2.properties" \
    kafka.tools.StorageTool format -t "$(cat "$dir/cluster.id")" -c "$dir/kafka.properties"
}

kafka_properties() {
  local port sasl_port controller_port password  # not read in the document itself: see mysql_accounts
  port=$(free_port)
  sasl_port=$(free_port)
  controller_port=$(free_port)
  password=$(cat "$dir/kafka.password")
  echo "$sasl_port" >"$dir/kafka.sasl.port"
  echo "$port" >"$dir/kafka.port"
  (umask 077 && cat >"$dir/kafka.properties") <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$sasl_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$sasl_port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT

# Not SCRAM: librdkafka before 2.6.1 sends a nonce that brokers refuse from Kafka 4.0 on.
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_oncemark="$password";
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location=$dir/tls/server.both.pem
log.dirs=$dir/kafka

# Everybody may do everything, until a test says otherwise by an ACL.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true

# A misspelt topic shall be an error, and a rebalance shall not take a test's time.
auto.create.topics.enable=false
num.partitions=4
group.min.session.timeout.ms=1000
group.initial.rebalance.delay.ms=0

# One node: no replicas to wait for.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# After a SIGKILL the broker registers again only when its former session has expired (9 s by default).
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000

# A quarter of the heap by default.
log.cleaner.dedupe.buffer.size=4194304
EOF
}

kafka_launch() {
  launch kafka "$(find_java)" -Xms256m -Xmx512m -XX:+UseSerialGC -XX:-UsePerfData \
    "-Djava.io.tmpdir=$dir/tmp" "-Dlog4j2.configurationFile=$repo/tools/dev/kafka-log4j2.properties" \
    -cp "$kafka_home/libs/*" kafka.Kafka "$dir/kafka.properties"
}

kafka_answers() {
  local port
  port=$(cat "$dir/kafka.port")
  accepts "$port" && python3 -IS "$repo/tools/dev/kafka_ready.py" "$port" "$(cat "$dir/cluster.id")"
}
