"""gdb commands that know Lichen's structures. Sourced by scripts/gdb.sh.

lichen-cores works with any build. The others need a kernel with all types and the debug assertions (the profile "gdb"): only
that one keeps a list of its tasks and of the locks that its cores hold. Nothing here runs code in the guest; everything is read
from its memory while it stands still.
"""

import os

import gdb

MILLISECOND = 1_000_000
NICE_0_WEIGHT = 1024
READY, RUNNING, FINISHED = 1, 2, 4


def static(name):
    """The value of a Rust static."""
    symbol = gdb.lookup_static_symbol(name) or gdb.lookup_global_symbol(name)
    if symbol is None:
        raise gdb.GdbError(f"no {name}: this needs a kernel built with the profile gdb (just gdb)")
    return symbol.value()


def core_of(value):
    """What is inside wrappers such as UnsafeCell, MaybeUninit, NonNull or Arc: a number, a pointer, or a real structure."""
    value_type = value.type.strip_typedefs()
    while value_type.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        fields = [field for field in value_type.fields() if field.type.sizeof > 0]
        if len(fields) != 1:
            break
        value = value[fields[0]]
        value_type = value.type.strip_typedefs()
    return value


def number(value):
    """An integer or an address inside wrappers."""
    return int(core_of(value))


def elements(vector):
    """The elements of a Vec of words."""
    word = gdb.lookup_type("usize")
    start = gdb.Value(number(vector["buf"]["inner"]["ptr"])).cast(word.pointer())
    return [int(start[index]) for index in range(int(vector["len"]))]


def word_at(address):
    return int.from_bytes(gdb.selected_inferior().read_memory(address, 8).tobytes(), "little")


def bytes_at(address, length):
    return gdb.selected_inferior().read_memory(address, length).tobytes()


def location(address):
    """A core::panic::Location as file:line: the file's name (address, length), then line and column."""
    if address == 0:
        return "?"
    line = int.from_bytes(bytes_at(address + 16, 4), "little")
    return f"{bytes_at(word_at(address), word_at(address + 8)).decode(errors='replace')}:{line}"


def milliseconds(nanoseconds):
    return f"{nanoseconds / MILLISECOND:.3f} ms"


def online_cores():
    return number(static("lichen::ONLINE"))


def per_core(name):
    """(core, value) of a per_cpu! static, for the cores that are online."""
    slots = static(name)["slots"]
    for core in range(online_cores()):
        yield core, slots[core]["value"]["value"]


