"""Runs workloads on the servers whose addresses tools/stack exports; called by tools/bench.

Each round: tables and topic made anew, the program run as a process of its own, and a verdict by bench_verify, which
is not linked with the library. Data goes to standard output, one JSON line a round; everything else to standard error.
"""
import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TETHER = ("setpriv", "--pdeathsig", "KILL")  # if the supervisor is killed, the kernel ends what it started
MEBIBYTE = 1 << 20

WORKLOADS = {
    "w1": (50_000, "10 % copies; one UPDATE and one INSERT a message"),
    "w2": (50_000, "the relay over rows that wait in the outbox; --delete removes what was sent; --source binlog"),
    "w2live": (10_000, "rows at 500 a second, each commit nudging the relay, or --source bell or binlog; from the commit to a consumer"),
    "w3": (50_000, "w1 with 95 % copies"),
    "w4": (10_000, "w1 with 10 % failing twice and 1 % always; delays 1 s and 2 s"),
    "limit": (50_000, "w1 beside the raw limit: the same SQL in the same groups without Kafka and library"),
    "backlog": (1_000_000, "w1 with a long backlog, for the peak memory"),
    "w5": (200_000, "w1 over a marks table of 1, 5 and 20 million rows (--marks)"),
    "w6": (20_000, "keys: uniform; ten hot; ten hot and one whose handler sleeps 1 s a message. Latency by class"),
    "lateness": (20_000, "retries that fall due at a steady rate, beside none and a million that wait (--rate, --waiting)"),
    "group-commit": (0, "adaptive groups against groups of 1, 10 and 100, over private and shared rows"),
}
SHARES = {"w4": (10, 1)}  # per cent that fail twice, always
COUNTED = ("Questions", "Com_stmt_prepare", "Com_stmt_reset", "Com_admin_commands", "Com_commit", "Com_stmt_execute")


class Failed(Exception):
    """A round cannot be run; the text says why."""


