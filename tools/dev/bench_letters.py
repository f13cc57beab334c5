"""tools/bench letters: N dead letters, and what dlq-replay makes of them.

The tables are filled by SQL of its own: ten ways to fail, one of them common. Then the overview and the first page, as
a user waits for them (process start included, the best of three); a replay at a rate, of which the outbox itself says
how many rows fell into the fullest ten seconds; and a replay of all that is left without a rate.
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
STEP = 200_000  # rows a statement
SECONDS_AT_RATE = 15


def sql(text):
    return subprocess.run(["mysql", "--socket", os.environ["ONCEMARK_MYSQL_SOCKET"], "-u", "root", "-N", "-B",
                           os.environ["ONCEMARK_MYSQL__SCHEMA"]],
                          input="SET time_zone = '+00:00';\n" + text, text=True, capture_output=True, check=True).stdout


def fill(n, payload):
    sql("CREATE TABLE digits (d INT PRIMARY KEY) AS SELECT 0 AS d" +
        "".join(f" UNION SELECT {d}" for d in range(1, 10)) + ";"
        "CREATE TABLE numbers (i BIGINT PRIMARY KEY) AS SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d "
        "+ 100000 * f.d AS i FROM digits a, digits b, digits c, digits d, digits e, digits f;")
    for first in range(0, n, STEP):
        began = time.monotonic()
        count = min(STEP, n - first)
        # Business keys lie anywhere; half of the letters fail in the common way.
        sql(f"""
            SET @now = UTC_TIMESTAMP(6);
            CREATE TEMPORARY TABLE m AS SELECT i + {first} AS i,
              CONCAT('order-', LPAD(HEX((i + {first}) * 2654435761 % 4294967296), 8, '0'), '-', i + {first}) AS k,
              IF(i % 2 = 0, 0, i % 10) AS how FROM numbers WHERE i < {count};
            INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, message_id,
              origin_topic, origin_partition, origin_offset, event_time, consumed_at)
            SELECT 'shipping', k, 'dead', 1, 3, i, CRC32(k), k, 'orders', i % 8, i, @now, @now FROM m ORDER BY k;
            INSERT INTO dead_letter (consumer, identity, life, state, message_id, origin_group, origin_topic,
              origin_partition, origin_offset, origin_timestamp, dlq_topic, record_key, payload, headers, event_time,
              attempts, error_class, error_text, error_stage, fingerprint, first_failed_at, died_at)
            SELECT 'shipping', k, 1, 'dead', k, 'shipping', 'orders', i % 8, i, @now, 'dlq.shipping.orders', k,
              REPEAT('x', {payload}), '[["trace","t"]]', @now, 3, 'permanent', CONCAT('warehouse ', how, ' refuses'),
              'handler', LPAD(HEX(how), 16, '0'), @now, @now + INTERVAL i MICROSECOND FROM m ORDER BY i;""")
        print(f"bench: {first + count:,} letters ({time.monotonic() - began:.1f} s)", file=sys.stderr)
    sql("ANALYZE TABLE dead_letter, consumed_message")


def run(program, *words):
    """(exit code, JSON lines, seconds, peak KiB)"""
    began = time.monotonic()
    process = subprocess.Popen([program, "dlq", *words, "--json"], stdout=subprocess.PIPE)
    lines = [json.loads(line) for line in process.stdout]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, lines, time.monotonic() - began, usage.ru_maxrss


def best_of_three(program, *words):
    runs = [run(program, *words) for _ in range(3)]
    return min(seconds for _, _, seconds, _ in runs), runs[0][1]


def fullest_ten_seconds():
    """Rows of the outbox in the fullest window of ten seconds, by steps of a tenth."""
    tenths = [0] * 2
    first = None
    for line in sql("SELECT FLOOR(UNIX_TIMESTAMP(created_at) * 10), COUNT(*) FROM outbox_message GROUP BY 1 "
                    "ORDER BY 1").splitlines():
        tenth, rows = map(int, line.split())
        first = tenth if first is None else first
        tenths += [0] * (tenth - first + 1 - len(tenths))
        tenths[tenth - first] = rows
    return max(sum(tenths[at:at + 100]) for at in range(max(1, len(tenths) - 99)))


def main():
    parser = argparse.ArgumentParser(prog="tools/bench letters")
    parser.add_argument("n", nargs="?", type=int, default=1_000_000, help="letters")
    parser.add_argument("--payload", type=int, default=300, help="bytes of each (300)")
    parser.add_argument("--rate", type=int, default=1_000, help="of the replay at a rate, letters a second (1000)")
    parser.add_argument("--replay", type=int, default=None, help="letters that are replayed without a rate (the rest)")
    parser.add_argument("--program", default=ROOT / "build/release/tools/oncemark", help=argparse.SUPPRESS)
    options = parser.parse_args()
    at_rate = options.rate * SECONDS_AT_RATE
    if not at_rate < options.n <= 1_000_000:
        parser.error(f"more than {at_rate} letters, at most 1000000")
    subprocess.run([options.program, "schema", "apply"], check=True, stdout=subprocess.DEVNULL)
    fill(options.n, options.payload)

    groups_s, groups = best_of_three(options.program, "groups", "--consumer", "shipping")
    list_s, page = best_of_three(options.program, "list", "--consumer", "shipping")
    is_right = sum(group["letters"] for group in groups) == options.n and len(page) == 50

    print(f"bench: groups {groups_s:.3f} s, list {list_s:.3f} s", file=sys.stderr)
    code, lines, rated_s, _ = run(options.program, "run", "--consumer", "shipping", "--limit", str(at_rate), "--rate",
                                  f"{options.rate}/s", "--confirm", "shipping")
    in_ten = fullest_ten_seconds()
    is_right = is_right and code == 0 and lines[-1]["replayed"] == at_rate

    print(f"bench: {in_ten:,} letters in the fullest 10 s at {options.rate}/s", file=sys.stderr)
    left = min(options.n - at_rate, options.replay or options.n)
    code, lines, all_s, peak = run(options.program, "run", "--consumer", "shipping", "--limit", str(left), "--confirm",
                                   "shipping")
    summary = lines[-1]
    states = sql("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying' UNION ALL SELECT COUNT(*) FROM "
                 "outbox_message UNION ALL SELECT COUNT(*) FROM failed_message UNION ALL SELECT COUNT(*) FROM "
                 "consumed_message WHERE state = 'retrying' AND life = 2").split()
    is_right = is_right and code == 0 and summary["replayed"] == left and states == [str(at_rate + left)] * 4
    print(json.dumps({"workload": "letters", "n": options.n, "payload": options.payload, "is_right": is_right,
                      "groups_s": round(groups_s, 3), "list_s": round(list_s, 3), "rate": options.rate,
                      "fullest_10_s_over_rate": round(in_ten / (options.rate * 10) - 1, 4),
                      "rated_s": round(rated_s, 1), "replayed": left, "run_s": round(summary["seconds"], 1),
                      "with_freezing_s": round(all_s, 1), "letters_per_s": round(left / summary["seconds"]),
                      "peak_mib": round(peak / 1024, 1)}))
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
