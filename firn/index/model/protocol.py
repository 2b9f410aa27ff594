# SPDX-License-Identifier: Apache-2.0
"""The protocol of LocationIndex on one tiny shard, in the words of its C++: see docs/index.md.

Addresses: ("shard",) the current table; ("next", t) table t's successor and what happens to the
entries, or 0; ("header", t, b) and ("slot", t, b, i) a bucket, ("room", t, b) whether it has
memory; ("stash", t) whether the stash bucket, the last one of a table, is linked; ("count",) what
every writer adds to in the end; ("log", n) how many records of writer n are indexed.

`world.broken` names deliberate mistakes; `world.broken == set()` is the protocol.
"""
from collections import namedtuple

from checker import PLAIN, Done, Next, acquire, broken, load, store, swap, until

Key = namedtuple("Key", "name tag fingerprint")
Header = namedtuple("Header", "locked migrated overflow lanes")
Word = namedtuple("Word", "location fingerprint frozen")
# slots: of each bucket; homes: (tag, fingerprint) -> bucket; chains: home -> buckets in order;
# drifts: whether one insert beyond its home is so many that the table is to be rebuilt.
Table = namedtuple("Table", "slots homes chains stash_slots drifts", defaults=(0, False))
Found = namedtuple("Found", "bucket slot word")
EMPTY, NONE = 0, 0
COPY, DROP = "copy", "drop"


