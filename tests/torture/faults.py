"""What is done to the workload and its servers, and when: a schedule that a seed decides, and the hands that carry it out."""
import collections
import os
import random
import re
import signal
import subprocess
import threading
import time

import confluent_kafka
import pymysql

from servers import LINKS, SKEW_LIBRARY

Fault = collections.namedtuple("Fault", "at what target seconds number text")

# Where a process may be told to kill itself, and within how many passages.
FAIL_POINTS = {
    "relay": {"relay.after_send": 200, "relay.after_ack": 300, "relay.after_mark": 300},
    "consume": {"suspects.after_note": 3, "dedup.after_claim": 1500, "dedup.after_handler": 1500, "dedup.after_commit": 1500,
                "runner.before_offset_commit": 100, "runner.after_offset_commit": 100, "router.before_commit": 40,
                "router.after_commit": 40, "relay.after_send": 20, "relay.after_ack": 20, "relay.after_mark": 20},
    "ordered": {"parking.before_commit": 20, "parking.after_commit": 20, "parked.after_take": 40, "parked.after_handler": 40,
                "parked.after_commit": 40},
    "hinted": {"hint.before_write": 300},
    "replay": {"replay.before_commit": 3, "replay.after_commit": 3},
}

# How often, compared with the others.
WEIGHTS = {
    "kill": 10, "stop": 6, "end": 3, "fail-point": 12, "skew": 2, "storm": 1,
    "cut": 8, "refuse": 4, "hang": 4, "halfopen": 3, "delay": 4, "throttle": 2, "lose-answer": 6, "lose-request": 4,
    "kill-sessions": 4, "read-only": 3, "lock-table": 3, "lock-rows": 4, "too-many-connections": 2, "stop-mysql": 2, "restart-mysql": 1,
    "stop-kafka": 2, "restart-kafka": 0.5, "unwritable-letters": 1,
    "stop-broker": 3, "restart-broker": 2, "too-few-replicas": 2,
    "flush-redis": 2, "full-redis": 1, "evict-redis": 1, "stop-redis": 2, "restart-redis": 1,
    "copies": 4, "replay": 4,
}

BROKER_FAULTS = {"stop-broker", "restart-broker", "too-few-replicas"}  # take three of them


def schedule(seed, seconds, slots, consumers, only=None, aim=""):
    """Fault after fault; the same seed, the same schedule. `slots` is name -> role; targets match `aim`."""
    dice = random.Random(seed)
    names, links, consumers = ([name for name in sorted(every) if re.search(aim, name)] or sorted(every)
                               for every in (slots, LINKS, consumers))
    kinds = [kind for kind in WEIGHTS if (only is None or kind in only)]
    weights = [WEIGHTS[kind] for kind in kinds]
    made, at = [], 3.0
    while at < seconds - 5:
        what = dice.choices(kinds, weights)[0]
        target, number, text = "", 0, ""
        length = dice.uniform(0.5, 4)
        if what in ("kill", "stop", "end", "fail-point", "skew"):
            target = dice.choice(names)
            length = dice.choice((0.7, 2, 4, 7)) if what == "stop" else length
            if what == "fail-point":
                points = points_of(target, slots[target])
                if not points:
                    what = "kill"
                else:
                    name = dice.choice(sorted(points))
                    text = f"{name}:kill@{dice.randint(1, points[name])}"
            elif what == "skew":
                text = f"{dice.choice((-1200, -90, 90, 1200)):+d}s"
        elif what in ("cut", "refuse", "hang", "halfopen", "delay", "throttle"):
            target = dice.choice(links)
            number = dice.choice((5, 30, 150)) if what == "delay" else dice.choice((20_000, 200_000))
        elif what in ("lose-answer", "lose-request"):
            target, number = dice.choice([link for link in links if link.startswith("mysql")] or ["mysql-relay"]), dice.randint(1, 4)
        elif what in ("replay", "unwritable-letters", "storm"):
            target = dice.choice(consumers)
            if what == "replay" and dice.random() < 0.5:
                name = dice.choice(sorted(FAIL_POINTS["replay"]))
                text = f"{name}:kill@{dice.randint(1, FAIL_POINTS['replay'][name])}"
        elif what == "copies":
            number = dice.randint(50, 1000)
        elif what in ("stop-broker", "restart-broker"):
            number = dice.choice((2, 3))
        elif what == "kill-sessions":
            number = dice.randint(1, 10)
        made.append(Fault(round(at, 2), what, target, round(length, 2), number, text))
        at += dice.uniform(0.4, 2.6)
    return made


def points_of(slot, role):
    if role != "consume":
        return FAIL_POINTS.get(role, {})
    return FAIL_POINTS["consume"] | FAIL_POINTS["ordered" if slot.startswith("consume-ledger") else "hinted"]