def number(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def arguments(words):
    parser = argparse.ArgumentParser(prog="tools/bench", add_help=False, allow_abbrev=False)
    parser.add_argument("--build", type=Path, default=ROOT / "build/release/bench", help=argparse.SUPPRESS)
    parser.add_argument("--link", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("n", nargs="?", type=number, help="messages")
    parser.add_argument("--rounds", type=number, help="rounds, then their medians (1; group-commit 5)")
    parser.add_argument("--batch", action="store_true", help="the batch handler instead of one call a message")
    parser.add_argument("--deferred", action="store_true", help="one call a message, whose writes are sent together")
    parser.add_argument("--ordered", action="store_true", help="w4: retries keep the order of a key")
    parser.add_argument("--hint", choices=("memory",), help="what is known to be done is settled without the database")
    parser.add_argument("--delete", action="store_true", help="w2, w2live: rows are removed once they are sent")
    parser.add_argument("--source", choices=("poll", "bell", "binlog"), default="poll", help="w2, w2live: how the relay learns of rows")
    parser.add_argument("--rows-pass", action="store_true", help="w2, w2live: rows are removed in the transaction that inserts them")
    parser.add_argument("--grown", type=number, help="w2: beside a table without other rows, one with so many that were sent")
    parser.add_argument("--workers", type=number, default=8, help="threads with a connection each (8)")
    parser.add_argument("--group", default="adaptive", help="adaptive, adaptive:K (at most K) or fixed:K (adaptive)")
    parser.add_argument("--net", action="store_true", help="0.5 ms round trip between the program and the database")
    parser.add_argument("--marks", default="1,5,20", help="w5: millions of rows, rising (1,5,20)")
    parser.add_argument("--rate", type=number, default=1_000, help="w6, lateness: messages a second (1000)")
    parser.add_argument("--waiting", type=number, default=1_000_000, help="lateness: rows that wait (1000000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="group-commit: how long each case is measured (3)")
    options = parser.parse_args(words)
    kind, _, size = options.group.partition(":")
    if kind not in ("adaptive", "fixed") or (size or kind == "fixed") and not size.isdecimal():
        parser.error(f"no such --group: {options.group}")
    try:
        options.marks = [round(float(word) * 1_000_000) for word in options.marks.split(",")]
    except ValueError:
        parser.error(f"--marks takes numbers: {options.marks}")
    if sorted(set(options.marks)) != options.marks or options.marks[0] < 1:
        parser.error("--marks must rise: rows are added, never removed")
    if options.batch and options.deferred:
        parser.error("--batch and --deferred exclude each other")
    if (options.batch or options.deferred) and options.workload in ("w2", "w2live", "w6", "lateness", "group-commit"):
        parser.error(f"{options.workload} has no such handler")
    if options.ordered and options.workload != "w4":
        parser.error("only w4 has retries to keep in order")
    if not options.workload.startswith("w2") and (options.source != "poll" or options.rows_pass):
        parser.error(f"{options.workload} has no relay that reads the binlog")
    if options.workload == "w2" and options.source == "bell":
        parser.error("a bell has nothing to ring for: the rows of w2 are there before the relay")
    if options.rows_pass and options.source != "binlog":
        parser.error("rows that pass are seen by a relay that reads the binlog only")
    if options.grown and (options.workload != "w2" or options.source != "poll"):
        parser.error("--grown is for w2 with a relay that polls")
    if options.delete and not options.workload.startswith("w2"):
        parser.error(f"{options.workload} deletes nothing")
    if options.net and options.workload == "group-commit":
        parser.error("group-commit does not go through the link")
    options.rounds = options.rounds or (5 if options.workload == "group-commit" else 1)
    options.n = options.n or WORKLOADS[options.workload][0]
    return options


def print_list():
    print("workload       default N   what")
    for name, (n, what) in WORKLOADS.items():
        print(f"{name:<14} {n or '':>9}   {what}")
    print("""
N                           how many messages
--rounds K                  K rounds, then a line with their medians
--batch                     the batch handler (all fresh messages of a transaction at once)
--deferred                  one call a message, whose writes are sent together
--ordered                   w4: retries keep the order of a key, and dead messages let it go on
--hint memory               what is known to be done is settled without the database (MemoryHint, Trust::skip)
--delete                    w2, w2live: rows are removed once they are sent
--source poll|bell|binlog   w2, w2live: the relay polls; it polls, and the binlog rings (w2live); it reads the binlog (poll)
--rows-pass                 w2, w2live, binlog: rows are removed in the transaction that inserts them
--grown K                   w2: in turns with an outbox of its own, in which K rows were sent and kept
--workers K                 threads, each with a connection (8)
--group adaptive[:K]        groups follow time, at most K messages (adaptive, 128)
--group fixed:K             groups of K, whatever they cost
--net                       0.5 ms round trip between the program and the database, by Toxiproxy
--marks 1,5,20              w5: millions of rows that are there before
--rate K                    w6, lateness: messages a second (1000)
--waiting K                 lateness: rows that are due another day (1000000)
--seconds S                 group-commit: how long each case is measured (3)""")


def machine(build, environment):
    """Where a line comes from."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (MEBIBYTE << 10)
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": cpu, "cpus": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": platform.release(),
            "commit": commit.stdout.strip(),
            **json.loads(subprocess.check_output([build / "bench_verify", "versions"], env=environment))}


class Server:
    """CPU time of a server of the stack."""

    def __init__(self, pid):
        self.stat = Path(f"/proc/{int(pid)}/stat")

    def cpu(self):
        fields = self.stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, options, environment):
        self.options = options
        self.socket = environment["ONCEMARK_MYSQL_SOCKET"]
        self.kafka = Server(environment["ONCEMARK_KAFKA_PID"])
        self.mysql = Server(environment["ONCEMARK_MYSQL_PID"])
        self.host, _, self.port = environment["ONCEMARK_MYSQL__URL"].removeprefix("tcp://").rpartition(":")
        self.environment = dict(
            environment,
            PEERS_BOOTSTRAP=environment["ONCEMARK_KAFKA__BROKERS"],
            PEERS_DB_HOST=self.host, PEERS_DB_PORT=self.port,
            PEERS_DB_USER=environment["ONCEMARK_MYSQL__USER"],
            PEERS_DB_PASSWORD=Path(environment["ONCEMARK_MYSQL__PASSWORD_FILE"]).read_text(),
            PEERS_DB_NAME=environment["ONCEMARK_MYSQL__SCHEMA"])
        self.runs = 0
        self.link = None
        self.all_right = True
        self.load({}, "schema")
        self.load({}, "tables")
        self.on = machine(options.build, self.environment)

    # ---- Processes ----------------------------------------------------------------------------------------------

    def tool(self, name, run, *words):
        done = subprocess.run([*TETHER, self.options.build / name, *words], env={**self.environment, **run},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{name} {' '.join(words)} ended with exit code {done.returncode}")
        return done.stdout.strip()

    def load(self, run, *words):
        return self.tool("bench_load", run, *words)

    def through_link(self):
        """The database's address, at the far end of a slow link."""
        if self.link is None:
            self.link = subprocess.Popen([*TETHER, self.options.link, "-to", f"{self.host}:{self.port}"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            self.link_address = self.link.stdout.readline().strip()
            if not self.link_address:
                raise Failed("the slow link did not start")
        host, _, port = self.link_address.rpartition(":")
        return {"PEERS_DB_HOST": host, "PEERS_DB_PORT": port}

    def status(self):
        sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ({})".format(", ".join(f"'{name}'" for name in COUNTED))
        rows = subprocess.check_output(["mariadb", "--no-defaults", "-u", "root", "-S", self.socket, "-N", "-B", "-e", sql],
                                       text=True)
        return {name: int(value) for name, value in (line.split("\t") for line in rows.splitlines())}

    def measured(self, program, words, run, beside=None):
        """Runs a program, and something beside it; its last line of output, and what it and the servers used meanwhile."""
        address = self.through_link() if self.options.net else {}
        before, kafka, mysql = self.status(), self.kafka.cpu(), self.mysql.cpu()
        process = subprocess.Popen([*TETHER, self.options.build / program, *words],
                                   env={**self.environment, **run, **address}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True)
        more = beside(process) if beside else {}
        output = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or not output:
            raise Failed(f"{program} {' '.join(words)} ended with exit code {process.returncode}")
        after = self.status()
        used = {name: after[name] - before[name] for name in COUNTED}
        n = int(run["PEERS_N"])
        # What the client waits an answer for; Questions leaves out the preparing, resetting and pinging. One is ours.
        trips = sum(used[name] for name in ("Questions", "Com_stmt_prepare", "Com_stmt_reset", "Com_admin_commands")) - 1
        line = {**json.loads(output[-1]), **more}
        line.update(cpu_s=round(usage.ru_utime + usage.ru_stime, 2), rss_mb=round(usage.ru_maxrss * 1024 / MEBIBYTE, 1),
                    db_cpu_s=round(self.mysql.cpu() - mysql, 2), kafka_cpu_s=round(self.kafka.cpu() - kafka, 2),
                    round_trips=trips, round_trips_per_message=round(trips / n, 3), commits=used["Com_commit"],
                    messages_per_commit=round(n / max(1, used["Com_commit"]), 1),
                    statements_prepared=used["Com_stmt_prepare"])
        if self.options.net:
            line["rtt_ms"] = float(self.load(address, "ping"))
        return line

    # ---- Rounds -------------------------------------------------------------------------------------------------

    def words(self, workload):
        options = self.options
        if workload.startswith("w2"):
            return [workload, "--source", options.source, *(["--delete"] if options.delete else []),
                    *(["--rows-pass"] if options.rows_pass else [])]
        return [workload, "--workers", str(options.workers), "--group", options.group,
                *(["--batch"] if options.batch else []), *(["--deferred"] if options.deferred else []),
                *(["--ordered"] if options.ordered else []), *(["--hint", options.hint] if options.hint else [])]

    def described(self, workload, n):
        options = self.options
        if workload.startswith("w2"):
            sent_rows = "passing" if options.rows_pass else "removed" if options.delete else "kept"
            return {"workload": workload, "n": n, "source": options.source, "sent_rows": sent_rows, "net": options.net}
        return {"workload": workload, "n": n, "handler": "batch" if options.batch else "deferred" if options.deferred else "message",
                "workers": options.workers, "group": options.group, "net": options.net,
                **({"ordered": True} if options.ordered else {}), **({"hint": options.hint} if options.hint else {})}

    def round(self, workload, n, program="bench_end_to_end", has_topic=True, beside=None, **more):
        """One run of one program from a fresh start, judged. `more` is environment."""
        self.runs += 1
        twice, always = SHARES.get(workload, (0, 0))
        name = f"bench-{workload}-{os.getpid()}-{self.runs}"
        run = {"PEERS_WORKLOAD": workload, "PEERS_N": str(n), "PEERS_TWICE": str(n * twice // 100),
               "PEERS_ALWAYS": str(n * always // 100), "PEERS_TOPIC": name, "PEERS_GROUP": name,
               "PEERS_DLT": f"{name}.dlt", "ONCEMARK_BENCH_ORDERED": str(int(self.options.ordered)), **more}
        self.load(run, "tables")
        if "ONCEMARK_BENCH_GROWN" in more:
            self.load(run, "sent-rows", more["ONCEMARK_BENCH_GROWN"])
        elif workload != "w5":
            self.load(run, "schema")
        if workload.startswith("w2"):
            self.load(run, "empty-topic")
            if workload == "w2":
                self.load(run, "passing-outbox" if self.options.rows_pass else "outbox")
        elif has_topic:
            self.load(run, "topic")
        line = self.measured(program, self.words(workload), run, beside and (lambda process: beside(process, run)))
        line.update(json.loads(self.tool("bench_verify", run)))
        self.all_right &= line["ok"]
        return line

    def print(self, line):
        print(json.dumps({**line, "on": self.on}), flush=True)

    def summary(self, lines, **more):
        """Medians of what the rounds measured."""
        first = lines[0]
        medians = {key: statistics.median([line[key] for line in lines]) for key, value in first.items()
                   if isinstance(value, (int, float)) and not isinstance(value, bool) and key not in ("n", "workers")}
        described = {key: value for key, value in first.items() if key not in medians and key not in ("ok", "wrong", "on")}
        return {"summary": "median", **described, "rounds": len(lines), "right": sum(line["ok"] for line in lines),
                **medians, **more}

    def simple(self, workload, program="bench_end_to_end"):
        lines = []
        for _ in range(self.options.rounds):
            lines.append({**self.described(workload, self.options.n), **self.round(workload, self.options.n, program)})
            self.print(lines[-1])
        if len(lines) > 1:
            self.print(self.summary(lines))

    def grown(self):
        """A table with nothing else and one that is full of sent rows take turns."""
        options = self.options
        full = {"ONCEMARK_BENCH_OURS": self.environment["PEERS_DB_NAME"] + "_grown", "ONCEMARK_BENCH_GROWN": str(options.grown)}
        began = time.monotonic()
        self.load(full, "sent-rows", str(options.grown))
        self.load(full, "flush")
        say(f"{options.grown} sent rows: {time.monotonic() - began:.0f} s to load and flush")
        lines = {0: [], options.grown: []}
        for _ in range(options.rounds):
            for rows, done in lines.items():
                line = self.round("w2", options.n, "bench_relay", **(full if rows else {}))
                done.append({**self.described("w2", options.n), "grown": rows, **line})
                self.print(done[-1])
        none, many = (self.summary(done) for done in lines.values())
        self.print({**none, "grown": 0})
        self.print({**many, "grown": options.grown, "of_none": round(many["rate"] / none["rate"], 3)})

    def w2live(self):
        """The program writes its rows when a consumer watches, and ends when that one has seen them."""
        options, lines = self.options, []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as state:
                def watch(process, run):
                    if process.stdout.readline().strip() != "READY":
                        raise Failed("bench_relay did not start")
                    seen = json.loads(self.tool("bench_live", run))
                    Path(state, "stop").touch()
                    return seen
                line = self.round("w2live", options.n, "bench_relay", beside=watch, PEERS_STATE=state)
            lines.append({**self.described("w2live", options.n), **line})
            self.print(lines[-1])
        if len(lines) > 1:
            self.print(self.summary(lines))

    def limit(self):
        """Ours and the limit take turns, so that both see the same weather."""
        n, lines = self.options.n, {"limit": [], "w1": []}
        for _ in range(self.options.rounds):
            for name, program in (("limit", "bench_raw_limit"), ("w1", "bench_end_to_end")):
                line = self.round("w1", n, program, has_topic=name == "w1")
                lines[name].append({**self.described("w1", n), "program": name, **line})
                self.print(lines[name][-1])
        limit, ours = (self.summary(lines[name]) for name in ("limit", "w1"))
        self.print(limit)
        self.print({**ours, "of_limit": round(ours["rate"] / limit["rate"], 3)})

    def w5(self):
        n, first = self.options.n, None
        for marks in self.options.marks:
            run = {"PEERS_GROUP": "w5", "PEERS_N": str(n)}
            began = time.monotonic()
            self.load(run, "marks", str(marks))
            loaded = time.monotonic()
            self.load(run, "flush")
            say(f"{marks} marks: {loaded - began:.0f} s to load, {time.monotonic() - loaded:.0f} s to flush")
            lines = []
            for _ in range(self.options.rounds):
                line = self.round("w5", n, PEERS_GROUP="w5", ONCEMARK_BENCH_SEED=str(1_000 + self.runs))
                lines.append({**self.described("w5", n), "marks": marks, **line})
                self.print(lines[-1])
            summary = self.summary(lines)
            first = first or summary
            self.print({**summary, "of_first": round(summary["rate"] / first["rate"], 3)})

    def w6(self):
        options, lines = self.options, {"w6-uniform": [], "w6-hot": [], "w6-slow": []}
        slow_every = options.rate * 11 // 10  # at most one slow message a second
        for _ in range(options.rounds):
            for phase, done in lines.items():
                line = self.round(phase, options.n, "bench_hot_keys", has_topic=False,
                                  ONCEMARK_BENCH_RATE=str(options.rate), ONCEMARK_BENCH_SLOW=str(slow_every))
                done.append({**self.described(phase, options.n), **line})
                self.print(done[-1])
        summaries = {phase: self.summary(done) for phase, done in lines.items()}
        uniform = summaries["w6-uniform"]["others_p99_ms"]
        for summary in summaries.values():
            self.print({**summary, "p99_of_uniform": round(summary["others_p99_ms"] / uniform, 2)})

    def lateness(self):
        """Without and with rows that wait, in turns."""
        options, lines = self.options, {0: [], self.options.waiting: []}
        for _ in range(options.rounds):
            for waiting, done in lines.items():
                self.runs += 1
                name = f"bench-lateness-{os.getpid()}-{self.runs}"
                run = {"PEERS_N": str(options.n), "PEERS_TOPIC": name, "PEERS_GROUP": name,
                       "ONCEMARK_BENCH_RATE": str(options.rate), "ONCEMARK_BENCH_WAITING": str(waiting)}
                self.load(run, "schema")
                line = self.measured("bench_lateness", [], run)
                self.all_right &= line["ok"]
                done.append({"workload": "lateness", "n": options.n, **line})
                self.print(done[-1])
        none, many = (self.summary(done) for done in lines.values())
        self.print({**many, "of_none": {key: round(many[key] / none[key], 2) if none[key] else None
                                        for key in ("idle_rows_per_s", "idle_db_cpu_ms_per_s", "due_db_cpu_s",
                                                    "late_p99_ms")}})

    def group_commit(self):
        options = self.options
        run = {"PEERS_N": "1"}
        self.load(run, "schema")
        rounds = ["--rounds", str(options.rounds)]
        code = subprocess.run([*TETHER, options.build / "bench_group_commit", *rounds, "--workers", str(options.workers),
                               "--seconds", str(options.seconds)], env={**self.environment, **run},
                              stdin=subprocess.DEVNULL, check=False).returncode
        self.all_right &= code == 0

    def run(self):
        workload = self.options.workload
        if workload in ("w1", "w3", "w4"):
            self.simple(workload)
        elif workload == "w2" and self.options.grown:
            self.grown()
        elif workload == "w2":
            self.simple("w2", "bench_relay")
        elif workload == "backlog":
            self.simple("w1")
        else:
            getattr(self, workload.replace("-", "_"))()
        return 0 if self.all_right else 1

    def stop(self):
        if self.link is not None:
            self.link.terminate()
            self.link.wait()


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main():
    if sys.argv[1:] == ["--list"]:
        print_list()
        return 0
    options = arguments(sys.argv[1:])
    if options.check:
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = None
    try:
        bench = Bench(options, dict(os.environ))
        return bench.run()
    except Failed as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if bench is not None:
            bench.stop()


if __name__ == "__main__":
    sys.exit(main())
