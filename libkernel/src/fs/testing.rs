//! What the tests of this room share: users, a small tree to work in.

use alloc::sync::Arc;

use super::caller::Caller;
use super::context::FsContext;
use super::inode::FileSystem;
use super::mount::{Mount, Path};
use super::tmpfs::Tmpfs;
use crate::process::capability::CapabilitySet;
use crate::process::credentials::Credentials;
use crate::process::id::{Gid, Uid};

/// An ordinary user without capabilities.
pub fn user(uid: u32, gid: u32) -> Credentials {
    let (uid, gid) = (Uid::new(uid).unwrap(), Gid::new(gid).unwrap());
    let mut credentials = Credentials::root();
    let ids = &mut credentials.uid;
    (ids.real, ids.effective, ids.saved, ids.file_system) = (uid, uid, uid, uid);
    let ids = &mut credentials.gid;
    (ids.real, ids.effective, ids.saved, ids.file_system) = (gid, gid, gid, gid);
    credentials.capabilities.effective = CapabilitySet::EMPTY;
    credentials.capabilities.permitted = CapabilitySet::EMPTY;
    credentials
}

/// A tmpfs of its own and a context whose root it is.
pub struct World {
    /// Root and working directory.
    pub context: FsContext,
    /// Who acts.
    pub credentials: Credentials,
}

impl World {
    /// An empty tree, acted on by root.
    pub fn new() -> Self {
        let mount = Mount::detached(Tmpfs::new("tmpfs", 64 << 20, 100_000) as Arc<dyn FileSystem>, "none");
        Self { context: FsContext::new(Path::root_of(&mount)), credentials: Credentials::root() }
    }

    /// Who acts, where.
    pub fn caller(&self) -> Caller<'_> {
        Caller::kernel(&self.context, &self.credentials)
    }
}
