"""Decides from MySQL, the topics and the workload's own history whether the promises held.

Nothing of the library is used here: rows are read with pymysql, records with confluent_kafka, and what a state or a
header means is said again in this file.
"""
import collections
import glob
import os
import threading
import time

import confluent_kafka
import pymysql

# What a letter of a message that never fails may say: it was in the hands of processes that died, or a server went away
# under it more often than the workload's limits allow.
EXCUSES = ("crash_loop", "mysql", "unavailable", "in_doubt", "transient", "deadlock", "lock_wait")

Record = collections.namedtuple("Record", "topic partition offset id key seq life attempt")
Violation = collections.namedtuple("Violation", "promise id text")


class Names:
    """Topics of the run; consumers by name, with their group."""

    def __init__(self, topic, partitions, consumers):
        self.topic = topic
        self.partitions = partitions
        self.consumers = consumers  # name -> {"group": …, "ordered": bool}

    def group(self, consumer):
        return self.consumers[consumer]["group"]

    def retry(self, consumer):
        return f"retry.{self.group(consumer)}.{self.topic}"

    def letters(self, consumer):
        return f"dlq.{self.group(consumer)}.{self.topic}"

    def all_topics(self):
        return [self.topic] + [make(name) for name in self.consumers for make in (self.retry, self.letters)]


class Topics:
    """Everything on the topics, read as it comes."""

    def __init__(self, brokers, names):
        self.names = names
        self.records = {(topic, partition): [] for topic in names.all_topics() for partition in range(names.partitions)}
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": brokers, "log_level": 0, "group.id": "torture-checker", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "fetch.max.bytes": 8 << 20, "queued.max.messages.kbytes": 16384})
        self.consumer.assign([confluent_kafka.TopicPartition(*where, 0) for where in self.records])
        self.asker = confluent_kafka.Consumer({"bootstrap.servers": brokers, "log_level": 0, "group.id": "torture-checker"})
        self.is_stopped = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.is_stopped:
            for message in self.consumer.consume(num_messages=1000, timeout=0.5):
                if message.error() is None:
                    self.records[message.topic(), message.partition()].append(record_of(message))

    def end(self, where):
        """The offset that the log ends at."""
        return self.asker.get_watermark_offsets(confluent_kafka.TopicPartition(*where), timeout=5)[1]

    def unread(self):
        """What of the topics has not come yet, as text."""
        behind = []
        for where, records in self.records.items():
            position, end = records[-1].offset + 1 if records else 0, self.end(where)
            if position < end:
                behind.append(f"{where[0]}/{where[1]}: {position} of {end}")
        return "; ".join(behind)

    def of(self, topic):
        for partition in range(self.names.partitions):
            yield from self.records[topic, partition]

    def stop(self):
        self.is_stopped = True
        self.thread.join()
        self.consumer.close()


def record_of(message):
    headers = dict(message.headers() or [])
    words = (message.value() or b"")[:60].split()
    return Record(message.topic(), message.partition(), message.offset(), headers.get("om-message-id", b"").decode(),
                  message.key(), int(words[1]) if len(words) > 4 else 0, int(headers.get("om-life", b"1")),
                  int(headers.get("om-attempt", b"1")))


