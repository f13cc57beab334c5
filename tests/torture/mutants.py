"""Protections that a test build of the library can switch off, one at a time, and the promises that break without them.

`faults` are the kinds that show it, at targets whose names match `aim`.
"""
import collections

Mutant = collections.namedtuple("Mutant", "promises faults what aim", defaults=("",))

PROCESSES = {"kill", "stop", "fail-point", "storm", "end"}
DATABASE = {"cut", "kill-sessions", "lose-answer", "lose-request", "lock-rows", "refuse"}

MUTANTS = {
    "mark_after_handler": Mutant({"effect once"}, PROCESSES | DATABASE,
                                 "the mark is made in a transaction of its own, after that of the handler", "consume"),
    "offset_before_settle": Mutant({"offsets", "nothing lost"}, PROCESSES | DATABASE,
                                   "positions are committed past what was read, not past what was settled"),
    "no_drain_on_revoke": Mutant({"offsets", "nothing lost"}, {"end", "storm", "kill"},
                                 "on revoke nothing is waited for, and what was read counts as settled"),
    # What a process that died had in hand is claimed whatever the hint says, so it takes transactions that fail.
    "redis_before_commit": Mutant({"offsets", "nothing lost"}, {"lock-rows", "kill-sessions", "lose-request", "cut"},
                                  "the hint is written before the commit that it is about", "consume"),
    "relay_by_max_id": Mutant({"nothing lost"}, PROCESSES,
                              "the relay takes rows above the highest id that it has seen"),
    "relay_mark_before_ack": Mutant({"nothing lost"}, {"stop-kafka", "hang", "delay", "kill", "fail-point"},
                                    "rows are marked when they are handed over, not when the broker has acked them",
                                    "relay-|^kafka"),
    "no_parking": Mutant({"order per key"}, PROCESSES,
                         "messages behind a failed one of their key are run instead of parked"),
    "commit_unchecked": Mutant({"nothing lost", "offsets"}, DATABASE,
                               "a COMMIT that was refused or lost counts as done"),
    "retry_unconditional": Mutant({"effect once", "dead letter once"}, PROCESSES | {"copies"},
                                  "a record of the retry topic is run whatever its state row says"),
}
