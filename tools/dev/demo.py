"""Runs the demo on the servers whose addresses tools/stack exports; called by tools/demo.

It starts the services, starts again whatever dies, kills one service on purpose, replays the dead letters, and proves
the result by SQL. It ends at once when a server dies. Nothing that it started outlives it.
"""
import argparse
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSUMER = "shipping"
TOPIC = "orders"
RETRY_TOPIC = "retry.shipping.orders"
PARTITIONS = 4
SLOWEST_RATE = 250  # orders a second

TETHER = ("setpriv", "--pdeathsig", "KILL")  # if the supervisor is killed, the kernel ends what it started

TICK = 0.1  # seconds between looks at processes
LOOK = 0.4  # seconds between looks at the tables
STALLED = 60  # seconds without any change after which the demo gives up
QUICK_ENDS = 5  # times that a service may end by itself within SHORT_LIFE seconds of its start
SHORT_LIFE = 3


class Failed(Exception):
    """The demo cannot go on, or the proof does not hold; the text says why."""


class Screen:
    """What people see: events as lines, and below them one line that is kept up to date if this is a terminal."""

    def __init__(self):
        self.began = time.monotonic()
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.has_status = False
        self.printed_at = 0.0

    def clear(self):
        if self.has_status:
            sys.stdout.write("\r\x1b[2K")
            self.has_status = False

    def line(self, text=""):
        self.clear()
        print(text, flush=True)

    def event(self, text):
        self.line(f"{self.seconds():6.1f} s  {text}")

    def status(self, text):
        if self.live:
            self.clear()
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"{self.seconds():6.1f} s  {text}"[:width])
            sys.stdout.flush()
            self.has_status = True
        elif time.monotonic() - self.printed_at >= 2:
            self.printed_at = time.monotonic()
            self.event(text)

    def seconds(self):
        return time.monotonic() - self.began


class Server:
    """A server of the stack. It is nobody's child here, so its process is looked at instead of waited for."""

    def __init__(self, name, pid, log):
        self.name, self.pid, self.log = name, int(pid), log

    def is_alive(self):
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"


