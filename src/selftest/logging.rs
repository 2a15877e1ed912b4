//! The log from everywhere at once: from tasks and their first steps, timer interrupts, messages, and under locks, on all cores. What came
//! out is judged by `scripts/log-test.sh`, which reads the serial line: whole lines, each of them once.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;

use libkernel::machine;
use libkernel::message::{self, remote_call};
use libkernel::per_cpu;
use libkernel::sync::IrqSpinLock;
use libkernel::task::yield_now;
use libkernel::time::Alarm;

use super::tools::{Tally, gone, spawn_on};
use super::{Cx, Outcome, SelfTest};

/// The tests of this room.
pub const TESTS: &[SelfTest] = &[self_test!("logging", a_storm_of_lines).within(60).by_name()];

/// From each source on each core.
const LINES: usize = 50;

fn say(source: &str, core: usize, number: usize) {
    log::warn!("storm {source} {core} {number} {:=<60}", "");
}

/// Says a line from the timer interrupt.
struct Bell {
    core: usize,
    rung: Arc<Tally>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        say("timer", self.core, self.rung.get());
        self.rung.add();
    }
}

per_cpu! {
    static BORROWED: u32 = 0;
}

static LOCK: IrqSpinLock<()> = IrqSpinLock::new(());

async fn a_storm_of_lines(cx: &Cx) -> Outcome {
    let (cores, done) = (crate::online_cores(), Tally::new());
    for core in 0..cores {
        let ended = done.clone();
        spawn_on(core, async move {
            for number in 0..LINES {
                say("task", core, number);
                yield_now().await;
            }
            ended.add();
        });
        let ended = done.clone();
        spawn_on(core, async move {
            for number in 0..LINES {
                gone(&spawn_on(core, async move { say("birth", core, number) })).await;
            }
            ended.add();
        });
        let ended = done.clone();
        spawn_on(core, async move {
            let (mut alarm, rung) = (Alarm::new(), Tally::new());
            let waker = Waker::from(Arc::new(Bell { core, rung: rung.clone() }));
            for number in 0..LINES {
                alarm.set(machine::monotonic_ns() + 20_000, &waker);
                rung.reach(number + 1).await;
            }
            ended.add();
        });
        let ended = done.clone();
        spawn_on(core, async move {
            for number in 0..LINES {
                BORROWED.with(|_| {
                    let _held = LOCK.lock();
                    say("masked", core, number);
                });
                yield_now().await;
            }
            ended.add();
        });
        let ended = done.clone();
        spawn_on((core + 1) % cores, async move {
            for number in 0..LINES {
                if core != machine::core_id() {
                    let (call, answer) = remote_call(move || say("message", core, number));
                    message::send(core, call);
                    answer.wait().await;
                }
            }
            ended.add();
        });
    }
    done.reach(5 * cores).await;
    cx.report(format_args!("{LINES} lines of each source on {cores} cores"));
    Ok(())
}
