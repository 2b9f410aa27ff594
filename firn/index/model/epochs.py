# SPDX-License-Identifier: Apache-2.0
"""Reclamation of retired tables: a session announces the epoch before it looks at the shard.

Addresses: ("shard",) the current table; ("alive", t) whether its memory is ours; ("epoch",);
("pin", n) the epoch that session n announced, or 0.
"""
from checker import PLAIN, Done, barrier, broken, load, store


def memory(tables, sessions):
    return ({("shard",): 0, ("epoch",): 1} | {("alive", t): 1 for t in range(tables)}
            | {("pin", n): 0 for n in range(sessions)})


def read(world, session, in_order=False):
    """A pinned look into the current table."""
    table = None
    if "shard read before the pin" in world.broken:
        table = yield load(("shard",))
    epoch = yield load(("epoch",))
    if "no pin" not in world.broken:
        pinned = store(("pin", session), epoch)
        if not in_order or "pin not in order" in world.broken:
            pinned = store(("pin", session), epoch, PLAIN)
        yield pinned
    if table is None:
        table = yield load(("shard",))
    for _ in range(2):
        if not (yield load(("alive", table))):
            yield broken(f"session {session} reads table {table} after it was freed")
    yield store(("pin", session), 0, PLAIN)
    return Done(None)


def replace_table(world, sessions, in_order=False):
    """A growth's end: publish, then stamp, then free what no session can hold. Sessions pay for no
    order between their pins and their loads; the barrier of whoever frees is theirs, too. Or there
    is no such barrier, and they do."""
    table = yield load(("shard",))
    if "epoch moves before the shard" in world.broken:
        stamp = (yield load(("epoch",))) + 1
        yield store(("epoch",), stamp)
        yield store(("shard",), table + 1)
    else:
        yield store(("shard",), table + 1)
        stamp = (yield load(("epoch",))) + 1
        yield store(("epoch",), stamp)
    if not in_order and "no barrier before the pins are read" not in world.broken:
        yield barrier()
    for session in range(sessions):
        pin = yield load(("pin", session))
        if 0 < pin < stamp and "collector forgets the pins" not in world.broken:
            return Done("kept")
    yield store(("alive", table), 0)
    return Done("freed")


PHASES = {
    "read": read,
    "replace_table": replace_table,
    "read_in_order": lambda world, session: read(world, session, True),
    "replace_table_in_order": lambda world, sessions: replace_table(world, sessions, True),
}
