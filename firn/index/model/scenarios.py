# SPDX-License-Identifier: Apache-2.0
"""The scenarios that the checker explores, and the deliberate mistakes that it must find."""
from dataclasses import dataclass

import epochs
import protocol
from checker import Next, Operation, Search
from protocol import Key, Table, World

K, J = Key("K", 5, 3), Key("J", 5, 3)  # they collide in everything but their names
M, L = Key("M", 9, 3), Key("L", 9, 3)  # another lane, and in some tables another home
KEYS = (K, J, M, L)
A, B = (5, 3), (9, 3)                  # the identities of K and J, and of M and L


def at(key, version):
    return 10 * (KEYS.index(key) + 1) + version


K0, K1, K2, K3 = (at(K, i) for i in range(4))
J0, J1 = (at(J, i) for i in range(2))
M0, M1 = (at(M, i) for i in range(2))
L0 = at(L, 0)


def one_home(slots, stash=0):
    return Table((slots,), {A: 0, B: 0}, {0: (0,)}, stash)


def two_homes(first, second, chains, stash=0):
    return Table((first, second), {A: 0, B: 1}, chains, stash)


ONE = (one_home(2), one_home(3))
ASCENDING = {0: (0, 1), 1: (1,)}
CROSSED = {0: (0, 1), 1: (1, 0)}
TWO = (two_homes(1, 2, ASCENDING), one_home(4))
CROSS = (two_homes(1, 1, CROSSED, stash=2), two_homes(2, 2, CROSSED))
REBUILD = (two_homes(1, 2, ASCENDING), two_homes(1, 2, ASCENDING))
REVERSE = (two_homes(2, 1, {0: (0,), 1: (1, 0)}), two_homes(1, 3, CROSSED))
CHAINED = (one_home(2), one_home(2), one_home(2))
STASH = (one_home(1, stash=2), one_home(3))
SMALL_STASH = (one_home(1, stash=1), one_home(1, stash=2))
CLEARED = (one_home(2), one_home(2), one_home(2), one_home(2))
DRIFT = two_homes(1, 3, ASCENDING)._replace(drifts=True)


def op(name, *arguments):
    return Operation(name, arguments)


def get(key):
    return op("get", key)


def put(key, location):
    return op("put", key, location)


def remove(key):
    return op("remove", key)


def replace_if(key, old, new):
    return op("replace_if", key, old, new)


def migrate(*homes):
    return tuple(op("migrate", home) for home in homes)


GROW, CLEAR, ITERATE = op("grow"), op("clear"), op("iterate")


@dataclass
class Scenario:
    name: str
    tables: tuple
    entries: tuple                # (bucket, slot, location) in the first table
    programs: tuple               # one tuple of operations a thread
    overflowed: tuple = ()        # buckets of the first table that entries passed over
    stashed: bool = False
    untouched: tuple = ()         # locations that iterations and snapshots must list once
    logs: tuple = ()              # threads whose programs are logged, see logged()
    buffered: bool = False


def logged(writer, *operations):
    """A writer's program: each record is in the log before it is indexed, and then counted."""
    program = ()
    for count, operation in enumerate(operations, 1):
        program += (operation, op("logged", writer, count))
    return program


