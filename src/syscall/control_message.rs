//! Control messages of sendmsg(2) and recvmsg(2): descriptors and credentials (cmsg(3), unix(7)).
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use libkernel::fs::Fd;
use libkernel::memory::UserPtr;
use libkernel::net::unix::{Ancillary, Descriptors, Identity, MOST_DESCRIPTORS};
use libkernel::process::capability::Capability;
use libkernel::process::credentials::Credentials;
use libkernel::process::id::Pid;
use libkernel::process::table;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::Context;
use super::files::{descriptor_limit, file};

/// The length of a header (`struct cmsghdr`): the length with itself, the level, the type.
const HEADER: usize = 16;

/// The length of credentials (`struct ucred`).
const UCRED: usize = 12;

/// The most that a program may pass at once (`net.core.optmem_max`).
const LONGEST: usize = 128 * 1024;

/// The control messages of one call, in the program.
#[derive(Clone, Copy)]
pub struct Control {
    /// Where they are.
    pub address: UserPtr<u8>,
    /// Bytes there.
    pub length: usize,
}

/// A length as the next message counts it.
fn align(length: usize) -> usize {
    length.saturating_add(7) & !7
}

impl Control {
    /// Reads what goes with a message. `EINVAL`, `EBADF`, `EPERM`, `ESRCH`, `ETOOMANYREFS`, `ENOBUFS`, `EFAULT`.
    pub fn read(self, cx: &Context) -> Result<Ancillary> {
        let mut ancillary = Ancillary::default();
        if self.length > LONGEST {
            return Err(Errno::ENOBUFS);
        }
        let space = cx.thread.space();
        let mut files = Vec::new();
        let mut offset = 0;
        while self.length.saturating_sub(offset) >= HEADER {
            let [length, kind] = space.read_value(self.address.byte_add(offset).cast::<[u64; 2]>())?;
            let content = self.address.byte_add(offset + HEADER);
            let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
            if length < HEADER || length > self.length - offset {
                return Err(Errno::EINVAL);
            }
            let (level, kind) = (kind as u32, (kind >> 32) as u32);
            match kind {
                _ if level != linux::SOL_SOCKET => {}
                linux::SCM_RIGHTS => {
                    let count = (length - HEADER) / size_of::<i32>();
                    if files.len() + count > MOST_DESCRIPTORS {
                        return Err(Errno::EINVAL);
                    }
                    files.try_reserve(count)?;
                    for index in 0..count {
                        files.push(file(cx, Fd(space.read_value(content.cast::<i32>().add(index))?))?);
                    }
                }
                linux::SCM_CREDENTIALS if length == HEADER + UCRED => {
                    let [pid, uid, gid] = space.read_value(content.cast::<[u32; 3]>())?;
                    ancillary.identity = Some(checked(cx, Identity { pid: pid as i32, uid, gid })?);
                }
                _ => return Err(Errno::EINVAL),
            }
            offset = align(offset + length);
        }
        if !files.is_empty() {
            let (uid, limit) = cx.thread.with_credentials(|credentials| {
                let privileged = credentials.has(Capability::SysResource) || credentials.has(Capability::SysAdmin);
                (credentials.uid.real.raw(), if privileged { usize::MAX } else { descriptor_limit(cx) })
            });
            ancillary.descriptors = Some(Descriptors::new(files, uid, limit)?);
        }
        Ok(ancillary)
    }

    /// Writes what was received; returns the bytes used, and `MSG_CTRUNC` if there was more. Descriptors for which there is no room, here or in the
    /// table, are closed. `EFAULT`.
    pub fn write(self, cx: &Context, ancillary: Ancillary, close_on_exec: bool, told: bool) -> Result<(usize, u32)> {
        let mut writer = Writer { control: self, used: 0, flags: 0 };
        if told {
            let Identity { pid, uid, gid } = ancillary.identity.unwrap_or(Identity::UNKNOWN);
            let mut content = [0; UCRED];
            for (to, word) in content.chunks_exact_mut(4).zip([pid as u32, uid, gid]) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            writer.put(cx, linux::SCM_CREDENTIALS, &content)?;
        }
        if let Some(descriptors) = ancillary.descriptors {
            writer.put_descriptors(cx, descriptors, close_on_exec)?;
        }
        Ok((writer.used, writer.flags))
    }
}

