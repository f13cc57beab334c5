"""tools/bench reconcile: N messages sent and N consumed, with planted differences, and what `reconcile` makes of them.

The tables are filled by SQL of its own. Differences are planted where they are hardest to see: in the first and the
last minute, many in one bucket, and spread over all of time. Three runs: find, repair, and find again.
Data goes to standard output, one JSON line; everything else to standard error.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLANTED = 137  # of each kind
MINUTES = 9_000  # that the messages are spread over, up to an hour ago
STEP = 500_000  # rows a statement
KINDS = ("unsent", "unsettled", "unexpected", "dead", "replayed", "conflict")


def sql(text):
    return subprocess.run(["mysql", "--socket", os.environ["ONCEMARK_MYSQL_SOCKET"], "-u", "root", "-N", "-B",
                           os.environ["ONCEMARK_MYSQL__SCHEMA"]],
                          input="SET time_zone = '+00:00';\n" + text, text=True, capture_output=True, check=True).stdout


def timed(what, text):
    began = time.monotonic()
    sql(text)
    print(f"bench: {what} in {time.monotonic() - began:.1f} s", file=sys.stderr)


# Of message i: ids rise with time, business keys lie anywhere.
ID = "CONCAT('0193', LPAD(HEX(i), 10, '0'))"
KEY = "CONCAT('order-', LPAD(HEX(i * 2654435761 % 4294967296), 8, '0'), '-', i)"
HASH = "(CRC32(i) * 2654435761)"


def fill(n):
    sql("CREATE TABLE digits (d INT PRIMARY KEY) AS SELECT 0 AS d" +
        "".join(f" UNION SELECT {d}" for d in range(1, 10)) + ";"
        "CREATE TABLE numbers (i BIGINT PRIMARY KEY) AS SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d "
        "+ 100000 * f.d AS i FROM digits a, digits b, digits c, digits d, digits e, digits f;"
        "SET GLOBAL innodb_flush_log_at_trx_commit = 2;"
        f"CREATE TABLE began AS SELECT UTC_TIMESTAMP(6) - INTERVAL {MINUTES + 60} MINUTE AS at;")
    when = f"(SELECT at FROM began) + INTERVAL FLOOR(i * {MINUTES * 60_000_000} / {n}) MICROSECOND"
    for first in range(0, n, STEP):
        count = min(STEP, n - first)
        timed(f"{first + count:,} sent", f"""
            INSERT INTO outbox_message (message_id, purpose, relay, shard, topic, message_key, business_key, event_time,
              payload, headers, status, available_at, created_at, sent_at, payload_hash)
            SELECT {ID}, '', 'main', i % 64, 'orders', {KEY}, {KEY}, at, REPEAT('x', 100), '[]', 'sent', at, at, at,
              {HASH} FROM (SELECT i + {first} AS i, {when.replace('i *', f'(i + {first}) *')} AS at FROM numbers
                           WHERE i < {count}) AS m""")
    timed("all consumed", """
        INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, message_id,
          origin_topic, origin_partition, origin_offset, event_time, consumed_at)
        SELECT 'shipping', business_key, 'done', 1, 0, id, payload_hash, message_id, 'orders', shard, id, event_time,
          sent_at FROM outbox_message ORDER BY business_key""")
    sql("ANALYZE TABLE outbox_message, consumed_message")


def places(n):
    """Positions for each kind: the ends, neighbours in one bucket, and everywhere."""
    taken = set()
    chosen = {}
    for number, kind in enumerate(KINDS):
        mine = []
        candidates = (list(range(number * 20, number * 20 + 20)) +                     # the first bucket
                      list(range(n - 1 - number * 20, n - 21 - number * 20, -1)) +     # the last one
                      list(range(n // 2 + number * 40, n // 2 + number * 40 + 40)) +   # one in the middle
                      [(7 + number + k * (n // 101)) % n for k in range(200)])         # everywhere
        for i in candidates:
            if i not in taken and len(mine) < PLANTED:
                taken.add(i)
                mine.append(i)
        chosen[kind] = mine
    return chosen


def plant(chosen):
    def of(kind):
        return "(" + ",".join(f"'0193{i:010X}'" for i in chosen[kind]) + ")"

    def consumed(kind):
        rows = sql(f"SELECT business_key FROM outbox_message WHERE purpose = '' AND message_id IN {of(kind)}").split()
        return "consumer = 'shipping' AND message_key IN (" + ",".join(f"'{key}'" for key in rows) + ")"

    where = {kind: consumed(kind) for kind in KINDS}
    record = ("message_id, 'shipping', 'orders', 0, 7, event_time, '', 'payload', '[]', event_time")
    sql(f"""
        DELETE FROM consumed_message WHERE {where['unsent']};
        UPDATE outbox_message SET status = 'dead', attempts = 10 WHERE purpose = '' AND message_id IN {of('unsent')};
        DELETE FROM consumed_message WHERE {where['unsettled']};
        DELETE FROM outbox_message WHERE purpose = '' AND message_id IN {of('unexpected')};
        UPDATE consumed_message SET payload_hash = payload_hash ^ 1 WHERE {where['conflict']};
        UPDATE consumed_message SET state = 'dead' WHERE {where['dead']};
        UPDATE consumed_message SET state = 'retrying', life = 2 WHERE {where['replayed']};
        INSERT INTO dead_letter (consumer, identity, life, state, dlq_topic, attempts, error_class, error_text,
          error_stage, fingerprint, first_failed_at, died_at, message_id, origin_group, origin_topic, origin_partition,
          origin_offset, origin_timestamp, record_key, payload, headers, event_time)
        SELECT 'shipping', message_key, 1, IF(state = 'dead', 'dead', 'replaying'), 'dlq.shipping.orders', 3, 'permanent',
          'no', 'handler', '0123456789abcdef', event_time, event_time, {record}
        FROM consumed_message WHERE ({where['dead']}) OR ({where['replayed']});
        INSERT INTO failed_message (consumer, message_key, due_at, first_error_class, first_error, last_error_class,
          last_error, first_failed_at, failed_at, message_id, origin_group, origin_topic, origin_partition, origin_offset,
          origin_timestamp, record_key, payload, headers, event_time)
        SELECT 'shipping', message_key, event_time, 'permanent', 'no', 'permanent', 'no', event_time, event_time, {record}
        FROM consumed_message WHERE {where['replayed']};""")


def run(program, *words):
    """(exit code, JSON lines, seconds, peak KiB)"""
    began = time.monotonic()
    process = subprocess.Popen([program, "reconcile", "run", "--json", *words], stdout=subprocess.PIPE)
    lines = [json.loads(line) for line in process.stdout]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, lines, time.monotonic() - began, usage.ru_maxrss


def main():
    parser = argparse.ArgumentParser(prog="tools/bench reconcile")
    parser.add_argument("n", nargs="?", type=int, default=10_000_000, help="messages")
    parser.add_argument("--program", default=ROOT / "build/release/tools/oncemark", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.n < 100_000:
        parser.error("at least 100000 messages")
    subprocess.run([options.program, "schema", "apply"], check=True, stdout=subprocess.DEVNULL)
    fill(options.n)
    code, lines, clean_s, _ = run(options.program)
    is_right = code == 0 and len(lines) == 1
    chosen = places(options.n)
    plant(chosen)

    code, lines, find_s, peak = run(options.program)
    found = {kind: sorted(one["message_id"] for one in lines if one.get("difference") == kind) for kind in KINDS}
    planted = {kind: sorted(f"0193{i:010X}" for i in chosen[kind]) for kind in KINDS}
    is_right = is_right and code == 4 and found == planted
    code, _, repair_s, _ = run(options.program, "--repair", "--waive", "unexpected,conflict", "--reason", "planted",
                               "--confirm", os.environ["ONCEMARK_MYSQL__SCHEMA"])
    is_right = is_right and code == 0
    code, again, _, _ = run(options.program)
    is_right = is_right and code == 0 and len(again) == 1
    summary = lines[-1]
    print(json.dumps({"workload": "reconcile", "n": options.n, "is_right": is_right,
                      "found": {kind: len(found[kind]) for kind in KINDS}, "planted": PLANTED,
                      "clean_s": round(clean_s, 2), "find_s": round(find_s, 2), "repair_s": round(repair_s, 2),
                      "peak_mib": round(peak / 1024, 1), "buckets": summary["compared"][0]["buckets"],
                      "differing": summary["compared"][0]["differing"], "exit_code_after": code}))
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