class Hands:
    """Carries a schedule out. Faults overlap, but not two of a kind that would end each other."""

    def __init__(self, servers, slots, names, topics, make_slot, replay, log, counts):
        self.servers, self.slots, self.names, self.topics = servers, slots, names, topics
        self.make_slot, self.replay_program, self.log, self.counts = make_slot, replay, log, counts
        self.threads = []
        self.lock = threading.Lock()

    def run(self, faults, begin, tend):
        for fault in faults:
            while time.monotonic() < begin + fault.at:
                tend()
                time.sleep(0.05)
            thread = threading.Thread(target=self.do, args=(fault,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def wait(self, tend):
        while any(thread.is_alive() for thread in self.threads):
            tend()
            time.sleep(0.05)

    def do(self, fault):
        method = getattr(self, fault.what.replace("-", "_"), None) or self.link_fault
        target = {"stop_mysql": "mysql", "restart_mysql": "mysql", "read_only": "mysql", "too_many_connections": "mysql",
                  "stop_kafka": "kafka", "restart_kafka": "kafka", "unwritable_letters": "kafka",
                  "stop_broker": "kafka", "restart_broker": "kafka", "too_few_replicas": "kafka", "evict_redis": "redis",
                  "stop_redis": "redis", "restart_redis": "redis", "full_redis": "redis"}.get(
                      fault.what.replace("-", "_"), fault.target if fault.target in LINKS else None)
        lock = self.servers.locks.get(target)
        if lock is not None and not lock.acquire(blocking=False):
            self.log(f"left out, another one has {target}: {describe(fault)}")
            return
        try:
            self.log(describe(fault))
            method(fault)
            with self.lock:
                self.counts[fault.what] += 1
        except Exception as error:  # the servers that it needs may be away: that is what this is about
            self.log(f"{fault.what} did not come about: {type(error).__name__} {str(error)[:200]}")
        finally:
            if lock is not None:
                lock.release()

    # ---- Processes ----

    def kill(self, fault):
        self.slots[fault.target].send(signal.SIGKILL)

    def stop(self, fault):
        self.slots[fault.target].send(signal.SIGSTOP)
        time.sleep(fault.seconds)
        self.slots[fault.target].send(signal.SIGCONT)

    def end(self, fault):
        self.slots[fault.target].send(signal.SIGTERM)

    def fail_point(self, fault):
        self.slots[fault.target].fault = fault.text
        self.kill(fault)

    def skew(self, fault):
        self.slots[fault.target].skew = fault.text if SKEW_LIBRARY else ""
        self.kill(fault)

    def storm(self, fault):
        """Members that come and go."""
        for n in range(3):
            member = self.make_slot(f"consume-{fault.target}-extra", instance="")
            member.start()
            time.sleep(1.5)
            if n == 1:
                member.send(signal.SIGKILL)
            member.rest(30)

    def replay(self, fault):
        environment = self.servers.environment("consume")
        if fault.text:
            environment["ONCEMARK_FAULT"] = fault.text
        with open(os.path.join(self.servers.folder, "replay.log"), "ab") as log:
            ended = subprocess.run([self.replay_program, "run", "--consumer", fault.target, "--reason", "torture", "--operator",
                                    "torture", "--limit", "200", f"--confirm={fault.target}"], env=environment, stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, timeout=60, check=False)
        if ended.returncode == -signal.SIGKILL:
            self.counts[f"killed itself at {fault.text.split(':')[0]}"] += 1

    # ---- Connections ----

    def link_fault(self, fault):
        self.servers.tell(fault.target, fault.what, fault.number)
        if fault.what in ("refuse", "hang", "delay", "throttle"):
            time.sleep(fault.seconds)
            self.servers.tell(fault.target, "pass")

    # ---- The database ----

    def kill_sessions(self, fault):
        sessions = self.servers.execute("SELECT id FROM information_schema.processlist WHERE user = 'torture' ORDER BY id")
        for (session,) in random.Random(fault.at).sample(sessions, min(fault.number, len(sessions))):
            try:
                self.servers.execute(f"KILL {session}")
            except pymysql.Error:
                pass  # it has ended by itself

    def read_only(self, fault):
        with self.servers.connect() as db, db.cursor() as cursor:
            cursor.execute("SET GLOBAL read_only = 1")
            time.sleep(fault.seconds)
            cursor.execute("SET GLOBAL read_only = 0")

    def too_many_connections(self, fault):
        with self.servers.connect() as db, db.cursor() as cursor:  # kept: another one would be refused
            cursor.execute("SET GLOBAL max_connections = 12")
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'torture'")
            for (session,) in cursor.fetchall():
                try:
                    cursor.execute(f"KILL {session}")
                except pymysql.Error:
                    pass  # it has ended by itself
            time.sleep(fault.seconds)
            cursor.execute("SET GLOBAL max_connections = 300")

    def lock_table(self, fault):
        table = random.Random(fault.at).choice(("outbox_message", "consumed_message", "effect"))
        with self.servers.connect() as db, db.cursor() as cursor:
            cursor.execute("SET lock_wait_timeout = 3")
            cursor.execute(f"LOCK TABLES {table} WRITE")
            time.sleep(fault.seconds)
            cursor.execute("UNLOCK TABLES")

    def lock_rows(self, fault):
        """Accounts that everybody needs."""
        with self.servers.connect(autocommit=False) as db, db.cursor() as cursor:
            cursor.execute("SELECT * FROM account WHERE id % 7 = 0 FOR UPDATE")
            time.sleep(fault.seconds)
            db.rollback()

    def pause(self, server, seconds):
        os.kill(self.servers.pid(server), signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.servers.pid(server), signal.SIGCONT)

    def restart(self, server):
        os.kill(self.servers.pid(server), signal.SIGKILL)
        self.servers.restart(server)

    def stop_mysql(self, fault):
        self.pause("mysql", fault.seconds)

    def restart_mysql(self, _):
        self.restart("mysql")

    # ---- The broker ----

    def stop_kafka(self, fault):
        self.pause("kafka", fault.seconds)

    def restart_kafka(self, _):
        self.restart("kafka")

    def stop_broker(self, fault):
        """Long enough, often, for its partitions to get other leaders."""
        self.servers.signal_broker(fault.number, signal.SIGSTOP)
        time.sleep(2 * fault.seconds)
        self.servers.signal_broker(fault.number, signal.SIGCONT)

    def restart_broker(self, fault):
        self.servers.restart_broker(fault.number)

    def too_few_replicas(self, fault):
        """Of three one is left: nothing is acked, and most partitions have no leader."""
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for node in self.servers.more_brokers:
                self.servers.signal_broker(node, number)
            if number == signal.SIGSTOP:
                time.sleep(3 * fault.seconds)

    def unwritable_letters(self, fault):
        topic = self.names.letters(fault.target)
        self.servers.limit_topic(topic, 10)
        time.sleep(2 * fault.seconds)
        self.servers.limit_topic(topic, None)

    def copies(self, fault):
        """Records that are on the topic already, once more, as another producer might send them."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.servers.brokers, "log_level": 0, "message.timeout.ms": 20_000,
                                             "partitioner": "murmur2_random"})
        reader = confluent_kafka.Consumer({"bootstrap.servers": self.servers.brokers, "log_level": 0, "group.id": "torture-copies",
                                           "enable.auto.commit": False})
        partition = random.Random(fault.at).randrange(self.names.partitions)
        topic = random.Random(fault.number).choice(
            [self.names.topic, *(self.names.retry(consumer) for consumer in self.names.consumers)])
        known = self.topics.records[topic, partition]
        start = max(0, len(known) - 3 * fault.number)
        reader.assign([confluent_kafka.TopicPartition(topic, partition, start)])
        for message in reader.consume(fault.number, timeout=5):
            if message.error() is None and message.key() is not None:  # those without a key have no partition of their own
                producer.produce(topic, message.value(), message.key(), partition, headers=message.headers())
        producer.flush(20)
        reader.close()

    # ---- Redis ----

    def redis_command(self, *words):
        with open(os.environ["ONCEMARK_REDIS__PASSWORD_FILE"], encoding="utf-8") as file:
            environment = dict(os.environ, REDISCLI_AUTH=file.read())
        subprocess.run(["redis-cli", "-s", os.environ["ONCEMARK_REDIS_SOCKET"], "--user", os.environ["ONCEMARK_REDIS__USER"],
                        "--no-auth-warning", *words], env=environment, check=True, capture_output=True, timeout=5)

    def flush_redis(self, _):
        self.redis_command("FLUSHALL")

    def full_redis(self, fault):
        self.redis_command("CONFIG", "SET", "maxmemory", "1mb")
        time.sleep(fault.seconds)
        self.redis_command("CONFIG", "SET", "maxmemory", "0")

    def evict_redis(self, fault):
        self.redis_command("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        self.full_redis(fault)
        self.redis_command("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def stop_redis(self, fault):
        self.pause("redis", fault.seconds)

    def restart_redis(self, _):
        self.restart("redis")


def describe(fault):
    words = [fault.what, fault.target, fault.text, str(fault.number) if fault.number else "", f"{fault.seconds} s"]
    return " ".join(word for word in words if word)
