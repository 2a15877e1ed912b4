//! The names of unix sockets, and who has them (unix(7)).
//!
//! A path leads to a file, and the file's number to the socket; so a rename keeps the socket reachable, and an unlink does not. Abstract
//! names are a space of their own for each type of socket, and go with the socket.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::address::{Address, Name};
use super::endpoint::Endpoint;
use crate::fs::metadata::{DeviceId, FileType};
use crate::fs::permission::{self, Access};
use crate::fs::walk::{LastLink, Walk};
use crate::fs::{Caller, Inode, namespace};
use crate::net::SocketType;
use crate::sync::SpinLock;
use crate::{Errno, Result};

static FILES: SpinLock<BTreeMap<(u64, u64), Weak<Endpoint>>> = SpinLock::new(BTreeMap::new());
static ABSTRACT: SpinLock<BTreeMap<(SocketType, Vec<u8>), Weak<Endpoint>>> = SpinLock::new(BTreeMap::new());

fn file_key(inode: &Arc<dyn Inode>) -> (u64, u64) {
    (inode.attributes().device().encode(), inode.attributes().ino())
}

/// Gives a socket a name; with [`Name::Unnamed`] one of the kernel's choice.
///
/// # Errors
/// `EADDRINUSE`, `EINVAL` for a socket that has one, and those of making a file.
pub fn bind(endpoint: &Arc<Endpoint>, name: Name<'_>, caller: &Caller<'_>) -> Result<()> {
    let _naming = endpoint.naming.lock();
    if endpoint.address.get().is_some() {
        return if name == Name::Unnamed { Ok(()) } else { Err(Errno::EINVAL) };
    }
    let address = match name {
        Name::Unnamed => return choose(endpoint),
        Name::Abstract(name) => {
            enter(endpoint, name)?;
            Address::Abstract(name.to_vec())
        }
        Name::Path(path) => {
            let made = namespace::make(caller, None, path, FileType::Socket, 0o777, DeviceId::default());
            let made = made.map_err(|error| if error == Errno::EEXIST { Errno::EADDRINUSE } else { error })?;
            let inode = made.inode().clone();
            FILES.lock().insert(file_key(&inode), Arc::downgrade(endpoint));
            Address::Path(path.to_vec(), inode)
        }
    };
    // Under the lock of its naming, this is the first time.
    let _ = endpoint.address.set(Arc::new(address));
    Ok(())
}

/// Gives a socket that has no name an abstract one of the kernel's choice.
///
/// # Errors
/// `ENOSPC` when all are taken.
pub fn bind_anywhere(endpoint: &Arc<Endpoint>) -> Result<()> {
    let _naming = endpoint.naming.lock();
    if endpoint.address.get().is_some() { Ok(()) } else { choose(endpoint) }
}

/// Chooses a name of five hexadecimal digits (unix(7), "Autobind feature"). The lock of the naming is held.
fn choose(endpoint: &Arc<Endpoint>) -> Result<()> {
    /// How many such names there are.
    const NAMES: u32 = 1 << 20;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..NAMES {
        let name = format!("{:05x}", NEXT.fetch_add(1, Relaxed) % NAMES).into_bytes();
        match enter(endpoint, &name) {
            Err(Errno::EADDRINUSE) => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let _ = endpoint.address.set(Arc::new(Address::Abstract(name)));
                return Ok(());
            }
        }
    }
    Err(Errno::ENOSPC)
}

fn enter(endpoint: &Arc<Endpoint>, name: &[u8]) -> Result<()> {
    let key = (endpoint.kind, name.to_vec());
    let mut names = ABSTRACT.lock();
    if names.get(&key).is_some_and(|endpoint| endpoint.strong_count() > 0) {
        return Err(Errno::EADDRINUSE);
    }
    names.insert(key, Arc::downgrade(endpoint));
    Ok(())
}

/// The socket of that type with that name.
///
/// # Errors
/// `ECONNREFUSED` where there is none, `EPROTOTYPE` where it is of another type, and those of looking up a path.
pub fn find(name: Name<'_>, kind: SocketType, caller: &Caller<'_>) -> Result<Arc<Endpoint>> {
    match name {
        Name::Unnamed => Err(Errno::EINVAL),
        Name::Abstract(name) => {
            let found = ABSTRACT.lock().get(&(kind, name.to_vec())).and_then(Weak::upgrade);
            found.ok_or(Errno::ECONNREFUSED)
        }
        Name::Path(path) => {
            let path = Walk::new(caller).resolve(None, path, LastLink::Follow)?;
            let inode = path.inode();
            permission::check(inode.attributes(), caller.credentials, Access::WRITE)?;
            if inode.attributes().kind() != FileType::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            let found = FILES.lock().get(&file_key(inode)).and_then(Weak::upgrade).ok_or(Errno::ECONNREFUSED)?;
            if found.kind == kind { Ok(found) } else { Err(Errno::EPROTOTYPE) }
        }
    }
}

/// The socket goes, and its name with it. An accepting side shows its listener's name, which is not its own.
pub(super) fn forget(address: &Address, endpoint: &Arc<Endpoint>) {
    let is_own = |entry: Option<&Weak<Endpoint>>| entry.is_some_and(|entry| entry.as_ptr() == Arc::as_ptr(endpoint));
    match address {
        Address::Path(_, inode) => {
            let mut files = FILES.lock();
            if is_own(files.get(&file_key(inode))) {
                files.remove(&file_key(inode));
            }
        }
        Address::Abstract(name) => {
            let key = (endpoint.kind, name.clone());
            let mut names = ABSTRACT.lock();
            if is_own(names.get(&key)) {
                names.remove(&key);
            }
        }
    }
}
