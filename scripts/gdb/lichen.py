"""gdb commands that know Lichen's structures. Sourced by scripts/gdb.sh."""

import gdb


class Cores(gdb.Command):
    """lichen-cores: where each core is (program counter, function, exception level)."""

    def __init__(self):
        super().__init__("lichen-cores", gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        selected = gdb.selected_thread()
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
            thread.switch()
            frame = gdb.newest_frame()
            level = (int(gdb.parse_and_eval("$cpsr")) >> 2) & 3
            name = frame.name() or "?"
            print(f"core {thread.num - 1}: EL{level} pc {frame.pc():#x} {name}")
        if selected is not None:
            selected.switch()


Cores()