S = Scenario
SCENARIOS = [
    S("insert_insert", ONE, (), ((put(K, K0),), (put(K, K1),), (get(K), get(K)))),
    S("replace_remove", ONE, ((0, 0, K0),), ((put(K, K1),), (remove(K),), (get(K), get(K)))),
    S("collide", ONE, ((0, 0, K0),),
      ((put(J, J0), get(J)), (remove(K),), (get(K), get(J)))),
    S("collide_remove_absent", ONE, ((0, 0, K0),), ((remove(J),), (put(K, K1), get(K)))),
    S("compaction", ONE, ((0, 0, K0),),
      ((replace_if(K, K0, K2),), (put(K, K1),), (get(K), get(K)))),
    S("stale_lane", ONE, ((0, 0, K0),),
      ((remove(K), put(M, M0), remove(M), put(K, K1)), (get(K),), (get(K),))),
    S("stale_lane_put", ONE, ((0, 0, K0),),
      ((remove(K), put(M, M0), remove(M), put(K, K1)), (put(K, K2), get(K)))),

    S("growth_replace", ONE, ((0, 0, K0),), ((put(K, K1),), (GROW,), (get(K), get(K)))),
    S("growth_insert", ONE, (), ((put(K, K0), remove(K)), (GROW,), (get(K), get(K)))),
    S("growth_reinsert", ONE, ((0, 0, K0),), ((remove(K), put(K, K1)), (GROW,), (get(K),))),
    S("growth_two_inserts", ONE, (), ((put(K, K0),), (put(K, K1),), (GROW,))),
    S("growth_collide", ONE, ((0, 0, K0), (0, 1, J0)),
      ((put(J, J1),), (GROW,), (remove(K), get(J)))),
    S("growth_compaction", ONE, ((0, 0, K0),),
      ((replace_if(K, K0, K2),), (GROW,), (put(K, K1), get(K)))),
    S("growth_when_full", ONE, ((0, 0, J0), (0, 1, M0)), ((put(K, K0), get(K)), (remove(J),))),
    S("two_growers", ONE, ((0, 0, K0),), ((GROW, put(K, K1)), (GROW, remove(K)), (get(K),))),

    S("displace_insert", TWO, ((0, 0, J0),), ((put(K, K0),), (put(K, K1),), (get(K), get(K)))),
    S("displace_reinsert", TWO, ((0, 0, J0), (1, 0, K0)),
      ((remove(J), remove(K), put(K, K1)), (get(K),), (get(K),)), overflowed=(0,)),
    S("displace_two_homes", TWO, ((0, 0, J0),),
      ((put(K, K0), get(K)), (put(M, M0), remove(M)))),
    S("displace_growth", TWO, ((0, 0, J0), (1, 0, K0)),
      ((put(K, K1), get(K)), migrate(0), migrate(1)), overflowed=(0,)),
    S("displace_growth_insert", TWO, ((0, 0, J0),),
      ((put(K, K0), get(K)), (GROW,), (remove(J),))),
    S("displace_growth_reinsert", TWO, ((0, 0, J0), (1, 1, K0)),
      ((remove(K), put(K, K1)), (GROW,), (get(K),)), overflowed=(0,)),
    S("stale_lane_growth", TWO, ((0, 0, J0), (1, 0, K0)),
      ((remove(K), put(M, M0), get(M)), (GROW,)), overflowed=(0,)),

    S("crossed_locks", CROSS, ((0, 0, J0), (1, 0, M1)),
      ((put(K, K0), get(K)), (remove(M), put(M, M0)))),
    S("crossed_inserts", REVERSE, ((0, 0, K0), (1, 0, M0)),
      ((put(J, J0),), (remove(M), put(M, M1)), (get(M), get(J)))),
    S("crossed_full", (two_homes(1, 1, CROSSED, stash=2), one_home(4)), ((0, 0, J0), (1, 0, M1)),
      ((remove(J), put(J, J1)), (put(K, K0),), (remove(M), put(M, M0)))),
    S("crossed_displaced", CROSS, ((0, 0, J0), (1, 0, L0)), ((put(K, K0), get(K)), (put(M, M0),))),
    S("crossed_three", CROSS, ((0, 0, J0), (1, 0, L0)),
      ((put(K, K0), get(K)), (put(M, M0),), (remove(L), get(K)))),
    S("crossed_growth", CROSS, ((0, 0, J0), (1, 0, K0)),
      ((put(M, M0), get(M)), (GROW,)), overflowed=(0,)),

    S("stash_insert", STASH, ((0, 0, J0),), ((put(K, K0),), (put(K, K1),), (get(K), get(K)))),
    S("stash_reinsert", STASH, ((0, 0, J0), (1, 0, K0)),
      ((remove(K), put(K, K1)), (get(K), get(K)), (get(J),)), overflowed=(0,), stashed=True),
    S("stash_growth", STASH, ((0, 0, J0), (1, 0, K0)),
      ((put(K, K1), get(K)), (GROW,), (get(K),)), overflowed=(0,), stashed=True),
    S("stash_growth_insert", STASH, ((0, 0, J0),), ((put(K, K0), get(K)), (GROW,), (get(K),))),
    S("stash_rebuild", SMALL_STASH, ((0, 0, J0), (1, 0, K0)),
      ((remove(J), put(M, M0)), (GROW,), (get(K),)), overflowed=(0,), stashed=True),

    S("rebuild", REBUILD, ((0, 0, J0), (1, 0, K0)),
      ((remove(J), put(K, K1)), (GROW,), (get(K),)), overflowed=(0,)),
    S("rebuild_crossed", (REVERSE[0], REVERSE[0]), ((0, 0, K0), (0, 1, M0)),
      ((put(M, M1), get(M)), (GROW,)), overflowed=(1,)),

    S("drift", (DRIFT, DRIFT._replace(drifts=False)), ((0, 0, J0),),
      ((put(K, K0), get(K)), (remove(J),), (get(K),))),
    S("drift_growth", (one_home(2), DRIFT, one_home(3)), ((0, 0, J0),),
      ((put(K, K0), get(K)), (GROW,), (get(K),))),
    S("drift_growth_homes", (two_homes(1, 1, {0: (0,), 1: (1,)}), DRIFT, one_home(3)),
      ((0, 0, J0), (1, 0, M0)), ((put(K, K0), get(K)), (GROW, get(M)))),
    S("drift_growers", (one_home(1), DRIFT, one_home(3)), ((0, 0, J0),),
      ((put(K, K0), get(K)), (GROW, GROW))),

    S("clear_replace", CLEARED, ((0, 0, K0),), ((put(K, K1), get(K)), (CLEAR,), (get(K),))),
    S("clear_insert", CLEARED, (), ((put(K, K0), get(K)), (CLEAR,), (remove(K),))),
    S("clear_compaction", CLEARED, ((0, 0, K0),),
      ((replace_if(K, K0, K1),), (CLEAR,), (get(K), get(K)))),
    S("clear_collide", CLEARED, ((0, 0, K0), (0, 1, J0)), ((CLEAR, get(K)), (put(J, J1), get(J)))),
    S("clear_growth", CLEARED, ((0, 0, K0),), ((CLEAR, get(K)), (GROW,), (get(K),))),
    S("clear_growth_put", CLEARED, ((0, 0, K0),), ((CLEAR, get(K)), (GROW, put(K, K1)))),
    S("clear_clear", CLEARED, ((0, 0, K0),), ((CLEAR, get(K)), (CLEAR, put(K, K1), get(K)))),
    S("clear_stash", (STASH[0], STASH[0]), ((0, 0, J0), (1, 0, K0)),
      ((put(K, K1), get(K)), (CLEAR,)), overflowed=(0,), stashed=True),

    S("chained_get", CHAINED, ((0, 0, K0),), ((GROW, GROW), (get(K), get(K)))),
    S("chained_put", CHAINED, ((0, 0, K0),), ((GROW, GROW), (put(K, K1), get(K)), (get(K),))),
    S("chained_insert", CHAINED, (), ((GROW, GROW), (put(K, K0),), (put(K, K1),))),
    S("chained_growers", CHAINED, ((0, 0, K0),), ((GROW, GROW), (GROW, put(K, K1)), (get(K),))),

    S("iterate", TWO, ((0, 0, J0), (1, 0, K0)),
      ((ITERATE,), (put(M, M0), remove(K), put(K, K1))), overflowed=(0,), untouched=(J0,)),
    S("iterate_stale_lane", TWO, ((0, 0, J0), (1, 0, K0)),
      ((ITERATE,), (remove(K), put(M, M0))), overflowed=(0,), untouched=(J0,)),
    S("iterate_growth", TWO, ((0, 0, J0), (1, 0, K0), (1, 1, M0)),
      ((ITERATE,), (GROW,), (remove(K), put(K, K1))), overflowed=(0,), untouched=(J0, M0)),
    S("iterate_two_growths", CHAINED, ((0, 0, J0), (0, 1, M0)),
      ((ITERATE,), (GROW, GROW), (remove(M),)), untouched=(J0,)),
    S("iterate_stash", STASH, ((0, 0, J0), (1, 0, K0)), ((ITERATE,), (GROW,), (put(M, M0),)),
      overflowed=(0,), stashed=True, untouched=(J0, K0)),

    S("snapshot", ONE, ((0, 0, K0),),
      ((op("snapshot", 1),), logged(0, remove(K), put(M, M0), remove(M), put(K, K1))), logs=(1,)),
    S("snapshot_moves", ONE, ((0, 0, K0),),
      ((op("snapshot", 1),), logged(0, remove(K), put(J, J0), put(K, K1), remove(K))), logs=(1,)),
    S("snapshot_growth", TWO, ((0, 0, J0), (1, 0, K0)),
      ((op("snapshot", 1),), logged(0, put(K, K1), remove(K), put(M, M0)), (GROW,)),
      overflowed=(0,), untouched=(J0,), logs=(1,)),
    S("snapshot_two_writers", ONE, ((0, 0, K0),),
      ((op("snapshot", 2),), logged(0, put(K, K1), remove(K)), logged(1, put(M, M0))),
      logs=(1, 2)),
    S("snapshot_two_growths", CHAINED, ((0, 0, K0), (0, 1, J0)),
      ((op("snapshot", 1),), logged(0, remove(K), put(K, K1)), (GROW, GROW)),
      untouched=(J0,), logs=(1,)),

    S("buffered_two_keys", ONE, (),
      ((put(K, K0), get(M)), (put(M, M0), get(K))), buffered=True),
    S("buffered_insert", ONE, (), ((put(K, K0), get(K)), (put(K, K1), get(K))), buffered=True),
    S("buffered_growth", ONE, ((0, 0, K0),),
      ((put(K, K1), get(K)), (GROW,), (get(K),)), buffered=True),
    S("buffered_moves", ONE, ((0, 0, K0),),
      ((remove(K), put(M, M0)), (GROW,), (get(M), get(K))), buffered=True),
    S("buffered_displace", TWO, ((0, 0, J0),),
      ((put(K, K0), get(M)), (put(M, M0), get(K))), buffered=True),
]
EPOCHS = [
    S("epochs", (), (), ((op("read", 0), op("read", 0)),
                         (op("replace_table", 1), op("replace_table", 1)))),
    S("epochs_two_readers", (), (), ((op("read", 0),), (op("read", 1),),
                                     (op("replace_table", 2), op("replace_table", 2)))),
    S("epochs_buffered", (), (), ((op("read", 0), op("read", 0)),
                                  (op("replace_table", 1), op("replace_table", 1))), buffered=True),
    S("epochs_without_barrier", (), (),
      ((op("read_in_order", 0), op("read_in_order", 0)),
       (op("replace_table_in_order", 1), op("replace_table_in_order", 1))), buffered=True),
]
# Each mistake, and scenarios that must find it.
MISTAKES = [
    ("no second scan", ("insert_insert", "displace_insert", "stash_insert")),
    ("no freeze", ("growth_replace", "growth_compaction", "rebuild")),
    ("frozen words change", ("growth_replace", "growth_compaction")),
    ("word before lane", ("stale_lane_put",)),
    ("word published with release", ("buffered_two_keys",)),
    ("successor of the shard", ("chained_get", "chained_put")),
    ("home is not marked", ("displace_insert", "buffered_displace")),
    ("only the home is marked", ("crossed_full",)),
    ("waits in descending order", ("crossed_displaced",)),
    ("stash not read", ("stash_insert",)),
    ("stash not moved", ("stash_growth",)),
    ("migrated before the copies", ("growth_replace",)),
    ("migration trusts a header", ("stale_lane_growth",)),
    ("memory only for entries", ("growth_insert",)),
    ("marked before the tags are stored", ("growth_replace",)),
    ("drift of an incomplete table", ("drift_growth", "drift_growth_homes")),
    ("incomplete table moves", ("drift_growth_homes",)),
    ("clear joins a growth", ("clear_growth",)),
    ("remove trusts the fingerprint", ("collide_remove_absent",)),
    ("both tables listed", ("iterate_growth",)),
    ("homes not told apart", ("iterate_growth",)),
    ("new table left out", ("iterate_growth", "snapshot_growth")),
    ("iteration trusts a header", ("iterate_stale_lane",)),
    ("log position taken last", ("snapshot",)),
    ("no pin", ("epochs",)),
    ("no barrier before the pins are read", ("epochs_buffered",)),
    ("pin not in order", ("epochs_without_barrier",)),
    ("shard read before the pin", ("epochs", "epochs_without_barrier")),
    ("epoch moves before the shard", ("epochs",)),
    ("collector forgets the pins", ("epochs",)),
]