class World:
    def __init__(self, tables, keys, broken=()):
        self.tables, self.keys, self.broken = tables, keys, frozenset(broken)

    def location(self, key, version):
        return 10 * (self.keys.index(key) + 1) + version

    def key_of(self, location):
        """What the resolver reads in the log."""
        return self.keys[location // 10 - 1]

    def home(self, table, key):
        return self.tables[table].homes[key.tag, key.fingerprint]

    def chain(self, table, home):
        return self.tables[table].chains[home]

    def homes(self, table):
        return sorted(self.tables[table].chains)

    def stash(self, table):
        return len(self.tables[table].slots)

    def slots(self, table, bucket):
        at = self.tables[table]
        return (at.slots + (at.stash_slots,))[bucket]

    def memory(self, entries, overflowed=(), stashed=False, writers=0):
        """All words, with `entries` (bucket, slot, location) in table 0."""
        memory = {("shard",): 0, ("newest",): 0, ("count",): 0}
        for number, table in enumerate(self.tables):
            memory["next", number] = 0
            memory["stash", number] = int(stashed and number == 0)
            for bucket in range(len(table.slots) + bool(table.stash_slots)):
                count = self.slots(number, bucket)
                memory["header", number, bucket] = Header(0, 0, 0, (0,) * count)
                memory["room", number, bucket] = int(number == 0)
                for slot in range(count):
                    memory["slot", number, bucket, slot] = EMPTY
        for bucket, slot, location in entries:
            key = self.key_of(location)
            header = memory["header", 0, bucket]
            memory["header", 0, bucket] = with_lane(header, slot, key.tag)
            memory["slot", 0, bucket, slot] = Word(location, key.fingerprint, False)
        for bucket in overflowed:
            memory["header", 0, bucket] = memory["header", 0, bucket]._replace(overflow=1)
        for writer in range(writers):
            memory["log", writer] = 0
        return memory


def with_lane(header, slot, tag):
    lanes = header.lanes[:slot] + (tag,) + header.lanes[slot + 1:]
    return header._replace(lanes=lanes)


def word_of(key, location):
    return Word(location, key.fingerprint, False)


def is_free(header):
    return not header.locked


def is_migrated(header):
    return header.migrated


# --- what readers do -----------------------------------------------------------------------------

def locate(world, key):
    """The table that serves a key, and its home header there."""
    table = yield load(("shard",))
    while True:
        header = yield load(("header", table, world.home(table, key)))
        if not header.migrated:
            return table, header
        if "successor of the shard" in world.broken:
            table = (yield load(("newest",))) or (yield load(("shard",)))
        else:
            table = (yield load(("next", table)))[0]
        if not (yield load(("room", table, world.home(table, key)))):
            yield broken(f"table {table} has no memory for {key.name}")


def match(world, table, bucket, header, key, wanted):
    for slot, lane in enumerate(header.lanes):
        if lane == key.tag:
            word = yield load(("slot", table, bucket, slot))
            if word != EMPTY and word.fingerprint == key.fingerprint and wanted(word):
                return Found(bucket, slot, word)
    return None


def scan(world, table, key, header, wanted):
    """One pass over a key's chain, given its home header."""
    home = world.home(table, key)
    for bucket in world.chain(table, home):
        if bucket != home:
            header = yield load(("header", table, bucket))
        found = yield from match(world, table, bucket, header, key, wanted)
        if found or not header.overflow:
            return found
    if not world.tables[table].stash_slots or "stash not read" in world.broken:
        return None
    if not (yield load(("stash", table))):
        return None
    header = yield load(("header", table, world.stash(table)))
    return (yield from match(world, table, world.stash(table), header, key, wanted))


def same_key(world, key):
    return lambda word: world.key_of(word.location) == key


def get(world, key):
    table, header = yield from locate(world, key)
    found = yield from scan(world, table, key, header, same_key(world, key))
    return Done(found.word.location if found else NONE)


# --- writers of one word -------------------------------------------------------------------------

def exchange(world, table, key, found, word, again):
    """Swaps a found word, unless it is frozen: then its home moves, and the writer after it."""
    if found.word.frozen and "frozen words change" not in world.broken:
        yield until(("header", table, world.home(table, key)), is_migrated)
        return again
    if (yield swap(("slot", table, found.bucket, found.slot), found.word, word)):
        return Done(found.word.location)
    return again


def put(world, key, location):
    again = Next("put", (key, location))
    table, header = yield from locate(world, key)
    found = yield from scan(world, table, key, header, same_key(world, key))
    if found:
        return (yield from exchange(world, table, key, found, word_of(key, location), again))
    return Next("insert", (table, key, location))


def remove(world, key):
    table, header = yield from locate(world, key)
    wanted = same_key(world, key)
    if "remove trusts the fingerprint" in world.broken:
        wanted = bool
    found = yield from scan(world, table, key, header, wanted)
    if not found:
        return Done(NONE)
    return (yield from exchange(world, table, key, found, EMPTY, Next("remove", (key,))))


def replace_if(world, key, old, location):
    """Compare-and-replace by location; reads no log."""
    again = Next("replace_if", (key, old, location))
    table, header = yield from locate(world, key)
    found = yield from scan(world, table, key, header, lambda word: word.location == old)
    if not found:
        return Done(False)
    end = yield from exchange(world, table, key, found, word_of(key, location), again)
    return Done(True) if isinstance(end, Done) else end


# --- inserts -------------------------------------------------------------------------------------

def locked(header):
    return header._replace(locked=1)


def lock(table, bucket, wait=True):
    """Answers the locked header, or None if it is taken and the caller must not wait."""
    address = ("header", table, bucket)
    before = yield acquire(address, is_free, locked, wait)
    return before and locked(before)


def lock_home(table, home):
    """The same, or None if the home has moved."""
    before = yield acquire(("header", table, home),
                           lambda header: header.migrated or is_free(header),
                           lambda header: header if header.migrated else locked(header))
    return None if before.migrated else locked(before)


def count():
    """A read-modify-write: what was stored before is seen by all."""
    return acquire(("count",), lambda value: True, lambda value: value)


def unlock(table, bucket, header):
    return store(("header", table, bucket), header._replace(locked=0), PLAIN)


def insert(world, table, key, location):
    again = Next("put", (key, location))
    home = world.home(table, key)
    header = yield from lock_home(table, home)
    if header is None:
        return again
    if "no second scan" not in world.broken:
        found = yield from scan(world, table, key, header, same_key(world, key))
        if found:
            yield unlock(table, home, header)
            return again
    end = yield from place(world, table, home, header, key, location)
    if end in ("placed", "displaced"):
        if "word published with release" not in world.broken:
            yield count()
        drifted = end == "displaced" and world.tables[table].drifts
        return Next("rebuild_if_drifted", (table,)) if drifted else Done(NONE)
    return again if end == "again" else Next("make_room", (key, location))


def publish(world, table, bucket, slot, header, key, location):
    """Lane first, then the word: the store of the word is the moment of the insert. Here others may
    see it late, until `count`; the code stores it in the order of all."""
    header = with_lane(header, slot, key.tag)
    if "word before lane" not in world.broken:
        yield store(("header", table, bucket), header, PLAIN)
    yield store(("slot", table, bucket, slot), word_of(key, location), PLAIN)
    return header


def vacancy(world, table, bucket):
    for slot in range(world.slots(table, bucket)):
        if (yield load(("slot", table, bucket, slot))) == EMPTY:
            return slot
    return None


def place(world, table, home, header, key, location):
    """Puts a new entry into the chain of a locked home, and unlocks: placed there, displaced, again
    or full."""
    slot = yield from vacancy(world, table, home)
    if slot is not None:
        header = yield from publish(world, table, home, slot, header, key, location)
        yield unlock(table, home, header)
        return "placed"
    if "home is not marked" not in world.broken:
        header = header._replace(overflow=1)
        yield store(("header", table, home), header, PLAIN)
    end = yield from place_beyond(world, table, home, key, location)
    yield unlock(table, home, header)
    return "displaced" if end == "placed" else end


def place_beyond(world, table, home, key, location):
    """Buckets at lower addresses are only tried: two writers could hold what the other wants."""
    beyond = [bucket for bucket in world.chain(table, home) if bucket != home]
    if world.tables[table].stash_slots:
        beyond.append(world.stash(table))
    for bucket in beyond:
        ascending = bucket > home or "waits in descending order" in world.broken
        header = yield from lock(table, bucket, wait=ascending)
        if header is None:
            return "again"
        slot = yield from vacancy(world, table, bucket)
        if slot is not None:
            if bucket == world.stash(table):
                yield store(("stash", table), 1)
            header = yield from publish(world, table, bucket, slot, header, key, location)
            yield unlock(table, bucket, header)
            return "placed"
        passed = "only the home is marked" not in world.broken
        yield unlock(table, bucket, header._replace(overflow=1) if passed else header)
    return "full"


# --- growth, rebuild and clear: one machinery -----------------------------------------------------

def make_room(world, key, location):
    table = yield load(("shard",))
    return Next("grow", (Next("put", (key, location)),))


def grow(world, then=Done(None)):
    """Moves everything to a next table: growth, or a rebuild if that one has the same size."""
    table = yield load(("shard",))
    if table + 1 < len(world.tables):
        yield swap(("next", table), 0, (table + 1, COPY))
        if "successor of the shard" in world.broken:
            yield store(("newest",), table + 1)
        return moves(table, world.homes(table)[0], then)
    return then


def rebuild_if_drifted(world, table):
    """What an insert does in the end where entries drifted: it moves them on. A table that entries
    still move to is not the shard's yet: it gets no successor, and has its turn later."""
    anyway = "incomplete table moves" in world.broken
    if not anyway and "drift of an incomplete table" not in world.broken:
        if (yield load(("shard",))) != table:
            return Done(NONE)
    if (yield load(("next", table))):
        return Done(NONE)
    if anyway or (yield load(("shard",))) == table:
        yield swap(("next", table), 0, (table + 1, COPY))
    if not (yield load(("next", table))):
        yield broken(f"table {table} moves, and has no successor")
    return moves(table, world.homes(table)[0], Done(NONE))


def clear(world):
    """Moves to an empty table and leaves the entries behind. Helps another move to end first."""
    table = yield load(("shard",))
    if table + 1 == len(world.tables):
        return Done(None)
    # Its memory is there before it begins, so that nothing can make it stop halfway.
    for bucket in range(len(world.tables[table + 1].slots)):
        yield swap(("room", table + 1, bucket), 0, 1)
    mine = yield swap(("next", table), 0, (table + 1, DROP))
    then = Done(None) if mine or "clear joins a growth" in world.broken else Next("clear", ())
    return moves(table, world.homes(table)[0], then)


def moves(table, home, then):
    """All homes of a table from `home` on, then the shard names the next table, then `then`."""
    return Next("move_home", (table, home, Next("move_next", (table, home, then))))


def make_room_for(world, table, home):
    """Memory wherever the keys of a home, there or not, can come to in the next table."""
    target = world.tables[table + 1]
    homes = {target.homes[each] for each, at in world.tables[table].homes.items() if at == home}
    for bucket in sorted({bucket for each in homes for bucket in target.chains[each]}):
        if not (yield load(("room", table + 1, bucket))):
            yield swap(("room", table + 1, bucket), 0, 1)


def move_home(world, table, home, then):
    """Entries of a home are frozen wherever they are, then copied; then the home is marked."""
    if "memory only for entries" not in world.broken:
        yield from make_room_for(world, table, home)
    header = yield from lock_home(table, home)
    if header is None:
        return then
    if "migrated before the copies" in world.broken:
        yield store(("header", table, home), header._replace(migrated=1))
    return Next("gather", (table, home, 0, "move", (), then))


def buckets_of(world, table, home):
    beyond = [bucket for bucket in world.chain(table, home) if bucket != home]
    if world.tables[table].stash_slots and "stash not moved" not in world.broken:
        beyond.append(world.stash(table))
    return [home] + beyond


def is_of(world, table, home, header, slot, word):
    return word and world.tables[table].homes.get((header.lanes[slot], word.fingerprint)) == home


def gather(world, table, home, position, why, entries, then):
    """Entries of a locked home in one bucket of its chain, to `move` or to `list` them. One beyond
    the home is locked only if an unlocked look finds something: what is in it of this home was
    there, lane and word, before the home was locked, and what is stored there now is of others."""
    buckets = buckets_of(world, table, home)
    if position == len(buckets):
        return Next("gathered", (table, home, why, entries, then))
    bucket = buckets[position]
    if bucket == world.stash(table) and not (yield load(("stash", table))):
        return Next("gathered", (table, home, why, entries, then))
    header = yield load(("header", table, bucket))
    if position != 0:
        found = False
        for slot in range(world.slots(table, bucket)):
            word = yield load(("slot", table, bucket, slot))
            found = found or is_of(world, table, home, header, slot, word)
        if not found and "homes not told apart" not in world.broken:
            if not header.overflow:
                position = len(buckets) - 1
            return Next("gather", (table, home, position + 1, why, entries, then))
        trusting = {"move": "migration trusts a header", "list": "iteration trusts a header"}[why]
        if trusting not in world.broken:
            header = yield from lock(table, bucket, wait=bucket > home)
            if header is None:
                return Next("give_way", (table, home, why, then))
    return Next("gather_slot", (table, home, position, 0, header, why, entries, then))


def give_way(world, table, home, why, then):
    header = yield load(("header", table, home))
    yield unlock(table, home, header)
    return Next("move_home" if why == "move" else "list_home", (table, home, then))


def gather_slot(world, table, home, position, slot, header, why, entries, then):
    bucket = buckets_of(world, table, home)[position]
    if slot == world.slots(table, bucket):
        if position != 0 and header.locked:
            yield unlock(table, bucket, header)
        if not header.overflow:
            return Next("gathered", (table, home, why, entries, then))
        return Next("gather", (table, home, position + 1, why, entries, then))
    following = (table, home, position, slot + 1, header, why)
    word = yield load(("slot", table, bucket, slot))
    if not is_of(world, table, home, header, slot, word) and (
            word == EMPTY or why == "move" or "homes not told apart" not in world.broken):
        return Next("gather_slot", following + (entries, then))
    if why == "move" and not word.frozen and "no freeze" not in world.broken:
        if not (yield swap(("slot", table, bucket, slot), word, word._replace(frozen=True))):
            return Next("gather_slot", (table, home, position, slot, header, why, entries, then))
    identity = (header.lanes[slot], word.fingerprint)
    return Next("gather_slot", following + (entries + ((identity, word.location),), then))


def gathered(world, table, home, why, entries, then):
    if why == "list":
        header = yield load(("header", table, home))
        yield unlock(table, home, header)
        return Next("listed", (entries, then))
    if (yield load(("next", table)))[1] == DROP:
        entries = ()
    if entries and "memory only for entries" in world.broken:
        yield from make_room_for(world, table, home)
    return Next("copy", (table, home, entries, then))


def copy(world, table, home, entries, then):
    """The copies that go to one home of the next table, under its lock. Nobody looks for them there
    before their old home is marked, so that all words may come first and their lanes at once."""
    if not entries:
        return Next("end_move", (table, home, then))
    homes = world.tables[table + 1].homes
    target = min(homes[identity] for identity, _ in entries)
    header = yield from lock(table + 1, target)
    for number, (identity, location) in enumerate(entries):
        if homes[identity] != target:
            continue
        key = Key("copy", *identity)
        slot = yield from vacancy(world, table + 1, target)
        if slot is not None:
            header = with_lane(header, slot, key.tag)
            yield store(("slot", table + 1, target, slot), word_of(key, location), PLAIN)
            continue
        header = header._replace(overflow=1)
        yield store(("header", table + 1, target), header, PLAIN)
        end = yield from place_beyond(world, table + 1, target, key, location)
        if end != "placed":
            yield unlock(table + 1, target, header)
            left = tuple(each for at, each in enumerate(entries)
                         if at >= number or homes[each[0]] != target)
            return Next("copy", (table, home, left, then)) if end == "again" else Next("full", ())
    left = tuple(each for each in entries if homes[each[0]] != target)
    if "marked before the tags are stored" in world.broken and not left:
        then = Next("unlock_late", (table + 1, target, header, then))
        return Next("end_move", (table, home, then))
    yield unlock(table + 1, target, header)
    return Next("copy", (table, home, left, then))


def unlock_late(world, table, bucket, header, then):
    yield unlock(table, bucket, header)
    return then


def full(world):
    yield until(("shard",), lambda table: False)


def end_move(world, table, home, then):
    """Whoever does not see the mark yet sees the lock, and all see it before the move ends."""
    header = yield load(("header", table, home))
    yield store(("header", table, home), header._replace(locked=0, migrated=1), PLAIN)
    yield count()
    return then


def move_next(world, table, home, then):
    if home != world.homes(table)[-1]:
        return moves(table, home + 1, then)
    for each in world.homes(table):
        yield until(("header", table, each), is_migrated)
    yield swap(("shard",), table, table + 1)
    if "successor of the shard" in world.broken:
        yield store(("newest",), 0)
    return then


def migrate(world, home):
    """A writer's share of a growth that somebody began: one home."""
    table = yield load(("shard",))
    yield swap(("next", table), 0, (table + 1, COPY))
    return Next("move_home", (table, home, Done(None)))


# --- iteration and snapshots ----------------------------------------------------------------------

def iterate(world):
    """Every entry once: home by home, from the table that serves it."""
    table = yield load(("shard",))
    return Next("list_homes", (homes_of(world, table, tuple(world.tables[table].homes)), ()))


def homes_of(world, table, identities):
    """(table, home, the identities there) for each home that some of the identities have."""
    homes = world.tables[table].homes
    return tuple((table, home, tuple(i for i in identities if homes[i] == home))
                 for home in sorted({homes[i] for i in identities}))


def list_homes(world, work, entries, begins=None):
    """Entries of the first home in `work`, and so on; `begins` makes it a snapshot."""
    if not work:
        if begins and "log position taken last" in world.broken:
            begins = ((yield load(("log", 0))),)
        entries = tuple(sorted(entries))
        return Done(entries if begins is None else (begins, entries))
    table, home, _ = work[0]
    return Next("list_home", (table, home, Next("list_homes", (work, entries, begins))))


def list_home(world, table, home, then):
    """A home that has moved is looked up in the next table, by the identities that it covers."""
    header = yield from lock_home(table, home)
    if header is not None:
        return Next("gather", (table, home, 0, "list", (), then))
    (_, _, identities), rest = then.arguments[0][0], then.arguments[0][1:]
    entries, begins = then.arguments[1:]
    if "new table left out" not in world.broken:
        successor = (yield load(("next", table)))[0]
        rest = homes_of(world, successor, identities) + rest
    if "both tables listed" in world.broken:
        work = ((table, home, identities),) + rest
        then = Next(then.phase, (work, entries, begins))
        return Next("gather", (table, home, 0, "list", (), then))
    return Next("list_homes", (rest, entries, begins))


def listed(world, found, then):
    (_, _, identities), rest = then.arguments[0][0], then.arguments[0][1:]
    entries, begins = then.arguments[1:]
    for each in found:
        if each[0] in identities or "homes not told apart" in world.broken:
            entries += (each,)
    yield load(("shard",))
    return Next("list_homes", (rest, entries, begins))


def snapshot(world, writers):
    """Positions of the log before the first word is copied, then every entry, writers running."""
    begins = ()
    for writer in range(writers):
        begins += ((yield load(("log", writer))),)
    table = yield load(("shard",))
    work = homes_of(world, table, tuple(world.tables[table].homes))
    return Next("list_homes", (work, (), begins))


def logged(world, writer, count):
    yield store(("log", writer), count)
    return Done(None)


PHASES = {phase.__name__: phase for phase in (
    get, put, remove, replace_if, insert, make_room, grow, rebuild_if_drifted, clear, move_home,
    gather, give_way, gather_slot, gathered, copy, unlock_late, full, end_move, move_next, migrate,
    iterate, list_homes, list_home, listed, snapshot, logged)}
