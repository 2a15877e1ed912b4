//! `sched` and `schedstat` of a thread: how the scheduler sees it (proc(5)).
#![forbid(unsafe_code)]

use super::process::{Subject, name};
use crate::Result;
use crate::fs::virtual_fs::Text;
use crate::process::schedule::Attributes;
use crate::task;

/// `schedstat`: nanoseconds run, nanoseconds waited for a core, turns.
pub fn statistics(subject: &Subject, text: &mut Text) -> Result<()> {
    let thread = subject.thread()?;
    let Some(task) = thread.task() else { return text.push(b"0 0 0\n") };
    let accounting = task.accounting();
    let run = thread.processor_time().total;
    text.write_fmt(format_args!("{run} {} {}\n", accounting.delay(), accounting.runs.get()))
}

/// Nanoseconds as milliseconds with six places.
fn milliseconds(text: &mut Text, name: &str, ns: i64) -> Result<()> {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let value = alloc::format!("{sign}{}.{:06}", ns / 1_000_000, ns % 1_000_000);
    text.write_fmt(format_args!("{name:<45}:{value:>21}\n"))
}

fn number(text: &mut Text, name: &str, value: u64) -> Result<()> {
    text.write_fmt(format_args!("{name:<45}:{value:>21}\n"))
}

/// `sched`: virtual times in milliseconds, and what was counted. Lag and deadline, which is a distance from the virtual runtime, are
/// Lichen's own lines.
pub fn sched(subject: &Subject, text: &mut Text) -> Result<()> {
    let thread = subject.thread()?;
    text.push(name(subject).as_bytes())?;
    text.write_fmt(format_args!(" ({}, #threads: {})\n{:->67}\n", subject.id(), subject.process.thread_count(), ""))?;
    let Some(task) = thread.task() else { return Ok(()) };
    let accounting = task.accounting();
    if let Some(facts) = task::inspect(task) {
        milliseconds(text, "se.vruntime", facts.vruntime as i64)?;
        milliseconds(text, "se.deadline", facts.relative_deadline() as i64)?;
        milliseconds(text, "se.vlag", facts.lag)?;
        milliseconds(text, "se.slice", facts.slice as i64)?;
        number(text, "se.load.weight", u64::from(facts.weight))?;
    }
    milliseconds(text, "se.sum_exec_runtime", thread.processor_time().total as i64)?;
    number(text, "se.nr_migrations", accounting.migrations.get())?;
    let (voluntary, involuntary) = (accounting.voluntary_switches.get(), accounting.involuntary_switches.get());
    number(text, "nr_switches", voluntary + involuntary)?;
    number(text, "nr_voluntary_switches", voluntary)?;
    number(text, "nr_involuntary_switches", involuntary)?;
    let attributes = Attributes::of(task.parameters());
    number(text, "policy", u64::from(attributes.policy_number()))?;
    let priority = match attributes.priority {
        0 => 120 + i64::from(attributes.nice),
        realtime => 99 - i64::from(realtime),
    };
    number(text, "prio", priority as u64)?;
    number(text, "cpu", accounting.last_core() as u64)
}