# --- what operations mean -------------------------------------------------------------------------

def abstract(operation):
    """The parts of an operation on contents, a tuple with the location of each key or 0."""
    name, arguments = operation
    if name == "clear":  # key by key, not at one moment
        return [forget(index) for index in range(len(KEYS))]
    if name not in ("get", "put", "remove", "replace_if"):
        return []
    index = KEYS.index(arguments[0])

    def apply(contents):
        old = contents[index]
        if name == "get":
            return contents, old
        if name == "replace_if":
            same = old == arguments[1]
            return (with_key(contents, index, arguments[2]) if same else contents), same
        return with_key(contents, index, arguments[1] if name == "put" else 0), old
    return [apply]


def with_key(contents, index, location):
    return contents[:index] + (location,) + contents[index + 1:]


def forget(index):
    return lambda contents: (with_key(contents, index, 0), None)


class Checks:
    """What must hold of iterations and snapshots, and when all is done."""

    def __init__(self, scenario):
        self.scenario = scenario

    def accepts(self, world, operation, result):
        if operation.name not in ("iterate", "snapshot"):
            return True
        entries = result if operation.name == "iterate" else result[1]
        listed = [location for _, location in entries]
        if any(identity(world.key_of(location)) != found for found, location in entries):
            return False
        return all(listed.count(location) == 1 for location in self.scenario.untouched)

    def settled(self, world, memory, contents, results):
        present = sorted(location for location in contents if location)
        entries = alone(world, memory, Next("iterate", ()))
        if sorted(location for _, location in entries) != present:
            return f"listed {entries}, present {present}"
        for index, key in enumerate(KEYS):
            found = alone(world, memory, Next("get", (key,)))
            if found != contents[index]:
                return f"get({key.name}) finds {found}, present {present}"
        if any(address[0] == "header" and value.locked for address, value in memory.items()):
            return "a lock is held"
        return self.restored(world, present, results)

    def restored(self, world, present, results):
        """A snapshot, and the log replayed from its positions, make the contents at the end."""
        for operations, answers in zip(self.scenario.programs, results):
            if not any(operation.name == "snapshot" for operation in operations):
                continue
            begins, entries = answers[0]
            entries = list(entries)
            for thread, begin in zip(self.scenario.logs, begins):
                for operation in self.scenario.programs[thread][2 * begin::2]:
                    replay(world, entries, operation)
            wanted = sorted((identity(world.key_of(location)), location) for location in present)
            if sorted(entries) != wanted:
                return f"snapshot and log give {sorted(entries)}, present {wanted}"
        return None


