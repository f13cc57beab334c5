"""Runs the workload of tools/torture under a schedule of faults, and has a checker decide; see tools/torture --help."""
import argparse
import collections
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka
import pymysql

from checker import Check, Histories, Names, Offsets, Topics, story, wait_until
from faults import BROKER_FAULTS, WEIGHTS, Hands, describe, schedule
from mutants import MUTANTS
from servers import LINKS, Servers, Slot

PARTITIONS, KEYS = 6, 600
CONSUMERS = {name: {"group": f"{name}-{os.getpid()}", "ordered": name == "ledger"} for name in ("ledger", "audit")}
TABLES = (
    "CREATE TABLE transfer (id VARBINARY(255) PRIMARY KEY, k INT NOT NULL, seq BIGINT UNSIGNED NOT NULL, debit INT NOT NULL, "
    "credit INT NOT NULL, amount INT NOT NULL)",
    "CREATE TABLE sequence (k INT PRIMARY KEY, seq BIGINT UNSIGNED NOT NULL)",
    "CREATE TABLE account (consumer VARCHAR(100) CHARACTER SET ascii, id INT, balance BIGINT NOT NULL, PRIMARY KEY (consumer, id))",
    # No unique key: a double shows.
    "CREATE TABLE effect (n BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, consumer VARCHAR(100) CHARACTER SET ascii NOT NULL, "
    "id VARBINARY(255) NOT NULL, k INT NOT NULL, seq BIGINT UNSIGNED NOT NULL, attempt INT NOT NULL, life INT NOT NULL, "
    "KEY (consumer, id))")


def kinds_of(options):
    """Faults that may happen."""
    lacking = BROKER_FAULTS if options.brokers == 1 else set()
    return set(WEIGHTS) - set(options.without) - lacking


