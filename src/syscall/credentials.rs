//! Calls about whose rights a thread has: user and group ids, supplementary groups, capabilities (credentials(7),
//! capabilities(7)). The rules are `libkernel::process::credentials`'; here is the passing in and out.
#![forbid(unsafe_code)]

use super::Context;
use alloc::sync::Arc;
use alloc::vec::Vec;
use libkernel::memory::UserPtr;
use libkernel::process::capability::CapabilitySet;
use libkernel::process::credentials::{Credentials, GROUPS_MAX};
use libkernel::process::{Gid, Pid, Thread, Uid, table};
use libkernel::{Errno, Result};

/// Version of the capability interface with two 32-bit words (`_LINUX_CAPABILITY_VERSION_3`).
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// The same layout under its older number.
const CAPABILITY_VERSION_2: u32 = 0x2007_1026;
/// One 32-bit word.
const CAPABILITY_VERSION_1: u32 = 0x1998_0330;

fn look<R>(cx: &Context, action: impl FnOnce(&Credentials) -> R) -> R {
    cx.thread.with_credentials(action)
}

fn adopt(cx: &Context, credentials: Credentials) -> Result<usize> {
    change(&cx.thread, credentials);
    Ok(0)
}

/// Gives `thread` new credentials. A change of effective ids ends what the old ones allowed others (prctl(2),
/// `PR_SET_DUMPABLE` and `PR_SET_PDEATHSIG`).
pub(super) fn change(thread: &Thread, new: Credentials) {
    let old = thread.credentials();
    let ids = |credentials: &Credentials| {
        let (uid, gid) = (credentials.uid, credentials.gid);
        (uid.effective, uid.file_system, gid.effective, gid.file_system)
    };
    let gains = !new.capabilities.permitted.is_subset_of(old.capabilities.permitted);
    if ids(&old) != ids(&new) || gains {
        thread.process().set_dumpable(libkernel::process::Dumpable::No);
        thread.process().set_death_signal(None);
    }
    thread.set_credentials(Arc::new(new));
}

fn uid(raw: u32) -> Result<Uid> {
    Uid::new(raw).ok_or(Errno::EINVAL)
}

fn gid(raw: u32) -> Result<Gid> {
    Gid::new(raw).ok_or(Errno::EINVAL)
}

/// getuid(2).
pub fn getuid(cx: &mut Context) -> Result<usize> {
    Ok(look(cx, |credentials| credentials.uid.real.raw()) as usize)
}

/// geteuid(2).
pub fn geteuid(cx: &mut Context) -> Result<usize> {
    Ok(look(cx, |credentials| credentials.uid.effective.raw()) as usize)
}

/// getgid(2).
pub fn getgid(cx: &mut Context) -> Result<usize> {
    Ok(look(cx, |credentials| credentials.gid.real.raw()) as usize)
}

/// getegid(2).
pub fn getegid(cx: &mut Context) -> Result<usize> {
    Ok(look(cx, |credentials| credentials.gid.effective.raw()) as usize)
}