def identity(key):
    return (key.tag, key.fingerprint)


def replay(world, entries, operation):
    """A put or a remove on a multimap of (identity, location), as the index does it."""
    key = operation.arguments[0]
    at = next((i for i, (lane, location) in enumerate(entries)
               if lane == identity(key) and world.key_of(location) == key), None)
    if at is not None:
        del entries[at]
    if operation.name == "put":
        entries.append((identity(key), operation.arguments[1]))


def alone(world, memory, phase):
    """The result of a phase that runs without others."""
    while isinstance(phase, Next):
        generator = protocol.PHASES[phase.phase](world, *phase.arguments)
        answer = None
        try:
            while True:
                request = generator.send(answer)
                answer = memory[request.address]
        except StopIteration as end:
            phase = end.value
    return phase.result


def run(scenario, mistakes=()):
    """The Outcome of one scenario, with the protocol or with a mistake in it."""
    if scenario in EPOCHS:
        world = World((), (), mistakes)
        search = Search(world, epochs.PHASES, lambda operation: [], lambda *_: True,
                        lambda *_: None, scenario.buffered)
        return search.run(epochs.memory(3, 2), scenario.programs, ())
    world = World(scenario.tables, KEYS, mistakes)
    checks = Checks(scenario)
    search = Search(world, protocol.PHASES, abstract, checks.accepts, checks.settled,
                    scenario.buffered)
    memory = world.memory(scenario.entries, scenario.overflowed, scenario.stashed,
                          len(scenario.logs))
    contents = tuple(max((location for _, _, location in scenario.entries
                          if world.key_of(location) == key), default=0) for key in KEYS)
    return search.run(memory, scenario.programs, contents)
