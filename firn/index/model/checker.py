# SPDX-License-Identifier: Apache-2.0
"""Explicit-state search of every interleaving of a few threads, with linearizability on the fly.

A thread runs operations one after another. An operation is a chain of phases; a phase is a
generator that yields one request for each access to shared memory and is sent the answer:

    load(address)               the value
    store(address, value, order)
    swap(address, old, new)     compare-and-swap: whether it happened
    until(address, test)        waits until test(value)
    acquire(address, test, change, wait)
                                waits until test(value), stores change(value), answers the old
                                value; without `wait` answers None at once if the test fails
    barrier()                   waits until no thread has a store that others do not see

A phase ends with `return Next(phase, ...)`, which forgets everything but the arguments, or with
`return Done(result)`. Phases must be pure: the checker runs them again and again on the answers
that they had, because the answers, not the generator, are the state of a thread.

Beside the memory, a state holds the set of abstract configurations (contents, and for each pending
operation which part of it took effect) that explain all answers so far. An answer that leaves none
is a violation of linearizability.

Memory is sequentially consistent, or with `buffered=True` each thread has a store buffer: a `PLAIN`
store waits in it and may be seen late by others, but in order (TSO; what x86-64 does to relaxed and
release stores). `ORDERED` stores and swaps first empty the buffer (seq_cst).
"""
from collections import namedtuple

ORDERED, PLAIN = "ordered", "plain"
Next = namedtuple("Next", "phase arguments")
Done = namedtuple("Done", "result")
Operation = namedtuple("Operation", "name arguments")
Request = namedtuple("Request", "kind address first second third", defaults=(None,) * 3)
# One thread: number of the operation, its phase with the answers so far, and the store buffer.
Thread = namedtuple("Thread", "at phase arguments answers buffer")
# A begun operation in an abstract configuration: the parts that did not take effect yet.
Pending = namedtuple("Pending", "operation parts result")
Outcome = namedtuple("Outcome", "verdict states trace")
IDLE = None


def load(address):
    return Request("load", address)


def store(address, value, order=ORDERED):
    return Request("store", address, value, order)


def swap(address, old, new):
    return Request("swap", address, old, new)


def until(address, test):
    return Request("until", address, test)


def acquire(address, test, change, wait=True):
    return Request("acquire", address, test, change, wait)


def barrier():
    return Request("barrier", None)


def broken(why):
    """What a phase yields when it sees something that must never be seen."""
    return Request("broken", why)


class Violation(Exception):
    pass


