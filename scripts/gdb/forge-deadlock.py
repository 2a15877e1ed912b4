"""For scripts/gdb-test.sh: makes cores 0 and 1 of a stopped guest look as if each waited for a lock that the other holds.

The guest must not go on afterwards.
"""

import gdb


def forge():
    inferior = gdb.selected_inferior()
    held_type = gdb.lookup_type("libkernel::sync::lockdep::checker::Held")
    tasks = elements(static("libkernel::task::registry::REGISTRY")["value"]["value"]["tasks"])
    places = (number(Task(address).value["waiting"]) for address in tasks if address)
    place = next(place for place in places if place)
    locks = [0x1000, 0x2000]

    def write(address, value):
        inferior.write_memory(address, value.to_bytes(8, "little"))

    for core, stack in per_core("libkernel::sync::lockdep::checker::STACK"):
        if core > 1:
            break
        slot = int(stack["held"][0].address)
        entry = gdb.Value(slot).cast(held_type.pointer()).dereference()
        write(int(entry["address"].address), locks[core])
        write(int(entry["place"].address), place)
        write(int(stack["depth"].address), 1)
        write(int(stack["wanted"].address), locks[1 - core])
        write(int(stack["wanted_at"].address), place)


with Privileged():
    forge()