class Service:
    """A process of the demo that is started again when it dies."""

    def __init__(self, name, command, log, ends=False):
        self.name, self.command, self.log = name, command, log
        self.ends = ends  # its work has an end: exit code 0 is no reason to start it again
        self.process = None
        self.started_at = 0.0
        self.quick_ends = 0

    def start(self):
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C reaches the supervisor only.
            self.process = subprocess.Popen([*TETHER, *map(str, self.command)], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        self.started_at = time.monotonic()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def has_finished(self):
        return self.ends and self.process is not None and self.process.poll() == 0

    def stop(self, seconds):
        """Asks for a clean stop; kills after `seconds`. The exit code."""
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait() if self.process else 0
        self.process = None
        return code


def how_it_ended(code):
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def tail(path, lines):
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return ""
    return "".join(f"\n    {line}" for line in text)


class Demo:
    def __init__(self, options, environment):
        self.orders, self.seed = options.orders, options.seed
        self.environment = environment
        self.screen = Screen()
        stack = Path(environment["ONCEMARK_STACK_DIR"])
        self.servers = [Server("Kafka", environment["ONCEMARK_KAFKA_PID"], stack / "kafka.log"),
                        Server("MariaDB", environment["ONCEMARK_MYSQL_PID"], stack / "mysql.log")]
        self.logs = stack / "demo"
        self.logs.mkdir(exist_ok=True)
        self.counters = self.logs / "counters"
        self.examples = options.build / "docs" / "examples" / "demo"
        self.tools = options.build / "tools"
        self.services = []

    # ---- Processes ---------------------------------------------------------------------------------------------

    def service(self, name, command, ends=False):
        service = Service(name, command, self.logs / f"{name.replace(' ', '-')}.log", ends)
        self.services.append(service)
        service.start()
        self.screen.event(f"{name} started, pid {service.process.pid}")
        return service

    def shipping_command(self, *flags):
        return [self.examples / "shipping_service", "--counters", self.counters, *flags]

    def watch(self):
        """Ends the demo if a server died; starts services again."""
        for server in self.servers:
            if not server.is_alive():
                raise Failed(f"{server.name} (pid {server.pid}) died, and nothing can go on without it. "
                             f"The end of its log:{tail(server.log, 5)}")
        for service in self.services:
            if service.process is None or service.is_running() or service.has_finished():
                continue
            code = service.process.returncode
            if code == -signal.SIGKILL or time.monotonic() - service.started_at > SHORT_LIFE:
                service.quick_ends = 0
            else:
                service.quick_ends += 1
            if service.quick_ends >= QUICK_ENDS:
                raise Failed(f"the {service.name} {how_it_ended(code)} {QUICK_ENDS} times in a row, right after its "
                             f"start. The end of its log:{tail(service.log, 5)}")
            service.start()
            self.screen.event(f"{service.name} {how_it_ended(code)}; started again, pid {service.process.pid}")

    def pause(self, seconds):
        until = time.monotonic() + seconds
        while True:
            self.watch()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(TICK, left))

    def run(self, command, text=None, seconds=60):
        """Runs a program to its end, with an eye on everything else; what it printed."""
        process = subprocess.Popen([*TETHER, *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        until = time.monotonic() + seconds
        try:
            while True:
                try:
                    out, errors = process.communicate(input=text, timeout=TICK)
                    break
                except subprocess.TimeoutExpired:
                    text = None
                    self.watch()
                    if time.monotonic() > until:
                        raise Failed(f"no answer within {seconds} s from: {' '.join(map(str, command))}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            self.pause(2 * TICK)  # if a server is to blame, that is the better message
            raise Failed(f"{Path(command[0]).name} {how_it_ended(process.returncode)}: {errors.strip() or out.strip()}")
        return out

    # ---- Tables and topics -------------------------------------------------------------------------------------

    def sql(self, statements):
        """What the statements return: one list of fields a row."""
        out = self.run(["mariadb", "--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=5",
                        "--user=root", "--socket=" + self.environment["ONCEMARK_MYSQL_SOCKET"],
                        self.environment["ONCEMARK_MYSQL__SCHEMA"]], text=statements)
        return [line.split("\t") for line in out.splitlines()]

    def count(self, query):
        return int(self.sql(query + ";")[0][0])

    def look(self):
        """Where everything stands now."""
        queries = {
            "placed": "SELECT COUNT(*) FROM orders",
            "sent": "SELECT COUNT(*) FROM outbox_message WHERE purpose = '' AND status = 'sent'",
            "unsent": "SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'",
            "retried": "SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%' AND status = 'sent'",
            "shipped": "SELECT COUNT(*) FROM shipment",
            "marked": "SELECT COUNT(*) FROM consumed_message",
            "retrying": "SELECT COUNT(*) FROM consumed_message WHERE state = 'retrying'",
            "dead": "SELECT COUNT(*) FROM consumed_message WHERE state = 'dead'",
            "letters": "SELECT COUNT(*) FROM dead_letter",
        }
        row = self.sql("SELECT " + ", ".join(f"({query})" for query in queries.values()) + ";")[0]
        now = dict(zip(queries, map(int, row)))
        now.update(self.deliveries())
        return now

    def deliveries(self):
        """The shipping service's own count; it writes it to a file that outlives it."""
        names = ["done", "duplicates", "failed", "given up", "settled elsewhere"]
        try:
            numbers = struct.unpack("=5Q", self.counters.read_bytes())
        except (OSError, struct.error):
            numbers = [0] * len(names)
        return {"delivered": sum(numbers), "duplicates": dict(zip(names, numbers))["duplicates"]}

    def topics(self):
        """Records on each topic, and how many of them the group has not committed."""
        out = self.run([self.examples / "topics", "look", CONSUMER, TOPIC, RETRY_TOPIC])
        return {name: (int(records), int(ahead)) for name, records, ahead in
                (line.split("\t") for line in out.splitlines())}

    # ---- The story ---------------------------------------------------------------------------------------------

    def prepare(self):
        self.run([self.tools / "oncemark", "schema", "apply"])
        self.sql((ROOT / "docs/examples/demo/tables.sql").read_text(encoding="utf-8"))
        self.run([self.examples / "topics", "create", TOPIC, PARTITIONS])
        self.screen.event(f"schema applied, business tables and the topic `{TOPIC}` made")

    def run_services(self):
        load = ["--orders", self.orders, "--seed", self.seed]
        self.service("relay", [self.tools / "outbox-relay", "run"])
        self.shipping = self.service("shipping service", self.shipping_command())
        # Slowly enough to be watched, and to be killed in the middle.
        rate = max(SLOWEST_RATE, self.orders // 20)
        self.service("order service", [self.examples / "order_service", *load, "--rate", rate], ends=True)
        self.service("redeliverer", [self.examples / "redeliver", *load], ends=True)

        has_killed = False
        for now in self.until_settled():
            if not has_killed and now["shipped"] >= max(1, self.orders * 3 // 10) and self.shipping.is_running():
                has_killed = True
                self.screen.event(f"SIGKILL for the shipping service, after {now['shipped']:,} shipments")
                self.kill_shipping()

    def kill_shipping(self):
        self.shipping.process.kill()
        self.shipping.process.wait()
        killed_at, before = time.monotonic(), self.deliveries()["delivered"]
        while self.deliveries()["delivered"] == before and time.monotonic() - killed_at < STALLED:
            self.pause(TICK / 4)
        seconds = time.monotonic() - killed_at
        self.screen.event(f"shipping service handles messages again, {seconds:.1f} s after the kill")

    def until_settled(self):
        """Looks again and again until nothing is on its way any more; yields what it sees."""
        last, moved_at = None, time.monotonic()
        while True:
            now = self.look()
            yield now
            self.screen.status(f"placed {now['placed']:,}  sent {now['sent']:,}  delivered {now['delivered']:,}  "
                               f"dropped {now['duplicates']:,}  retried {now['retried']:,}  dead {now['dead']:,}  "
                               f"shipped {now['shipped']:,} of {self.orders:,}")
            if self.is_settled(now):
                return
            if now != last:
                last, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > STALLED:
                raise Failed(f"nothing has moved for {STALLED} s; this is where it stands: {now}"
                             + "".join(f"\n  {s.name}:{tail(s.log, 3)}" for s in self.services))
            self.pause(LOOK)

    def is_settled(self, now):
        if now["placed"] < self.orders or now["marked"] < self.orders or now["unsent"] or now["retrying"]:
            return False
        if any(service.ends and not service.has_finished() for service in self.services):
            return False
        # And every record that is on the topics has been handled, the copies too.
        return all(ahead == 0 for _, ahead in self.topics().values())

    def show_table(self):
        now, records = self.look(), self.topics()
        copies = records[TOPIC][0] - now["sent"]
        rows = [("placed", now["placed"], "orders"),
                ("sent", now["sent"], "outbox_message, acked by the broker"),
                ("delivered", now["delivered"],
                 f"{records[TOPIC][0]:,} records ({copies:,} copies), retries, and what the kill made Kafka repeat"),
                ("duplicates dropped", now["duplicates"], "deliveries that found a mark"),
                ("retried", now["retried"], "outbox_message, to " + RETRY_TOPIC),
                ("dead-lettered", now["letters"], "dead_letter"),
                ("shipped", now["shipped"], "shipment")]
        self.screen.line()
        for name, number, source in rows:
            self.screen.line(f"  {name:<20}{number:>8,}   {source}")
        self.screen.line()

    def replay(self):
        dead = self.look()["dead"]
        self.screen.event(f"fixing the shipping service: {dead:,} orders have no address and go to the pick-up point")
        self.shipping.stop(seconds=30)
        self.shipping.command = self.shipping_command("--fixed")
        self.shipping.start()
        self.screen.event(f"shipping service started with --fixed, pid {self.shipping.process.pid}")
        command = [self.tools / "dlq-replay", "run", "--consumer", CONSUMER, "--topic", TOPIC, "--reason", "fixed",
                   "--yes"]
        self.screen.event("dlq-replay " + " ".join(command[1:]))
        self.run(command)
        for _ in self.until_settled():
            pass

    def prove(self):
        """From the tables alone. Each line is one query and what it must return."""
        claims = [
            ("orders placed", self.orders, "SELECT COUNT(*) FROM orders"),
            ("shipments", self.orders, "SELECT COUNT(*) FROM shipment"),
            ("orders not shipped", 0,
             "SELECT COUNT(*) FROM orders WHERE order_id NOT IN (SELECT order_id FROM shipment)"),
            ("orders shipped twice", 0, "SELECT COUNT(*) - COUNT(DISTINCT order_id) FROM shipment"),
            ("orders whose event was sent", self.orders,
             "SELECT COUNT(DISTINCT order_id) FROM outbox_message JOIN orders "
             "ON order_id = CAST(message_key AS CHAR(20) CHARACTER SET ascii) WHERE purpose = '' AND status = 'sent'"),
            ("rows not sent", 0, "SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'"),
            ("messages done", self.orders, "SELECT COUNT(*) FROM consumed_message WHERE state = 'done'"),
            ("messages not done", 0, "SELECT COUNT(*) FROM consumed_message WHERE state <> 'done'"),
            ("messages waiting to be retried", 0, "SELECT COUNT(*) FROM failed_message"),
            ("letters not replayed", 0, "SELECT COUNT(*) FROM dead_letter WHERE state <> 'replayed'"),
        ]
        self.screen.line()
        wrong = []
        for name, expected, query in claims:
            found = self.count(query)
            if found != expected:
                wrong.append(f"{name}: {found:,} instead of {expected:,}")
            self.screen.line(f"  {'ok ' if found == expected else 'BAD'} {found:>7,} {name:<31} {query}")
        self.screen.line()
        if wrong:
            raise Failed("not proven: " + "; ".join(wrong))

    def main(self):
        for server in self.servers:
            self.screen.event(f"{server.name} is up, pid {server.pid}")
        self.prepare()
        self.run_services()
        self.show_table()
        self.replay()
        for service in self.services:
            service.stop(seconds=30)
        self.prove()
        self.screen.line(f"Every order was shipped exactly once; nothing is lost and nothing is left over "
                         f"({self.screen.seconds():.0f} s).")

    def close(self, seconds):
        self.screen.clear()
        for service in self.services:
            if service.is_running():
                service.process.terminate()
        until = time.monotonic() + seconds
        for service in self.services:
            service.stop(max(0.0, until - time.monotonic()))


class Interrupted(Exception):
    """A signal asked for the end."""


def interrupt(number, _frame):
    # One is enough: what follows is cleaning up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted(number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    demo = None
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        demo = Demo(parser.parse_args(), os.environ)
        demo.main()
        return 0
    except (Failed, OSError) as failure:
        if demo:
            demo.screen.clear()
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except Interrupted as signalled:
        if demo:
            demo.screen.clear()
        print("demo: interrupted; stopping everything", file=sys.stderr)
        return 128 + signalled.args[0]
    finally:
        if demo:
            demo.close(seconds=2)


if __name__ == "__main__":
    sys.exit(main())
