"""Runs place_order, transactional and shipping, as a reader of the docs would, in a schema of its own; called by ctest.

usage: run.py DIRECTORY_OF_EXAMPLES DIRECTORY_OF_PROGRAMS, with the environment of tools/stack
"""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES, PROGRAMS = Path(sys.argv[1]), Path(sys.argv[2])
RUN = f"{os.getpid()}_{int(time.time())}"
SCHEMA = f"example_{RUN}"
ENVIRONMENT = {**os.environ, "ONCEMARK_MYSQL__SCHEMA": SCHEMA}


def sql(statements, schema=SCHEMA):
    done = subprocess.run(["mariadb", "--no-defaults", "--batch", "--skip-column-names", "--user=root",
                           "--socket=" + os.environ["ONCEMARK_MYSQL_SOCKET"], schema],
                          input=statements, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"mariadb: {done.stderr.strip()}")
    return done.stdout.strip()


def run(*command):
    subprocess.run(list(map(str, command)), env=ENVIRONMENT, check=True, timeout=60)


def shipments(order_id):
    return int(sql(f"SELECT COUNT(*) FROM shipment WHERE order_id = '{order_id}';"))


def wait_until_shipped(shipping, order_id):
    deadline = time.monotonic() + 60
    while shipments(order_id) == 0:
        if shipping.poll() is not None:
            sys.exit(f"shipping ended by itself with exit code {shipping.returncode}")
        if time.monotonic() > deadline:
            sys.exit(f"{order_id} was not shipped within 60 s")
        time.sleep(0.05)


def main():
    sql(f"CREATE DATABASE {SCHEMA};", schema="mysql")
    run(PROGRAMS / "oncemark", "schema", "apply")
    sql((Path(__file__).parent / "tables.sql").read_text(encoding="utf-8"))
    run(EXAMPLES / "demo" / "topics", "create", "orders", 4)

    shipping = subprocess.Popen([EXAMPLES / "shipping"], env=ENVIRONMENT)
    try:
        orders = [f"order-{RUN}-{number}" for number in range(3)]
        for order in orders:
            run(EXAMPLES / "place_order", order, "1 lamp, to 12 Mill Lane")
        orders.append(f"order-{RUN}-transactional")
        run(EXAMPLES / "transactional", orders[-1], "1 lamp, to 14 Mill Lane")
        for order in orders:
            wait_until_shipped(shipping, order)
        shipping.send_signal(signal.SIGTERM)
        if shipping.wait(30) != 0:
            sys.exit(f"shipping ended with exit code {shipping.returncode} after SIGTERM")
        for order in orders:
            if shipments(order) != 1:
                sys.exit(f"{order} was shipped {shipments(order)} times")
    finally:
        shipping.kill()
        shipping.wait()
    sql(f"DROP DATABASE {SCHEMA};", schema="mysql")


if __name__ == "__main__":
    main()
