//! prctl(2): settings of the calling thread and its process.
#![forbid(unsafe_code)]

use super::{Context, credentials};
use libkernel::memory::UserPtr;
use libkernel::process::Dumpable;
use libkernel::process::capability::{Capability, CapabilitySet};
use libkernel::process::credentials::{Credentials, SecureBits};
use libkernel::process::name::{NAME_SIZE, Name};
use libkernel::signal::Signal;
use libkernel::{Errno, Result};
use linux_raw_sys::prctl as abi;

/// Sub-operations of `PR_CAP_AMBIENT`.
const AMBIENT_IS_SET: u64 = 1;
const AMBIENT_RAISE: u64 = 2;
const AMBIENT_LOWER: u64 = 3;
const AMBIENT_CLEAR_ALL: u64 = 4;

/// prctl(2).
pub fn prctl(cx: &mut Context, operation: u32, a: u64, b: u64, c: u64, d: u64) -> Result<usize> {
    let process = cx.thread.process().clone();
    let unused = |values: &[u64]| if values.iter().all(|value| *value == 0) { Ok(()) } else { Err(Errno::EINVAL) };
    match operation {
        abi::PR_SET_PDEATHSIG => {
            let signal = if a == 0 { None } else { Some(Signal::new(i32::try_from(a).map_err(|_| Errno::EINVAL)?)?) };
            process.set_death_signal(signal);
            Ok(0)
        }
        abi::PR_GET_PDEATHSIG => {
            let number = process.death_signal().map_or(0, |signal| signal.number());
            cx.space().write_value(UserPtr::<i32>::new(a), number)?;
            Ok(0)
        }
        abi::PR_SET_DUMPABLE => {
            process.set_dumpable(match a {
                0 => Dumpable::No,
                1 => Dumpable::Yes,
                _ => return Err(Errno::EINVAL),
            });
            Ok(0)
        }
        abi::PR_GET_DUMPABLE => Ok(process.dumpable() as usize),
        abi::PR_SET_NAME => set_name(cx, UserPtr::new(a)),
        abi::PR_GET_NAME => {
            cx.space().write_bytes(UserPtr::new(a), cx.thread.name().as_array())?;
            Ok(0)
        }
        abi::PR_SET_NO_NEW_PRIVS if a == 1 => {
            unused(&[b, c, d])?;
            credentials::change(
                &cx.thread,
                Credentials { no_new_privileges: true, ..(*cx.thread.credentials()).clone() },
            );
            Ok(0)
        }
        abi::PR_GET_NO_NEW_PRIVS => {
            unused(&[a, b, c, d])?;
            Ok(usize::from(cx.thread.with_credentials(|credentials| credentials.no_new_privileges)))
        }
        abi::PR_SET_CHILD_SUBREAPER => {
            process.set_subreaper(a != 0);
            Ok(0)
        }
        abi::PR_GET_CHILD_SUBREAPER => {
            let value = i32::from(process.is_subreaper());
            cx.space().write_value(UserPtr::<i32>::new(a), value)?;
            Ok(0)
        }
        abi::PR_SET_TIMERSLACK => {
            cx.thread.set_timer_slack(Some(a).filter(|slack| *slack != 0 && *slack <= i64::MAX as u64));
            Ok(0)
        }
        abi::PR_GET_TIMERSLACK => Ok(cx.thread.timer_slack() as usize),
        // Transparent huge pages and machine-check policies do not exist here: the calls that ask say so.
        abi::PR_GET_THP_DISABLE => {
            unused(&[a, b, c, d])?;
            Ok(0)
        }
        abi::PR_GET_TIMING => Ok(abi::PR_TIMING_STATISTICAL as usize),
        abi::PR_SET_TIMING if a == u64::from(abi::PR_TIMING_STATISTICAL) => Ok(0),
        abi::PR_GET_SECCOMP => Ok(0),
        _ => capability_operation(cx, operation, a, b, c, d),
    }
}

fn capability_operation(cx: &Context, operation: u32, a: u64, b: u64, c: u64, d: u64) -> Result<usize> {
    let old = cx.thread.credentials();
    let capability = |number: u64| u32::try_from(number).ok().and_then(Capability::from_number).ok_or(Errno::EINVAL);
    let new = match operation {
        abi::PR_GET_KEEPCAPS => return Ok(usize::from(old.securebits.contains(SecureBits::KEEP_CAPS))),
        abi::PR_SET_KEEPCAPS if a <= 1 => old.set_keep_caps(a == 1)?,
        abi::PR_GET_SECUREBITS => return Ok(old.securebits.bits() as usize),
        abi::PR_SET_SECUREBITS => old.set_securebits(u32::try_from(a).map_err(|_| Errno::EPERM)?)?,
        abi::PR_CAPBSET_READ => return Ok(usize::from(old.capabilities.bounding.has(capability(a)?))),
        abi::PR_CAPBSET_DROP => old.drop_bounding(capability(a)?)?,
        abi::PR_CAP_AMBIENT if c == 0 && d == 0 => match a {
            AMBIENT_IS_SET => return Ok(usize::from(old.capabilities.ambient.has(capability(b)?))),
            AMBIENT_RAISE => old.raise_ambient(capability(b)?)?,
            AMBIENT_LOWER => old.lower_ambient(CapabilitySet::FULL.without(capability(b)?)),
            AMBIENT_CLEAR_ALL if b == 0 => old.lower_ambient(CapabilitySet::EMPTY),
            _ => return Err(Errno::EINVAL),
        },
        _ => return Err(Errno::EINVAL),
    };
    credentials::change(&cx.thread, new);
    Ok(0)
}

/// `PR_SET_NAME`: up to sixteen bytes, as far as the string goes.
fn set_name(cx: &Context, text: UserPtr<u8>) -> Result<usize> {
    let mut bytes = [0; NAME_SIZE];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = cx.space().read_value(text.add(index))?;
        if *byte == 0 {
            break;
        }
    }
    cx.thread.set_name(Name::new(&bytes));
    Ok(0)
}
