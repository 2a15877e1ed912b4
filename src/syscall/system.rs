//! Calls about the machine as a whole: its names, its memory and load, random numbers, the kernel's log, power.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{Context, Outcome};
use crate::arch::psci;
use crate::console_log;
use crate::task::cond_resched;
use libkernel::fs::procfs::load_averages;
use libkernel::memory::address::is_user_range;
use libkernel::memory::{PAGE_SIZE, UserPtr, frames};
use libkernel::process::capability::Capability;
use libkernel::process::clock::SECOND;
use libkernel::process::{host, table};
use libkernel::{Errno, Result, log_buffer, machine, random};

const REBOOT_MAGIC: u32 = 0xfee1_dead;
const REBOOT_MAGICS: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
const REBOOT_RESTART: u32 = 0x0123_4567;
const REBOOT_HALT: u32 = 0xcdef_0123;
const REBOOT_POWER_OFF: u32 = 0x4321_fedc;
const REBOOT_CAD_ON: u32 = 0x89ab_cdef;
const REBOOT_CAD_OFF: u32 = 0;

/// Flags of getrandom(2).
const RANDOM_NON_BLOCK: u32 = 1;
const RANDOM_RANDOM: u32 = 2;
const RANDOM_INSECURE: u32 = 4;
/// Bytes that one getrandom(2) makes without looking whether others want to run.
const RANDOM_AT_ONCE: usize = 16 * 1024;
/// Most bytes that one getrandom(2) returns.
const RANDOM_MAX: usize = (i32::MAX as usize) / PAGE_SIZE * PAGE_SIZE;

/// Actions of syslog(2).
const SYSLOG_CLOSE: i32 = 0;
const SYSLOG_OPEN: i32 = 1;
const SYSLOG_READ_ALL: i32 = 3;
const SYSLOG_READ_CLEAR: i32 = 4;
const SYSLOG_CLEAR: i32 = 5;
const SYSLOG_CONSOLE_OFF: i32 = 6;
const SYSLOG_CONSOLE_ON: i32 = 7;
const SYSLOG_CONSOLE_LEVEL: i32 = 8;
const SYSLOG_SIZE_BUFFER: i32 = 10;

fn demand(cx: &Context, capability: Capability) -> Result<()> {
    let held = cx.thread.with_credentials(|credentials| credentials.has(capability));
    if held { Ok(()) } else { Err(Errno::EPERM) }
}

/// uname(2).
pub fn uname(cx: &mut Context, names: UserPtr<[host::Field; 6]>) -> Result<usize> {
    cx.space().write_value(names, host::names())?;
    Ok(0)
}

/// A name that a program sets.
fn read_name(cx: &Context, name: UserPtr<u8>, length: i32) -> Result<([u8; host::NAME_MAX], usize)> {
    demand(cx, Capability::SysAdmin)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= host::NAME_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = [0; host::NAME_MAX];
    cx.space().read_bytes(name, bytes.get_mut(..length).unwrap_or_default())?;
    Ok((bytes, length))
}

/// sethostname(2).
pub fn sethostname(cx: &mut Context, name: UserPtr<u8>, length: i32) -> Result<usize> {
    let (bytes, length) = read_name(cx, name, length)?;
    host::set_host_name(bytes.get(..length).unwrap_or(&bytes))?;
    Ok(0)
}

/// setdomainname(2).
pub fn setdomainname(cx: &mut Context, name: UserPtr<u8>, length: i32) -> Result<usize> {
    let (bytes, length) = read_name(cx, name, length)?;
    host::set_domain_name(bytes.get(..length).unwrap_or(&bytes))?;
    Ok(0)
}

/// sysinfo(2). The fields of `struct sysinfo`, 112 bytes, as words; the unit of memory is a byte.
pub fn sysinfo(cx: &mut Context, info: UserPtr<[u64; 14]>) -> Result<usize> {
    let page = PAGE_SIZE as u64;
    let uptime = machine::monotonic_ns().div_ceil(SECOND);
    let processes = u16::try_from(table::thread_count()).unwrap_or(u16::MAX);
    let [total, free] = [frames::total(), frames::free_count()].map(|frames| frames as u64 * page);
    // In units of 1/65536 (SI_LOAD_SHIFT), as the averages are.
    let [one, five, fifteen] = load_averages();
    let words = [uptime, one, five, fifteen, total, free, 0, 0, 0, 0, u64::from(processes), 0, 0, 1];
    cx.space().write_value(info, words)?;
    Ok(0)
}

/// getcpu(2): the core, and the memory node, of which there is one.
pub fn getcpu(cx: &mut Context, core: UserPtr<u32>, node: UserPtr<u32>) -> Result<usize> {
    if !core.is_null() {
        cx.space().write_value(core, machine::core_id() as u32)?;
    }
    if !node.is_null() {
        cx.space().write_value(node, 0)?;
    }
    Ok(0)
}

