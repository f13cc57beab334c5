"""The servers that tools/stack started, the proxy in front of them, and the processes of the workload."""
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import confluent_kafka.admin
import pymysql

LINKS = ("mysql-produce", "mysql-relay", "mysql-consume", "kafka", "redis")


class Servers:
    def __init__(self, stack, proxy, folder, log, brokers=1):
        self.stack, self.folder, self.log = stack, folder, log
        self.more_brokers = list(range(2, brokers + 1))
        self.commands, self.processes = {}, {}  # by node
        self.directory = os.environ["ONCEMARK_STACK_DIR"]
        self.schema = os.environ["ONCEMARK_MYSQL__SCHEMA"]
        self.brokers = os.environ["ONCEMARK_KAFKA__BROKERS"]
        self.locks = {name: threading.Lock() for name in ("mysql", "kafka", "redis", *LINKS)}
        self.ports = {name: self.free_port() for name in (*LINKS, "kafka-listener")}
        self.listen_for_the_proxy()
        for node in self.more_brokers:
            self.add_broker(node)
        mysql_port = os.environ["ONCEMARK_MYSQL__URL"].rsplit(":", 1)[1]
        targets = {name: mysql_port for name in LINKS if name.startswith("mysql")}
        targets |= {"kafka": self.ports["kafka-listener"], "redis": os.environ["ONCEMARK_REDIS__URL"].rsplit(":", 1)[1]}
        self.proxy_lock = threading.Lock()
        for _ in range(10):  # the port of an earlier run may take a moment to be free
            self.proxy = subprocess.Popen([proxy, *(f"{name}={self.ports[name]}:{targets[name]}" for name in LINKS)],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if self.proxy.stdout.readline() == "ready\n":
                break
            self.proxy.wait()
            time.sleep(1)
        else:
            raise RuntimeError("the proxy did not start")
        self.make_account()

    @staticmethod
    def free_port():
        # Below the range from which the kernel takes ports for outgoing connections.
        while True:
            port = random.SystemRandom().randrange(10000, 30000)
            try:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue

    def listen_for_the_proxy(self):
        """A listener of its own for the workload: brokers tell their clients where to connect, and that is the proxy."""
        path = os.path.join(self.directory, "kafka.properties")
        text = open(path, encoding="utf-8").read()
        known = re.findall(r"PROXIED://127\.0\.0\.1:(\d+)", text)
        if known:  # from an earlier run on the same servers
            self.ports["kafka-listener"], self.ports["kafka"] = map(int, known)
            return
        text = re.sub(r"(?m)^(listeners=.*)$", rf"\1,PROXIED://127.0.0.1:{self.ports['kafka-listener']}", text)
        text = re.sub(r"(?m)^(advertised\.listeners=.*)$", rf"\1,PROXIED://127.0.0.1:{self.ports['kafka']}", text)
        text = re.sub(r"(?m)^(listener\.security\.protocol\.map=.*)$", r"\1,PROXIED:PLAINTEXT", text)
        if self.more_brokers:
            text = re.sub(r"(?m)^(offsets\.topic\.replication\.factor)=1$", rf"\1={1 + len(self.more_brokers)}", text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.restart("kafka")

    # ---- Brokers beside the stack's, which stays the only controller ----

    def add_broker(self, node):
        """Its clients reach it past the proxy."""
        with open(f"/proc/{self.pid('kafka')}/cmdline", encoding="utf-8") as file:
            java = file.read().split("\0")[:-3]  # without the class and its argument
        with open(os.path.join(self.directory, "kafka.properties"), encoding="utf-8") as file:
            text = file.read()
        listeners = f"PLAINTEXT://127.0.0.1:{self.free_port()},PROXIED://127.0.0.1:{self.free_port()}"
        for name, value in (("process.roles", "broker"), ("node.id", str(node)), ("listeners", listeners),
                            ("advertised.listeners", listeners), ("log.dirs", os.path.join(self.directory, f"kafka-{node}"))):
            text = re.sub(rf"(?m)^{re.escape(name)}=.*$", f"{name}={value}", text)
        properties = os.path.join(self.directory, f"kafka-{node}.properties")
        with open(properties, "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(self.directory, "cluster.id"), encoding="utf-8") as file:
            cluster = file.read()
        subprocess.run([*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties], check=True, capture_output=True)
        self.commands[node] = [*java, "kafka.Kafka", properties]
        self.start_broker(node)

    def start_broker(self, node):
        # As tools/stack knows its servers, so that it ends them, too.
        environment = dict(os.environ, ONCEMARK_STACK_SERVER=self.directory)
        with open(os.path.join(self.directory, f"kafka-{node}.log"), "ab") as log:
            self.processes[node] = subprocess.Popen(self.commands[node], env=environment, stdout=log, stderr=log,
                                                    stdin=subprocess.DEVNULL)

    def signal_broker(self, node, number):
        self.processes[node].send_signal(number)

    def restart_broker(self, node):
        self.processes[node].kill()
        self.processes[node].wait()
        self.start_broker(node)

    def wait_for_brokers(self):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
        for _ in range(120):
            if len(admin.list_topics(timeout=10).brokers) == 1 + len(self.more_brokers):
                return
            time.sleep(0.5)
        raise RuntimeError("not all brokers came up; see kafka-2.log")

    def restart(self, server):
        for tries in range(4):  # on a busy machine a start may take longer than tools/stack waits
            ended = subprocess.run([self.stack, "restart", server, "--dir", self.directory], check=False, capture_output=True,
                                   text=True)
            if ended.returncode == 0:
                return
            self.log(f"{server} has not started: {ended.stderr[-300:]}")
        raise RuntimeError(f"{server} did not start: {ended.stderr[-300:]}")

    def pid(self, server):
        with open(os.path.join(self.directory, f"{server}.pid"), encoding="utf-8") as file:
            return int(file.read())

    def tell(self, link, what, number=0):
        with self.proxy_lock:
            self.proxy.stdin.write(f"{link} {what} {number}\n")
            self.proxy.stdin.flush()
            self.proxy.stdout.readline()

    def connect(self, autocommit=True):
        """As root, past the proxy."""
        return pymysql.connect(unix_socket=os.environ["ONCEMARK_MYSQL_SOCKET"], user="root", database=self.schema,
                               autocommit=autocommit, connect_timeout=5, read_timeout=120)

    def execute(self, sql, params=None):
        with self.connect() as db, db.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    def number(self, sql, params=None):
        return self.execute(sql, params)[0][0]

    def make_account(self):
        """One that no read-only server lets through."""
        password = os.urandom(12).hex()
        self.password_file = os.path.join(self.folder, "mysql.password")
        with open(os.open(self.password_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(password)
        self.execute("CREATE USER torture@'%%' IDENTIFIED BY %s", (password,))
        self.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES ON `{self.schema}`.* TO torture@'%'")

    def environment(self, role):
        """What a process of the workload gets: every server by way of the proxy."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("ONCEMARK_")}
        return own | {
            "ONCEMARK_MYSQL__URL": f"tcp://127.0.0.1:{self.ports['mysql-' + role]}",
            "ONCEMARK_MYSQL__USER": "torture", "ONCEMARK_MYSQL__PASSWORD_FILE": self.password_file,
            "ONCEMARK_MYSQL__SCHEMA": self.schema, "ONCEMARK_KAFKA__BROKERS": f"127.0.0.1:{self.ports['kafka']}",
            "ONCEMARK_REDIS__URL": f"tcp://127.0.0.1:{self.ports['redis']}",
            "ONCEMARK_REDIS__USER": os.environ["ONCEMARK_REDIS__USER"],
            "ONCEMARK_REDIS__PASSWORD_FILE": os.environ["ONCEMARK_REDIS__PASSWORD_FILE"]}

    def make_topics(self, names):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        replicas = 1 + len(self.more_brokers)
        if replicas > 1:
            self.wait_for_brokers()
        config = {"min.insync.replicas": str(max(1, replicas - 1))}
        wanted = [confluent_kafka.admin.NewTopic(topic, names.partitions, replicas, config=config) for topic in names.all_topics()]
        for made in admin.create_topics(wanted).values():
            made.result(30)

    def limit_topic(self, topic, size):
        """The largest record that it takes; none: the broker's default."""
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        config = {"max.message.bytes": str(size)} if size else {}
        if self.more_brokers:
            config["min.insync.replicas"] = str(len(self.more_brokers))  # what is not said is set back
        resource = confluent_kafka.admin.ConfigResource("topic", topic, set_config=config)
        for changed in admin.alter_configs([resource], request_timeout=10).values():
            changed.result(15)

    def stop(self):
        for node in self.more_brokers:
            self.processes[node].kill()
            self.processes[node].wait()
        self.proxy.stdin.close()
        self.proxy.wait(10)


class Slot:
    """A process that is started again whenever it has ended, until it is told to rest."""

    def __init__(self, name, role, command, servers, log, counts, mutant):
        self.name, self.role, self.command, self.servers, self.log, self.counts = name, role, command, servers, log, counts
        self.mutant = mutant
        self.lock = threading.Lock()
        self.process, self.wanted, self.fault, self.skew, self.killed = None, False, "", "", False
        self.pause_until = 0
        self.crashes = []  # of its own making

    def start(self):
        self.wanted = True
        self.spawn()

    def spawn(self):
        environment = self.servers.environment(self.role)
        if self.fault:
            environment["ONCEMARK_FAULT"] = self.fault
        if self.mutant:
            environment["ONCEMARK_MUTANT"] = self.mutant
        if self.skew:
            environment |= {"LD_PRELOAD": SKEW_LIBRARY, "FAKETIME": self.skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.armed, self.killed, self.fault, self.skew = self.fault, False, "", ""
        with open(os.path.join(self.servers.folder, f"{self.name}.log"), "ab") as log:
            self.process = subprocess.Popen(self.command, env=environment, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)

    def tend(self):
        """Called often: counts how it ended and starts it again."""
        with self.lock:
            if self.process is not None and self.process.poll() is not None:
                self.account()
                self.process = None
            if self.wanted and self.process is None and time.monotonic() >= self.pause_until:
                self.spawn()

    def account(self):
        code = self.process.returncode
        if code == -signal.SIGKILL and not self.killed and self.armed:
            self.counts[f"killed itself at {self.armed.split(':')[0]}"] += 1
            self.log(f"{self.name} died at its fail point {self.armed}")
        elif code not in (0, -signal.SIGKILL):
            self.counts["ended by an error"] += 1
            self.pause_until = time.monotonic() + 0.5
            self.log(f"{self.name} ended with {code}; see {self.name}.log")
            if code < 0:
                self.crashes.append(f"{self.name} was ended by signal {-code}")

    def send(self, number):
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                self.killed |= number == signal.SIGKILL
                self.process.send_signal(number)

    def rest(self, seconds=40):
        """A clean stop; True when it came to it in time."""
        self.wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with self.lock:
            if self.process is None:
                return True
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return False
            self.account()
            self.process = None
            return True


SKEW_LIBRARY = next((path for path in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                                       "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1")
                     if os.path.exists(path)), "")