class Run:
    def __init__(self, options, seed, seconds, mutant, folder):
        self.options, self.seed, self.seconds, self.mutant, self.folder = options, seed, seconds, mutant, folder
        self.begin = time.monotonic()
        self.counts = collections.Counter()
        self.journal = open(os.path.join(folder, "faults.log"), "w", encoding="utf-8")
        self.servers = Servers(options.stack, options.build + "/tests/torture/torture_proxy", folder, self.log, options.brokers)
        self.names = Names(f"transfers-{os.getpid()}", PARTITIONS, CONSUMERS)
        self.prepare()
        self.topics = Topics(self.servers.brokers, self.names)
        self.offsets = Offsets(self.servers.brokers, self.names, self.topics, self.servers.connect)
        self.is_looking = True
        self.looker = threading.Thread(target=self.look, daemon=True)
        self.looker.start()
        self.slots = {name: self.slot(name) for name in
                      ("produce-1", "produce-2", "relay-1", "relay-2", "consume-ledger-1", "consume-ledger-2",
                       "consume-audit-1", "consume-audit-2")}

    def log(self, text):
        self.journal.write(f"{time.monotonic() - self.begin:8.2f} {text}\n")
        self.journal.flush()

    def prepare(self):
        environment = dict(os.environ)
        subprocess.run([self.options.build + "/tools/oncemark", "schema", "apply"], env=environment, check=True,
                       stdout=subprocess.DEVNULL)
        for table in TABLES:
            self.servers.execute(table + " ENGINE=InnoDB")
        with self.servers.connect() as db, db.cursor() as cursor:
            cursor.executemany("INSERT INTO sequence VALUES (%s, 0)", [(key,) for key in range(KEYS)])
            cursor.executemany("INSERT INTO account VALUES (%s, %s, 0)",
                               [(name, account) for name in CONSUMERS for account in range(2 * KEYS + 50)])
        self.servers.make_topics(self.names)

    def slot(self, name, instance=None):
        role = name.split("-")[0]
        history = os.path.join(self.folder, f"{name}.history")
        command = [self.options.build + "/tests/torture/torture_worker", role, history, f"name={name}", f"topic={self.names.topic}", f"keys={KEYS}"]
        if role == "produce":
            command += [f"rate={self.options.rate // 2}", f"seed={self.seed * 10 + int(name[-1])}"]
        elif role == "relay":
            command += ["relay=main"]
        else:
            consumer = name.split("-")[1]
            # The first instance is a static member, the second a dynamic one.
            member = (name if name.endswith("1") else "") if instance is None else instance
            command += [f"consumer={consumer}", f"group={self.names.group(consumer)}", f"instance={member}", "session=3000",
                        "order=" + ("by_key" if CONSUMERS[consumer]["ordered"] else "none"),
                        "hint=" + ("no" if CONSUMERS[consumer]["ordered"] else "yes")]
        return Slot(name, role, command, self.servers, self.log, self.counts, self.mutant)

    def tend(self):
        for slot in self.slots.values():
            slot.tend()

    def look(self):
        """In a thread of its own: it waits for servers that are away."""
        while self.is_looking:
            try:
                self.offsets.look()
            except (pymysql.Error, confluent_kafka.KafkaException, OSError):
                pass  # the next one looks at the same records
            time.sleep(1)

    def run(self):
        """The violations; empty when all is well."""
        for slot in self.slots.values():
            slot.start()
        mutant = MUTANTS.get(self.mutant)
        only = mutant.faults if mutant else kinds_of(self.options)
        faults = schedule(self.seed, self.seconds, {name: slot.role for name, slot in self.slots.items()}, CONSUMERS, only,
                          mutant.aim if mutant else "")
        hands = Hands(self.servers, self.slots, self.names, self.topics, self.slot,
                      self.options.build + "/tools/dlq-replay", self.log, self.counts)
        started = time.monotonic()
        hands.run(faults, started, self.tend)
        while time.monotonic() < started + self.seconds:
            self.tend()
            time.sleep(0.05)
        hands.wait(self.tend)
        self.log("no more faults")
        return self.come_to_rest() + self.offsets.violations

    def come_to_rest(self):
        for name, slot in self.slots.items():
            slot.send(signal.SIGCONT)
            if slot.role == "produce":
                slot.rest()
        for link in LINKS:
            self.servers.tell(link, "pass")
        if self.mutant and self.offsets.violations:
            return self.decide()  # that is enough, and what was lost never comes to rest
        rested = wait_until(lambda: (self.tend(), self.is_at_rest())[1], 60 if self.mutant else 240)
        self.log("everything has come to rest" if rested else "something has not come to rest")
        violations = self.decide()
        if not rested:
            self.check.blame("comes to rest", "", "what is left: " + self.unrest())
        return violations

    def decide(self):
        unclean = [name for name, slot in self.slots.items() if not slot.rest()]
        if not wait_until(lambda: not self.topics.unread(), 60):
            self.log("the checker has not read all: " + self.topics.unread())
        self.histories = Histories(self.folder)
        self.check = Check(self.names, self.topics, self.histories, self.servers.connect)
        self.is_looking = False
        self.looker.join()
        violations = self.check.run()
        for slot in self.slots.values():
            for crash in slot.crashes:
                self.check.blame("no crash", "", crash)
        for name in self.that_show_the_password():
            self.check.blame("no secrets", "", f"the password is in {name}")
        for name in unclean:
            self.check.blame("a clean stop", "", f"{name} did not end after SIGTERM")
        return violations

    def that_show_the_password(self):
        with open(self.servers.password_file, encoding="utf-8") as file:
            password = file.read().encode()
        for name in sorted(os.listdir(self.folder)):
            if name.endswith((".log", ".history")):
                with open(os.path.join(self.folder, name), "rb") as file:
                    if any(password in line for line in file):
                        yield name

    def waiting(self):
        """What is still on its way, by table."""
        return {table: self.servers.number(f"SELECT COUNT(*) FROM {table}" + where) for table, where in (
            ("outbox_message", " WHERE status <> 'sent'"), ("failed_message", ""), ("parked_message", ""))}

    def is_at_rest(self):
        if any(self.waiting().values()):
            return False
        for consumer in CONSUMERS:
            for topic in (self.names.topic, self.names.retry(consumer)):
                for partition, position in self.offsets.committed(consumer, topic).items():
                    if position < self.topics.end((topic, partition)):
                        return False
        return True

    def unrest(self):
        lines = [f"{table} has {count}" for table, count in self.waiting().items() if count]
        for consumer in CONSUMERS:
            for topic in (self.names.topic, self.names.retry(consumer)):
                for partition, position in self.offsets.committed(consumer, topic).items():
                    end = self.topics.end((topic, partition))
                    if position < end:
                        lines.append(f"{consumer} is at {position} of {end} in {topic}/{partition}")
        return "; ".join(lines)

    def stop(self):
        self.is_looking = False
        for slot in self.slots.values():
            slot.wanted = False
            slot.send(signal.SIGKILL)
            if slot.process is not None:
                slot.process.wait()
        self.topics.stop()
        self.servers.stop()
        self.journal.close()