/// getrandom(2): what is done at once.
pub fn getrandom(cx: &mut Context, buffer: UserPtr<u8>, length: usize, flags: u32) -> Outcome {
    match check_random(buffer, length, flags) {
        Ok(length) if length > RANDOM_AT_ONCE => Outcome::Block,
        checked => checked.and_then(|length| give_random(cx, buffer, length)).into(),
    }
}

/// getrandom(2) of so much that others have to run in between.
pub async fn getrandom_blocking(cx: &mut Context, buffer: UserPtr<u8>, length: usize, flags: u32) -> Result<usize> {
    let length = check_random(buffer, length, flags)?;
    let mut done = 0;
    while done < length {
        let step = RANDOM_AT_ONCE.min(length - done);
        match give_random(cx, buffer.add(done), step) {
            Ok(given) => done += given,
            Err(error) => return if done == 0 { Err(error) } else { Ok(done) },
        }
        // A long request is cut short by a signal, as reads are.
        if cx.is_interrupted() {
            break;
        }
        cond_resched().await;
    }
    Ok(done)
}

/// How many bytes a request may have.
fn check_random(buffer: UserPtr<u8>, length: usize, flags: u32) -> Result<usize> {
    let both = RANDOM_RANDOM | RANDOM_INSECURE;
    if flags & !(RANDOM_NON_BLOCK | both) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    // All of it must be user memory, though no call fills that much.
    if !is_user_range(buffer.addr(), length.min(isize::MAX as usize)) {
        return Err(Errno::EFAULT);
    }
    Ok(length.min(RANDOM_MAX))
}

/// Writes random bytes; as many as can be written.
fn give_random(cx: &Context, buffer: UserPtr<u8>, length: usize) -> Result<usize> {
    let mut done = 0;
    let mut chunk = [0; 256];
    while done < length {
        let step = chunk.len().min(length - done);
        let bytes = chunk.get_mut(..step).unwrap_or_default();
        random::fill(bytes);
        match cx.space().write_bytes(buffer.add(done), bytes) {
            Ok(()) => done += step,
            Err(error) => return if done == 0 { Err(error) } else { Ok(done) },
        }
    }
    Ok(done)
}

/// syslog(2). What waits for lines to come is not there: `SYSLOG_ACTION_READ` is `EINVAL`.
pub fn syslog(cx: &mut Context, action: i32, buffer: UserPtr<u8>, length: i32) -> Result<usize> {
    demand(cx, Capability::Syslog)?;
    match action {
        SYSLOG_CLOSE | SYSLOG_OPEN => {}
        SYSLOG_READ_ALL | SYSLOG_READ_CLEAR => {
            let length = usize::try_from(length).ok().filter(|_| !buffer.is_null()).ok_or(Errno::EINVAL)?;
            return read_log(cx, buffer, length, action == SYSLOG_READ_CLEAR);
        }
        SYSLOG_CLEAR => console_log::BUFFER.lock().clear(),
        SYSLOG_CONSOLE_OFF => console_log::set_console_off(true),
        SYSLOG_CONSOLE_ON => console_log::set_console_off(false),
        SYSLOG_CONSOLE_LEVEL => {
            let level = u8::try_from(length).ok().filter(|level| (1..=8).contains(level)).ok_or(Errno::EINVAL)?;
            console_log::set_console_level(level);
        }
        SYSLOG_SIZE_BUFFER => return Ok(log_buffer::CAPACITY),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Copies the last lines by way of the kernel's memory, for user memory may have to be fetched and the log's lock does not wait.
fn read_log(cx: &Context, buffer: UserPtr<u8>, length: usize, clear: bool) -> Result<usize> {
    if !is_user_range(buffer.addr(), length) {
        return Err(Errno::EFAULT);
    }
    let mut bytes = Vec::new();
    let length = length.min(log_buffer::CAPACITY);
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    let read = console_log::BUFFER.lock().read(&mut bytes);
    cx.space().write_bytes(buffer, bytes.get(..read).unwrap_or_default())?;
    if clear {
        console_log::BUFFER.lock().clear();
    }
    Ok(read)
}

/// reboot(2).
pub fn reboot(cx: &mut Context, magic: u32, magic2: u32, command: u32, _argument: u64) -> Result<usize> {
    demand(cx, Capability::SysBoot)?;
    if magic != REBOOT_MAGIC || !REBOOT_MAGICS.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        REBOOT_RESTART => {
            log::info!("restarting");
            psci::restart()
        }
        REBOOT_POWER_OFF | REBOOT_HALT => {
            log::info!("power off");
            psci::power_off()
        }
        // There is no Ctrl-Alt-Del here; the switch for it may be set either way.
        REBOOT_CAD_ON | REBOOT_CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