/// Whether a program may say that of itself (unix(7), `SCM_CREDENTIALS`). `EPERM`, `ESRCH`.
fn checked(cx: &Context, said: Identity) -> Result<Identity> {
    let own = cx.thread.process().pid();
    let allowed = |credentials: &Credentials| {
        let (uid, gid) = (&credentials.uid, &credentials.gid);
        let pid = said.pid == own.number() as i32 || credentials.has(Capability::SysAdmin);
        let uid = [uid.real, uid.effective, uid.saved].iter().any(|id| id.raw() == said.uid)
            || credentials.has(Capability::Setuid);
        let gid = [gid.real, gid.effective, gid.saved].iter().any(|id| id.raw() == said.gid)
            || credentials.has(Capability::Setgid);
        pid && uid && gid
    };
    if !cx.thread.with_credentials(allowed) {
        return Err(Errno::EPERM);
    }
    Pid::new(said.pid).and_then(table::process).ok_or(Errno::ESRCH)?;
    Ok(said)
}

struct Writer {
    control: Control,
    used: usize,
    flags: u32,
}

impl Writer {
    fn room(&self) -> usize {
        if self.control.address.is_null() { 0 } else { self.control.length - self.used }
    }

    fn header(&self, cx: &Context, kind: u32, length: usize) -> Result<UserPtr<u8>> {
        let at = self.control.address.byte_add(self.used);
        let kind = u64::from(linux::SOL_SOCKET) | u64::from(kind) << 32;
        cx.thread.space().write_value(at.cast::<[u64; 2]>(), [length as u64, kind])?;
        Ok(at.byte_add(HEADER))
    }

    fn advance(&mut self, length: usize) {
        self.used += align(length).min(self.room());
    }

    /// Writes a message, cut where there is no room for all of it.
    fn put(&mut self, cx: &Context, kind: u32, content: &[u8]) -> Result<()> {
        if self.room() < HEADER {
            self.flags |= linux::MSG_CTRUNC;
            return Ok(());
        }
        let mut length = HEADER + content.len();
        if self.room() < length {
            self.flags |= linux::MSG_CTRUNC;
            length = self.room();
        }
        let at = self.header(cx, kind, length)?;
        cx.thread.space().write_bytes(at, content.get(..length - HEADER).unwrap_or(content))?;
        self.advance(length);
        Ok(())
    }

    fn put_descriptors(&mut self, cx: &Context, descriptors: Descriptors, close_on_exec: bool) -> Result<()> {
        let room = self.room().saturating_sub(HEADER) / size_of::<i32>();
        let files = descriptors.into_files();
        if room < files.len() {
            self.flags |= linux::MSG_CTRUNC;
        }
        let (space, table) = (cx.thread.space(), cx.thread.files());
        let limit = descriptor_limit(cx);
        let numbers = self.control.address.byte_add(self.used + HEADER).cast::<i32>();
        let mut count = 0;
        for file in files.into_iter().take(room) {
            let Ok(fd) = table.insert(file, close_on_exec, 0, limit) else {
                self.flags |= linux::MSG_CTRUNC;
                break;
            };
            if space.write_value(numbers.add(count), fd.0).is_err() {
                // Nobody knows the descriptor.
                let _ = table.close(fd);
                self.flags |= linux::MSG_CTRUNC;
                break;
            }
            count += 1;
        }
        if count > 0 {
            let length = HEADER + count * size_of::<i32>();
            self.header(cx, linux::SCM_RIGHTS, length)?;
            self.advance(length);
        }
        Ok(())
    }
}