def report(run, violations, seconds):
    """What was done and found, on standard output."""
    faults = sum(count for name, count in run.counts.items() if name != "ended by an error")
    facts = run.check.facts
    handled = facts["effects"] + facts["letters"]
    print(f"seed {run.seed}: {seconds:.0f} s of faults, {faults} faults, {facts['committed messages']} messages to "
          f"{len(CONSUMERS)} consumers: {handled} handled", flush=True)
    print("  faults: " + ", ".join(f"{name} {count}" for name, count in sorted(run.counts.items())))
    print("  facts: " + ", ".join(f"{name} {count}" for name, count in sorted(facts.items()))
          + f", positions checked over {run.offsets.checked} records, producers' transactions {run.histories.transactions}")
    by_promise = collections.Counter(violation.promise for violation in violations)
    if not violations:
        print("  no violation")
        return
    print("  VIOLATIONS: " + ", ".join(f"{promise} {count}" for promise, count in by_promise.items()))
    shown = collections.Counter()
    for violation in violations:
        shown[violation.promise] += 1
        if shown[violation.promise] > 3:
            continue
        print(f"  {violation.promise}: {violation.id} {violation.text}")
        if violation.id and shown[violation.promise] == 1:
            for line in story(violation.id, run.names, run.topics, run.histories, run.servers.connect):
                print("      " + line[:400])
    sys.stdout.flush()


def torture(options, seed, seconds, mutant):
    """One run; its violations."""
    folder = tempfile.mkdtemp(prefix="oncemark-torture.") if not options.keep else options.keep
    os.makedirs(folder, exist_ok=True)
    run = Run(options, seed, seconds, mutant, folder)
    try:
        violations = run.run()
        report(run, violations, seconds)
    finally:
        run.stop()
    if violations and not mutant:
        print(f"  what the processes wrote is in {folder}")
    elif not options.keep:
        shutil.rmtree(folder)
    return violations


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--rate", type=int, default=600)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--mutant", choices=sorted(MUTANTS))
    parser.add_argument("--without", action="append", choices=sorted(WEIGHTS), default=[])
    parser.add_argument("--keep")
    parser.add_argument("--schedule", action="store_true")
    options = parser.parse_args()
    if options.schedule:
        roles = {name: name.split("-")[0] for name in ("produce-1", "produce-2", "relay-1", "relay-2", "consume-ledger-1",
                                                       "consume-ledger-2", "consume-audit-1", "consume-audit-2")}
        for fault in schedule(options.seed, options.minutes * 60, roles, CONSUMERS, kinds_of(options)):
            print(f"{fault.at:7.2f} {describe(fault)}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    violations = torture(options, options.seed, options.minutes * 60, options.mutant)
    if options.mutant:
        caught = bool({violation.promise for violation in violations} & set(MUTANTS[options.mutant].promises))
        print(f"mutant {options.mutant}: {'caught' if caught else 'SURVIVED'}")
        return 0 if caught else 1
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
