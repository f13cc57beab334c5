#!/usr/bin/env python3
"""Asks a Kafka broker for its metadata. Exit code 0: it answers, belongs to the expected cluster and serves clients.

usage: kafka_ready.py PORT CLUSTER_ID

A port that accepts connections proves little: the broker may still be starting, or the port may be somebody else's.
One request over a plain socket tells, and costs a tenth of what Kafka's own command-line tools cost.
"""

import socket
import struct
import sys

METADATA, VERSION = 3, 5  # the oldest versions go, the newest use another encoding; 5 is in every Kafka since 1.0


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


class Reader:
    def __init__(self, data: bytes):
        self.data = data

    def take(self, size: int) -> bytes:
        if size > len(self.data):
            raise ValueError("short reply")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def int32(self) -> int:
        return struct.unpack(">i", self.take(4))[0]

    def text(self) -> str:
        size = struct.unpack(">h", self.take(2))[0]
        return self.take(size).decode() if size > 0 else ""  # -1: null


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ValueError("connection closed")
        data += more
    return data


def metadata(port: int) -> tuple[list[int], str]:
    """The ports of the brokers that serve clients, and the cluster's id."""
    no_topics, no_auto_creation = struct.pack(">i", 0), b"\0"
    request = struct.pack(">hhi", METADATA, VERSION, 1) + text("stack") + no_topics + no_auto_creation
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        size = struct.unpack(">i", receive(connection, 4))[0]
        if not 0 < size < 65536:
            raise ValueError("not Kafka")
        reply = Reader(receive(connection, size))
    reply.int32()  # correlation id
    reply.int32()  # throttle time
    ports = []
    for _ in range(reply.int32()):
        reply.int32()  # node id
        reply.text()  # host
        ports.append(reply.int32())
        reply.text()  # rack
    return ports, reply.text()


def main() -> int:
    port, cluster = int(sys.argv[1]), sys.argv[2]
    try:
        ports, answered = metadata(port)
    except (OSError, ValueError):
        return 1
    return 0 if port in ports and answered == cluster else 1


if __name__ == "__main__":
    sys.exit(main())