class Offsets:
    """While the workload runs: no committed position may lie behind a record that is not settled."""

    def __init__(self, brokers, names, topics, connect):
        self.names, self.topics, self.connect = names, topics, connect
        self.violations = []
        self.checked = 0
        self.groups = {name: confluent_kafka.Consumer({
            "bootstrap.servers": brokers, "log_level": 0, "group.id": names.group(name), "enable.auto.commit": False})
            for name in names.consumers}
        self.until = {}  # (consumer, topic, partition) -> index into the records, checked up to there

    def committed(self, consumer, topic):
        wanted = [confluent_kafka.TopicPartition(topic, partition) for partition in range(self.names.partitions)]
        return {found.partition: max(found.offset, 0)
                for found in self.groups[consumer].committed(wanted, timeout=5) if found.error is None}

    def look(self):
        """One sample; raises when a server is away."""
        for consumer in self.names.consumers:
            for topic in (self.names.topic, self.names.retry(consumer)):
                positions = self.committed(consumer, topic)  # first the positions, then the rows
                for partition, position in positions.items():
                    self.look_at(consumer, topic, partition, position)

    def look_at(self, consumer, topic, partition, position):
        records = self.topics.records[topic, partition]
        begin = end = self.until.get((consumer, topic, partition), 0)
        while end < len(records) and records[end].offset < position:
            end += 1
        if begin == end:
            return
        passed = records[begin:end]
        is_retry = topic != self.names.topic
        unsettled = self.unsettled_retries if is_retry else self.unsettled
        with self.connect() as db, db.cursor() as cursor:
            for start in range(0, len(passed), 2000):
                for record in unsettled(cursor, consumer, passed[start:start + 2000]):
                    self.violations.append(Violation(
                        "offsets", record.id, f"{consumer} had committed {topic}/{partition} up to {position} while the "
                        f"record at {record.offset} was not settled"))
        self.until[consumer, topic, partition] = end
        self.checked += len(passed)

    def unsettled(self, cursor, consumer, records):
        ids = {record.id for record in records}
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        settled = set()
        for table, column in (("effect", "id"), ("dead_letter", "identity"), ("failed_message", "message_key"),
                              ("parked_message", "message_key")):
            left = list(ids - settled)
            if left:
                cursor.execute(f"SELECT {column} FROM {table} WHERE consumer = %s AND {column} IN %s", (consumer, left))
                settled |= {row[0].decode() for row in cursor}
        cursor.execute("COMMIT")
        return [record for record in records if record.id not in settled]

    def unsettled_retries(self, cursor, consumer, records):
        cursor.execute("SELECT message_key, life, attempt FROM consumed_message WHERE consumer = %s AND state = 'retrying' "
                       "AND message_key IN %s", (consumer, [record.id for record in records]))
        waiting = {(key.decode(), life, attempt + 1) for key, life, attempt in cursor}
        return [record for record in records if (record.id, record.life, record.attempt) in waiting]


class Histories:
    """What the producers say of their transactions."""

    def __init__(self, folder):
        self.folder = folder
        self.committed, self.undone, self.transactions = set(), set(), 0
        for path in glob.glob(os.path.join(folder, "produce-*.history")):
            self.read(path)

    def read(self, path):
        open_transactions = {}
        for line in open(path, encoding="utf-8", errors="replace"):
            words = line.split()
            if len(words) < 3:
                continue
            what, number = words[1], words[2]
            if what == "begin":
                open_transactions = {}  # of a process that died: nobody knows
            elif what == "intent":
                self.transactions += 1
                open_transactions[number] = words[3:]
            elif what == "committed":
                self.committed.update(open_transactions.pop(number))
            elif what == "undone":
                self.undone.update(open_transactions.pop(number, []))

    def of(self, message_id):
        found = []
        for path in glob.glob(os.path.join(self.folder, "*.history")):
            name = os.path.basename(path)[:-len(".history")]
            transactions = set()
            for line in open(path, encoding="utf-8", errors="replace"):
                words = line.split()
                if len(words) > 2 and words[1] == "begin":
                    transactions = set()
                if message_id in words:
                    if words[1] == "intent":
                        transactions.add(words[2])
                        words = words[:3] + [message_id]
                    found.append((int(words[0]), f"{name}: {' '.join(words[1:])}"))
                elif len(words) > 2 and words[1] in ("committed", "undone", "in-doubt") and words[2] in transactions:
                    found.append((int(words[0]), f"{name}: {' '.join(words[1:3])}"))
        return [f"{when / 1e6:.6f} {text}" for when, text in sorted(found)]


