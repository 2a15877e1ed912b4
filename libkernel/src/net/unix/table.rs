//! All sockets that a descriptor ever stood for, for `/proc/net/unix`.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::ops::Bound;

use super::endpoint::{Endpoint, State};
use crate::Result;
use crate::fs::mount::Path;
use crate::fs::virtual_fs::Text;
use crate::sync::SpinLock;

/// By inode number.
static SOCKETS: SpinLock<BTreeMap<u64, Weak<Endpoint>>> = SpinLock::new(BTreeMap::new());

pub(super) fn enter(ino: u64, endpoint: &Arc<Endpoint>) {
    SOCKETS.lock().insert(ino, Arc::downgrade(endpoint));
}

pub(super) fn leave(ino: u64) {
    SOCKETS.lock().remove(&ino);
}

/// The next socket behind `ino` that still is there.
fn next(mut ino: u64) -> Option<(u64, Arc<Endpoint>)> {
    let sockets = SOCKETS.lock();
    while let Some((found, endpoint)) = sockets.range((Bound::Excluded(ino), Bound::Unbounded)).next() {
        if let Some(endpoint) = endpoint.upgrade() {
            return Some((*found, endpoint));
        }
        ino = *found;
    }
    None
}

/// `/proc/net/unix` (proc_net(5)).
///
/// # Errors
/// `ENOMEM`.
pub fn show(_root: &Path, text: &mut Text) -> Result<()> {
    /// The bit of a socket that listens (`__SO_ACCEPTCON`).
    const LISTENS: u32 = 1 << 16;
    text.push(b"Num       RefCount Protocol Flags    Type St Inode Path\n")?;
    let mut last = 0;
    while let Some((ino, endpoint)) = next(last) {
        last = ino;
        let (flags, state) = match &*endpoint.state.lock() {
            State::Listening(_) => (LISTENS, 1),
            State::Connected => (0, 3),
            State::Connecting => (0, 2),
            State::Idle => (0, 1),
        };
        text.write_fmt(format_args!(
            "{:016x}: {:08X} {:08X} {flags:08X} {:04X} {state:02X} {ino:5}",
            0,
            Arc::strong_count(&endpoint),
            0,
            endpoint.kind.number(),
        ))?;
        if let Some(address) = endpoint.address.get() {
            text.write_fmt(format_args!(" {address}"))?;
        }
        text.push(b"\n")?;
    }
    Ok(())
}