class Search:
    """`phases`: name -> generator function(world, *arguments). `world` is passed through.

    `abstract(operation)` lists the parts of an operation, each a function contents -> (contents,
    result); they take effect one by one in any order, and the last one's result is the operation's.
    `accepts(world, operation, result)` checks operations that have no place in the sequence; they
    have no parts. `settled(world, memory, contents, results)` checks a state in which all is done
    and returns a complaint or None.
    """

    def __init__(self, world, phases, abstract, accepts, settled, buffered=False, limit=2_000_000):
        self.world, self.phases, self.abstract = world, phases, abstract
        self.accepts, self.settled, self.buffered = accepts, settled, buffered
        self.limit = limit
        self.requests = {}
        self.begun, self.finished = {}, {}

    def run(self, memory, programs, contents):
        """Searches depth first. `memory` is a dict, `programs` one tuple of Operations a thread."""
        self.addresses = {address: i for i, address in enumerate(memory)}
        self.programs = programs
        idle = tuple(Thread(0, IDLE, (), (), ()) for _ in programs)
        start = (tuple(memory.values()), idle, frozenset([(contents, (IDLE,) * len(programs))]),
                 ((),) * len(programs))
        seen, stack = {start}, [(start, None)]
        while stack:
            state, trace = stack.pop()
            try:
                successors = list(self.successors(state))
                if not successors:
                    self.check_end(state)
            except Violation as violation:
                return Outcome(str(violation), len(seen), unwind(trace))
            for step, successor in successors:
                if successor not in seen:
                    seen.add(successor)
                    stack.append((successor, (trace, step)))
            if len(seen) > self.limit:
                return Outcome("more states than the limit", len(seen), [])
        return Outcome("linearizable", len(seen), [])

    def successors(self, state):
        memory, threads, configurations, results = state
        for number, thread in enumerate(threads):
            if thread.buffer:
                (index, value), rest = thread.buffer[0], thread.buffer[1:]
                yield ((number, "drain", value),
                       (put(memory, index, value), put(threads, number,
                        thread._replace(buffer=rest)), configurations, results))
            if thread.at < len(self.programs[number]):
                yield from self.step(number, *state)

    def step(self, number, memory, threads, configurations, results):
        """One access of a thread. An operation begins with its first access and ends with its last:
        whatever violates the order with a later end or an earlier begin does so like this, too."""
        thread, operation = threads[number], self.programs[number][threads[number].at]
        if thread.phase is IDLE:
            thread = Thread(thread.at, operation.name, operation.arguments, (), thread.buffer)
            configurations = self.begin(configurations, number, operation)
        request = self.request(thread)
        if request.kind == "barrier":
            answered = None if any(t.buffer for t in threads) else (memory, thread.buffer, None)
        else:
            answered = self.answer(memory, thread, request)
        if answered is None:
            return
        memory, buffer, answer = answered
        answers = thread.answers + (answer,)
        thread = Thread(thread.at, thread.phase, thread.arguments, answers, buffer)
        following = self.request(thread)
        while isinstance(following, Next):
            thread = Thread(thread.at, following.phase, following.arguments, (), buffer)
            following = self.request(thread)
        trace = (number, operation.name, request.kind, request.address, answer)
        if isinstance(following, Done):
            trace += ("ends with", following.result)
            configurations = self.finish(configurations, number, operation, following.result)
            thread = Thread(thread.at + 1, IDLE, (), (), buffer)
            if not self.abstract(operation):
                results = put(results, number, results[number] + (following.result,))
        yield trace, (memory, put(threads, number, thread), configurations, results)

    def request(self, thread):
        """The next request of a phase, given its answers so far."""
        key = thread[1:4]
        if key not in self.requests:
            generator = self.phases[thread.phase](self.world, *thread.arguments)
            try:
                request = generator.send(None)
                for answer in thread.answers:
                    request = generator.send(answer)
            except StopIteration as end:
                request = end.value
            self.requests[key] = request
        return self.requests[key]

    def answer(self, memory, thread, request):
        """(memory, buffer, answer) after the request, or None if it has to wait."""
        buffer = thread.buffer
        if request.kind == "broken":
            raise Violation(request.address)
        index = self.addresses[request.address]
        if request.kind in ("load", "until"):
            value = next((v for i, v in reversed(buffer) if i == index), memory[index])
            if request.kind == "load":
                return memory, buffer, value
            return (memory, buffer, None) if request.first(value) else None
        if request.kind == "store" and request.second == PLAIN and self.buffered:
            return memory, buffer + ((index, request.first),), None
        if buffer:
            return None
        if request.kind == "store":
            return put(memory, index, request.first), buffer, None
        if request.kind == "acquire":
            value = memory[index]
            if request.first(value):
                return put(memory, index, request.second(value)), buffer, value
            return None if request.third else (memory, buffer, None)
        if memory[index] != request.first:
            return memory, buffer, False
        return put(memory, index, request.second), buffer, True

    def begin(self, configurations, number, operation):
        key = configurations, number, operation
        if key not in self.begun:
            self.begun[key] = self.closure(self.announced(*key))
        return self.begun[key]

    def announced(self, configurations, number, operation):
        parts = frozenset(range(len(self.abstract(operation))))
        return {(contents, put(statuses, number, Pending(operation, parts, None)))
                for contents, statuses in configurations}

    def closure(self, configurations):
        """Lets the parts of pending operations take effect in every order."""
        out, work = set(configurations), list(configurations)
        while work:
            contents, statuses = work.pop()
            for thread, status in enumerate(statuses):
                for part in status.parts if status else ():
                    after, result = self.abstract(status.operation)[part](contents)
                    moved = status._replace(parts=status.parts - {part}, result=result)
                    successor = (after, put(statuses, thread, moved))
                    if successor not in out:
                        out.add(successor)
                        work.append(successor)
        return frozenset(out)

    def finish(self, configurations, number, operation, result):
        key = configurations, number, operation, result
        if key not in self.finished:
            self.finished[key] = self.explained(*key)
        return self.finished[key]

    def explained(self, configurations, number, operation, result):
        """The configurations that explain the result of an operation that ends."""
        if not self.accepts(self.world, operation, result):
            raise Violation(f"thread {number}: {operation.name} must not answer {result}")
        no_parts = not self.abstract(operation)
        left = frozenset(
            (contents, put(statuses, number, IDLE)) for contents, statuses in configurations
            if not statuses[number].parts and (no_parts or statuses[number].result == result))
        if not left:
            raise Violation(f"thread {number}: no order of the operations explains that "
                            f"{operation.name}{operation.arguments} answers {result}")
        return left

    def check_end(self, state):
        memory, threads, configurations, results = state
        for number, thread in enumerate(threads):
            if thread.at < len(self.programs[number]):
                raise Violation(f"deadlock: thread {number} waits in {thread.phase}")
        at = {address: memory[i] for address, i in self.addresses.items()}
        complaints = [self.settled(self.world, at, contents, results)
                      for contents, _ in configurations]
        if all(complaints):
            raise Violation(f"at the end: {complaints[0]}")


def put(row, index, value):
    return row[:index] + (value,) + row[index + 1:]


def unwind(trace):
    steps = []
    while trace:
        trace, step = trace
        steps.append(step)
    return steps[::-1]