class Check:
    """The verdict, once everything has come to rest."""

    def __init__(self, names, topics, histories, connect):
        self.names, self.topics, self.histories, self.connect = names, topics, histories, connect
        self.violations = []
        self.facts = collections.Counter()

    def blame(self, promise, message_id, text):
        self.violations.append(Violation(promise, message_id, text))

    def rows(self, sql, *params):
        with self.connect() as db, db.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    def run(self):
        self.transfers = {row[0].decode(): row[1:] for row in
                          self.rows("SELECT id, k, seq, debit, credit, amount FROM transfer")}
        self.facts["committed messages"] = len(self.transfers)
        self.check_business()
        self.check_source_topic()
        for consumer in self.names.consumers:
            self.check_consumer(consumer)
        return self.violations

    def check_business(self):
        for lost in self.histories.committed - self.transfers.keys():
            self.blame("nothing lost", lost, "its COMMIT was answered, and its row is not there")
        for ghost in self.histories.undone & self.transfers.keys():
            self.blame("no effect of a rolled-back transaction", ghost, "it was rolled back, and its row is there")
        last = collections.Counter()
        for key, count, highest in self.rows("SELECT k, COUNT(*), MAX(seq) FROM transfer WHERE k >= 0 GROUP BY k"):
            last[key] = highest
            if count != highest:
                self.blame("nothing lost", "", f"key {key} has {count} rows and numbers up to {highest}")

    def check_source_topic(self):
        seen, highest = set(), {}
        for record in self.topics.of(self.names.topic):
            self.facts["records on the source topic"] += 1
            if record.id in seen:
                self.facts["copies on the source topic"] += 1
                continue
            seen.add(record.id)
            if record.key is None:
                continue
            if highest.get(record.key, 0) >= record.seq:
                self.blame("order per key", record.id, f"number {record.seq} of {record.key.decode()} came to the topic "
                           f"after {highest[record.key]}")
            highest[record.key] = max(highest.get(record.key, 0), record.seq)
        for lost in self.transfers.keys() - seen:
            self.blame("nothing lost", lost, "it was committed and never came to the topic")
        for ghost in seen - self.transfers.keys():
            self.blame("no effect of a rolled-back transaction", ghost, "it is on the topic and was never committed")

    def check_consumer(self, consumer):
        effects = collections.defaultdict(list)
        for n, message_id, key, seq, attempt, life in self.rows(
                "SELECT n, id, k, seq, attempt, life FROM effect WHERE consumer = %s ORDER BY n", consumer):
            effects[message_id.decode()].append((n, key, seq, attempt, life))
        letters = collections.defaultdict(dict)
        for identity, life, state, error_class in self.rows(
                "SELECT identity, life, state, error_class FROM dead_letter WHERE consumer = %s", consumer):
            letters[identity.decode()][life] = (state, error_class.decode())
        self.facts["effects"] += len(effects)
        self.facts["letters"] += sum(map(len, letters.values()))
        for message_id in effects.keys() | letters.keys() | self.transfers.keys():
            self.check_message(consumer, message_id, effects.get(message_id, []), letters.get(message_id, {}))
        self.check_letters_topic(consumer, letters)
        self.check_order(consumer, effects)
        self.check_balances(consumer, effects)

    def check_message(self, consumer, message_id, effects, letters):
        kind = message_id.split("-")[0]
        if message_id not in self.transfers:
            self.blame("no effect of a rolled-back transaction", message_id, f"{consumer} knows it, and it was never committed")
            return
        if len(effects) > 1:
            self.blame("effect once", message_id, f"{consumer} has applied it {len(effects)} times")
        last_life = max(letters, default=0)
        if sorted(letters) != list(range(1, last_life + 1)):
            self.blame("dead letter once", message_id, f"{consumer} has letters of its lives {sorted(letters)}")
        if not effects and (not letters or letters[last_life][0] != "dead"):
            self.blame("nothing lost", message_id, f"{consumer} has neither an effect nor a letter that is open")
        for _, _, _, attempt, life in effects:
            if life <= last_life:
                self.blame("dead letter once", message_id, f"{consumer} applied it in life {life}, and has a letter of life {last_life}")
            if kind == "poison" or (kind == "healed" and life == 1) or (kind == "flaky" and attempt == 1):
                self.blame("no effect of a rolled-back transaction", message_id,
                           f"{consumer} has kept what its handler threw after (life {life}, attempt {attempt})")
        for life, (_, error_class) in letters.items():
            if kind == "poison" or (kind == "healed" and life == 1):
                continue
            self.facts[f"letters of sound messages: {error_class}"] += 1
            if not error_class.lower().startswith(EXCUSES):
                self.blame("nothing lost", message_id, f"{consumer} has a letter of a sound message: {error_class}")

    def check_letters_topic(self, consumer, letters):
        wanted = {(message_id, life) for message_id, lives in letters.items() for life in lives}
        found = {(record.id, record.life) for record in self.topics.of(self.names.letters(consumer))}
        for message_id, life in wanted - found:
            self.blame("nothing lost", message_id, f"the letter of its life {life} is not on {self.names.letters(consumer)}")
        for message_id, life in found - wanted:
            self.blame("dead letter once", message_id, f"{self.names.letters(consumer)} has a letter of its life {life}, the table has none")

    def check_order(self, consumer, effects):
        """Effects have rising numbers in the order of their commits, because those of a key meet at the row of its account."""
        ordered = self.names.consumers[consumer]["ordered"]
        last = {}
        in_order = sorted((n, message_id, key, seq, attempt, life) for message_id, all_of_it in effects.items()
                          for n, key, seq, attempt, life in all_of_it)
        for _, message_id, key, seq, attempt, life in in_order:
            if key < 0 or life > 1 or (not ordered and attempt > 1):
                continue
            if seq < last.get(key, (0,))[0]:
                self.blame("order per key", message_id, f"{consumer} applied number {seq} of key {key} after {last[key]}")
            last[key] = (seq, message_id)

    def check_balances(self, consumer, effects):
        expected = collections.Counter()
        for message_id, all_of_it in effects.items():
            if message_id in self.transfers:
                _, _, debit, credit, amount = self.transfers[message_id]
                expected[debit] -= amount * len(all_of_it)
                expected[credit] += amount * len(all_of_it)
        total = 0
        for account, balance in self.rows("SELECT id, balance FROM account WHERE consumer = %s", consumer):
            total += balance
            if balance != expected[account]:
                self.blame("balances", "", f"account {account} of {consumer} has {balance}, its effects make {expected[account]}")
        if total != 0:
            self.blame("balances", "", f"the accounts of {consumer} sum up to {total}")


def story(message_id, names, topics, histories, connect):
    """All that is known of one message, as lines."""
    lines = histories.of(message_id)
    for topic in names.all_topics():
        lines += [f"record {record}" for record in topics.of(topic) if record.id == message_id]
    with connect() as db, db.cursor(pymysql.cursors.DictCursor) as cursor:
        for table, column in (("transfer", "id"), ("outbox_message", "message_id"), ("consumed_message", "message_key"),
                              ("failed_message", "message_key"), ("parked_message", "message_key"),
                              ("dead_letter", "identity"), ("effect", "id")):
            cursor.execute(f"SELECT * FROM {table} WHERE {column} = %s", (message_id,))
            for row in cursor:
                lines.append(f"{table} " + " ".join(
                    f"{name}={value!r}" for name, value in row.items() if name not in ("payload", "headers")))
    return lines


def wait_until(condition, seconds):
    """Whether it came true in time; servers that are away make it false."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except (pymysql.Error, confluent_kafka.KafkaException):
            pass
        time.sleep(0.3)
    return False