/// getresuid(2).
pub fn getresuid(cx: &mut Context, real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> Result<usize> {
    let ids = look(cx, |credentials| credentials.uid);
    let space = cx.space();
    space.write_value(real, ids.real.raw())?;
    space.write_value(effective, ids.effective.raw())?;
    space.write_value(saved, ids.saved.raw())?;
    Ok(0)
}

/// getresgid(2).
pub fn getresgid(cx: &mut Context, real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) -> Result<usize> {
    let ids = look(cx, |credentials| credentials.gid);
    let space = cx.space();
    space.write_value(real, ids.real.raw())?;
    space.write_value(effective, ids.effective.raw())?;
    space.write_value(saved, ids.saved.raw())?;
    Ok(0)
}

/// setuid(2).
pub fn setuid(cx: &mut Context, id: u32) -> Result<usize> {
    let id = uid(id)?;
    let new = look(cx, |credentials| credentials.set_uid(id))?;
    adopt(cx, new)
}

/// setgid(2).
pub fn setgid(cx: &mut Context, id: u32) -> Result<usize> {
    let id = gid(id)?;
    let new = look(cx, |credentials| credentials.set_gid(id))?;
    adopt(cx, new)
}

/// setreuid(2).
pub fn setreuid(cx: &mut Context, real: u32, effective: u32) -> Result<usize> {
    let new = look(cx, |credentials| credentials.set_reuid(Uid::new(real), Uid::new(effective)))?;
    adopt(cx, new)
}

/// setregid(2).
pub fn setregid(cx: &mut Context, real: u32, effective: u32) -> Result<usize> {
    let new = look(cx, |credentials| credentials.set_regid(Gid::new(real), Gid::new(effective)))?;
    adopt(cx, new)
}

/// setresuid(2).
pub fn setresuid(cx: &mut Context, real: u32, effective: u32, saved: u32) -> Result<usize> {
    let new = look(cx, |old| old.set_resuid(Uid::new(real), Uid::new(effective), Uid::new(saved)))?;
    adopt(cx, new)
}

/// setresgid(2).
pub fn setresgid(cx: &mut Context, real: u32, effective: u32, saved: u32) -> Result<usize> {
    let new = look(cx, |old| old.set_resgid(Gid::new(real), Gid::new(effective), Gid::new(saved)))?;
    adopt(cx, new)
}

/// setfsuid(2): returns the old id, whether or not it was changed.
pub fn setfsuid(cx: &mut Context, id: u32) -> Result<usize> {
    let old = look(cx, |credentials| credentials.uid.file_system);
    if let Some(new) = Uid::new(id).and_then(|id| look(cx, |credentials| credentials.set_fsuid(id))) {
        adopt(cx, new)?;
    }
    Ok(old.raw() as usize)
}

/// setfsgid(2): returns the old id, whether or not it was changed.
pub fn setfsgid(cx: &mut Context, id: u32) -> Result<usize> {
    let old = look(cx, |credentials| credentials.gid.file_system);
    if let Some(new) = Gid::new(id).and_then(|id| look(cx, |credentials| credentials.set_fsgid(id))) {
        adopt(cx, new)?;
    }
    Ok(old.raw() as usize)
}

/// getgroups(2).
pub fn getgroups(cx: &mut Context, size: i32, list: UserPtr<u32>) -> Result<usize> {
    let groups = cx.thread.credentials().groups.clone();
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size == 0 {
        return Ok(groups.len());
    }
    if size < groups.len() {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(groups.len() * 4)?;
    groups.iter().for_each(|group| bytes.extend_from_slice(&group.raw().to_ne_bytes()));
    cx.space().write_bytes(list.cast(), &bytes)?;
    Ok(groups.len())
}

/// setgroups(2).
pub fn setgroups(cx: &mut Context, size: u32, list: UserPtr<u32>) -> Result<usize> {
    if !look(cx, |credentials| credentials.has(libkernel::process::capability::Capability::Setgid)) {
        return Err(Errno::EPERM);
    }
    let size = size as usize;
    if size > GROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size * 4)?;
    bytes.resize(size * 4, 0);
    cx.space().read_bytes(list.cast(), &mut bytes)?;
    let mut groups = Vec::new();
    groups.try_reserve_exact(size)?;
    for word in bytes.as_chunks::<4>().0 {
        groups.push(gid(u32::from_ne_bytes(*word))?);
    }
    let new = look(cx, |credentials| credentials.set_groups(groups))?;
    adopt(cx, new)
}

/// The header of capget(2) and capset(2): how many 32-bit words the sets have, and about whom.
fn capability_header(cx: &Context, header: UserPtr<[u32; 2]>) -> Result<(usize, i32)> {
    let [version, pid] = cx.space().read_value(header)?;
    match version {
        CAPABILITY_VERSION_1 => Ok((1, pid as i32)),
        CAPABILITY_VERSION_2 | CAPABILITY_VERSION_3 => Ok((2, pid as i32)),
        _ => {
            cx.space().write_value(header, [CAPABILITY_VERSION_3, pid])?;
            Err(Errno::EINVAL)
        }
    }
}

/// capget(2).
pub fn capget(cx: &mut Context, header: UserPtr<[u32; 2]>, data: UserPtr<[[u32; 3]; 2]>) -> Result<usize> {
    let (words, pid) = match capability_header(cx, header) {
        // Asking for the preferred version only.
        Err(Errno::EINVAL) if data.is_null() => return Ok(0),
        other => other?,
    };
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    let capabilities = match pid {
        0 => look(cx, |credentials| credentials.capabilities),
        _ => {
            let thread = Pid::new(pid).and_then(table::thread).ok_or(Errno::ESRCH)?;
            thread.with_credentials(|credentials| credentials.capabilities)
        }
    };
    if data.is_null() {
        return Ok(0);
    }
    let sets = [capabilities.effective, capabilities.permitted, capabilities.inheritable].map(CapabilitySet::bits);
    let low = sets.map(|bits| bits as u32);
    if words == 1 {
        cx.space().write_value(data.cast::<[u32; 3]>(), low)?;
    } else {
        cx.space().write_value(data, [low, sets.map(|bits| (bits >> 32) as u32)])?;
    }
    Ok(0)
}

/// capset(2): for the caller itself only.
pub fn capset(cx: &mut Context, header: UserPtr<[u32; 2]>, data: UserPtr<[[u32; 3]; 2]>) -> Result<usize> {
    let (words, pid) = capability_header(cx, header)?;
    if pid != 0 && pid != cx.thread.tid().raw() {
        return Err(Errno::EPERM);
    }
    let [low, high] = if words == 1 {
        [cx.space().read_value(data.cast::<[u32; 3]>())?, [0; 3]]
    } else {
        cx.space().read_value(data)?
    };
    let set = |low: u32, high: u32| CapabilitySet::from_bits_truncate(u64::from(low) | u64::from(high) << 32);
    let ([effective, permitted, inheritable], [effective_high, permitted_high, inheritable_high]) = (low, high);
    let new = look(cx, |credentials| {
        credentials.set_capabilities(
            set(effective, effective_high),
            set(permitted, permitted_high),
            set(inheritable, inheritable_high),
        )
    })?;
    adopt(cx, new)
}