class Task:
    """A task, by the address of its `Task` structure."""

    def __init__(self, address):
        self.address = address
        self.value = gdb.Value(address).cast(gdb.lookup_type("libkernel::task::task::Task").pointer()).dereference()

    @classmethod
    def of_handle(cls, handle):
        """Of a Runnable or an Arc<Task>, which may be absent."""
        inner = word_at(int(handle.address))
        if inner == 0:
            return None
        data = gdb.lookup_type("alloc::sync::ArcInner<libkernel::task::task::Task>")
        field = next(field for field in data.fields() if field.name == "data")
        return cls(inner + field.bitpos // 8)

    def id(self):
        return number(self.value["id"])

    def name(self):
        return bytes_at(int(self.value["name"].address), 16).split(b"\0")[0].decode(errors="replace")

    def state(self):
        bits = number(self.value["state"])
        if bits & FINISHED:
            return "finished"
        if bits & RUNNING:
            return "running, woken" if bits & READY else "running"
        return "ready" if bits & READY else "asleep"

    def core(self):
        return number(self.value["accounting"]["last_core"])

    def waits_at(self):
        return location(number(self.value["waiting"]))

    def entity(self):
        return self.value["scheduling"]["value"]["entity"]

    def __str__(self):
        return f"task {self.id()} ({self.name()})"


class Privileged:
    """While it lasts, the selected core reads memory as the kernel does, even if it stopped in user mode."""

    def __enter__(self):
        self.state = int(gdb.parse_and_eval("$cpsr"))
        if self.state & 0xC == 0:
            gdb.execute(f"set $cpsr = {self.state & ~0xF | 5}")

    def __exit__(self, *_):
        gdb.execute(f"set $cpsr = {self.state}")


class Command(gdb.Command):
    """A command that takes no arguments; its documentation's first word is its name. It reads with the kernel's rights."""

    privileged = True

    def __init__(self):
        super().__init__(self.__doc__.split(":")[0], gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        if not self.privileged:
            return self.show()
        with Privileged():
            self.show()


class Cores(Command):
    """lichen-cores: where each core is (program counter, function, exception level)."""

    privileged = False

    def show(self):
        selected = gdb.selected_thread()
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
            thread.switch()
            frame = gdb.newest_frame()
            level = (int(gdb.parse_and_eval("$cpsr")) >> 2) & 3
            name = frame.name() or "?"
            print(f"core {thread.num - 1}: EL{level} pc {frame.pc():#x} {name}")
        if selected is not None:
            selected.switch()


class Tasks(Command):
    """lichen-tasks: every task, its core, what it does, and where it waits if it sleeps."""

    def show(self):
        registry = static("libkernel::task::registry::REGISTRY")["value"]["value"]
        tasks = [Task(address) for address in elements(registry["tasks"]) if address]
        for task in sorted(tasks, key=Task.id):
            state = task.state()
            where = f" at {task.waits_at()}" if state == "asleep" else ""
            print(f"{task}: core {task.core()}, {state}{where}")
        print(f"{len(tasks)} tasks")


class Queues(Command):
    """lichen-queues: each core's run queue, in the order of deadlines, with lag, deadline and slice."""

    def show(self):
        for core, queue in per_core("lichen::sched::QUEUE"):
            fair, realtime = queue["fair"], queue["realtime"]
            current = [task for task in (Task.of_handle(part["current"]) for part in (realtime, fair)) if task]
            waiting = list(self.walk(fair["waiting"]))
            others = list(self.walk(realtime["waiting"]))
            print(f"core {core}: {len(current) + len(waiting) + len(others)} runnable")
            now = self.virtual_time(fair)
            for task in current:
                print(f"  runs  {self.describe(task, now)}")
            for task in others:
                print(f"  waits {task}: real-time, priority {int(task.entity()['priority'])}")
            for task in waiting:
                print(f"  waits {self.describe(task, now)}")

    def walk(self, tree):
        first = Task.of_handle(tree["first"])
        if first is not None:
            yield first
        yield from self.subtree(tree["root"])

    def subtree(self, handle):
        task = Task.of_handle(handle)
        if task is None:
            return
        links = task.entity()["links"]
        yield from self.subtree(links["left"])
        yield task
        yield from self.subtree(links["right"])

    @staticmethod
    def virtual_time(fair):
        """The weighted average of the virtual runtimes, the running task's included."""
        average = fair["average"]
        origin, weight = int(average["origin"]), int(average["weight"])
        weighted = int.from_bytes(bytes_at(int(average["weighted"].address), 16), "little", signed=True)
        current = Task.of_handle(fair["current"])
        if current is not None:
            entity = current.entity()
            distance = (int(entity["vruntime"]) - origin + 2**63) % 2**64 - 2**63
            weighted += distance * int(entity["weight"])
            weight += int(entity["weight"])
        return origin + (weighted // weight if weight else 0)

    @staticmethod
    def describe(task, now):
        entity = task.entity()
        vruntime, deadline = int(entity["vruntime"]), int(entity["deadline"])
        signed = lambda value: (value + 2**63) % 2**64 - 2**63
        return (
            f"{task}: lag {milliseconds(signed(now - vruntime))}, deadline {milliseconds(signed(deadline - now))}"
            f" from now, slice {milliseconds(int(entity['slice']))}, weight {int(entity['weight'])}"
        )


class Inboxes(Command):
    """lichen-inboxes: the messages that each core has still to receive, the oldest first."""

    def show(self):
        inboxes = static("libkernel::message::cores::INBOXES")
        for core, reader in per_core("libkernel::message::cores::READER"):
            taken = self.chain(number(reader["first"]))
            new = self.chain(number(self.inbox(inboxes[core])["last"]))
            kinds = taken + new[::-1]
            print(f"core {core}: {len(kinds)} messages{''.join(' ' + kind for kind in kinds)}")

    @staticmethod
    def inbox(slot):
        return next(slot[field] for field in slot.type.fields() if field.type.sizeof > 0)

    @staticmethod
    def chain(address):
        node_type = gdb.lookup_type("libkernel::message::inbox::Node<libkernel::message::Kind>")
        kinds = []
        while address and len(kinds) < 10_000:
            node = gdb.Value(address).cast(node_type.pointer()).dereference()
            kinds.append(str(node["tag"]).split("::")[-1].strip("(){} "))
            address = number(node["next"])
        return kinds


class Held:
    """A lock that a core holds."""

    def __init__(self, value):
        self.address = number(value["address"])
        self.place = location(number(value["place"]))


def lock_stacks():
    """(core, the locks that it holds, the lock that it waits for and where, or None) for each core."""
    held_type = gdb.lookup_type("libkernel::sync::lockdep::checker::Held")
    for core, stack in per_core("libkernel::sync::lockdep::checker::STACK"):
        entries = stack["held"]
        held = []
        for index in range(int(stack["depth"])):
            entry = gdb.Value(int(entries[index].address)).cast(held_type.pointer()).dereference()
            held.append(Held(entry))
        wanted = number(stack["wanted"])
        place = location(word_at(int(stack["wanted_at"].address)))
        waits = wanted != 0 and all(lock.address != wanted for lock in held)
        yield core, held, (wanted, place) if waits else None


class Locks(Command):
    """lichen-locks: the locks that each core holds, and where it took them."""

    def show(self):
        for core, held, wanted in lock_stacks():
            print(f"core {core}: holds {len(held)}")
            for lock in held:
                print(f"  {lock.address:#x} since {lock.place}")
            if wanted is not None:
                print(f"  waits for {wanted[0]:#x} at {wanted[1]}")


class Deadlock(Command):
    """lichen-deadlock: the cores that wait for one another's locks in a circle."""

    def show(self):
        stacks = list(lock_stacks())
        owners = {lock.address: (core, lock) for core, held, _ in stacks for lock in held}
        wants = {core: wanted for core, _, wanted in stacks if wanted is not None and wanted[0] in owners}
        for start in wants:
            path, core = [], start
            while core in wants and core not in path:
                path.append(core)
                core = owners[wants[core][0]][0]
            if core == start:
                for member in path:
                    address, place = wants[member]
                    owner, lock = owners[address]
                    print(f"core {member} waits at {place} for {address:#x}, which core {owner} holds since {lock.place}")
                return
        print("no deadlock")


for command in (Cores, Tasks, Queues, Inboxes, Locks, Deadlock):
    command()

# The compiler was told to call the place of the sources /lichen.
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
gdb.execute(f"set substitute-path /lichen {TOP}")
