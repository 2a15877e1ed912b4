//! The file system of `/dev/pts`: one device file for each pseudo-terminal, and `ptmx`. Names come and go with the terminals.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::TerminalFile;
use super::devices::{PTMX, PTYS};
use super::pty::{Pty, SLAVE_MAJOR};
use crate::fs::inode::{DirectoryEntry, FileSystem, Inode, Statistics};
use crate::fs::metadata::{Attributes, DeviceId, FileType};
use crate::fs::{Caller, FileObject, OpenFlags, device};
use crate::{Errno, Result};

/// `DEVPTS_SUPER_MAGIC` of statfs(2).
const MAGIC: u64 = 0x1cd1;
const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;
/// Inode number of pseudo-terminal 0.
const FIRST_PTY_INO: u64 = 3;

/// A mount of the pseudo-terminals.
pub struct DevPts {
    device: DeviceId,
    root: Arc<Root>,
}

impl DevPts {
    /// The file system, whose files report `device`.
    pub fn new(device: DeviceId) -> Arc<Self> {
        let attributes = Attributes::new(device, ROOT_INO, FileType::Directory, 0o755, 0, 0);
        let ptmx = Attributes::new(device, PTMX_INO, FileType::CharDevice, 0o666, 0, 0).with_device(PTMX);
        let ptmx = Arc::new(Node { attributes: ptmx, pty: None });
        Arc::new(Self { device, root: Arc::new(Root { attributes, ptmx }) })
    }
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn device(&self) -> DeviceId {
        self.device
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statistics(&self) -> Statistics {
        Statistics { magic: MAGIC, block_size: 4096, ..Statistics::default() }
    }

    fn names_are_stable(&self) -> bool {
        false
    }
}

struct Root {
    attributes: Attributes,
    ptmx: Arc<Node>,
}

impl Inode for Root {
    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if name == b"ptmx" {
            return Ok(self.ptmx.clone());
        }
        let index = core::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Errno::ENOENT)?;
        let pty = PTYS.get(index).ok_or(Errno::ENOENT)?;
        // A number has one spelling.
        if Decimal::new(index).as_bytes() != name {
            return Err(Errno::ENOENT);
        }
        Ok(Node::of(self.attributes.device(), pty))
    }

    fn read_directory(&self, from: u64, emit: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<()> {
        let kind = FileType::CharDevice;
        if from == 0 && !emit(&DirectoryEntry { name: b"ptmx", ino: PTMX_INO, kind, next: 1 }) {
            return Ok(());
        }
        for index in PTYS.indices() {
            let position = u64::from(index) + 1;
            if position < from {
                continue;
            }
            let name = Decimal::new(index);
            let ino = FIRST_PTY_INO + u64::from(index);
            if !emit(&DirectoryEntry { name: name.as_bytes(), ino, kind, next: position + 1 }) {
                break;
            }
        }
        Ok(())
    }
}

/// A device file.
struct Node {
    attributes: Attributes,
    /// The pseudo-terminal it was made for: once that is gone, another one may have its number. `None`: `ptmx`.
    pty: Option<Arc<Pty>>,
}

impl Node {
    fn of(device: DeviceId, pty: Arc<Pty>) -> Arc<Self> {
        let (uid, gid) = pty.owner();
        let ino = FIRST_PTY_INO + u64::from(pty.index());
        let attributes = Attributes::new(device, ino, FileType::CharDevice, pty.permissions(), uid, gid)
            .with_device(DeviceId::new(SLAVE_MAJOR, pty.index()));
        Arc::new(Self { attributes, pty: Some(pty) })
    }
}

impl Inode for Node {
    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn change_attributes(&self, change: &crate::fs::inode::AttributeChange) -> Result<()> {
        if let Some(pty) = &self.pty {
            pty.change_owner(change.uid, change.gid, change.permissions);
        }
        self.attributes.set_times(change.accessed, change.modified);
        if let Some(permissions) = change.permissions {
            self.attributes.set_permissions(permissions);
        }
        self.attributes.set_owner(
            change.uid.unwrap_or_else(|| self.attributes.uid()),
            change.gid.unwrap_or_else(|| self.attributes.gid()),
        );
        Ok(())
    }

    fn open(&self, flags: OpenFlags, caller: &Caller<'_>) -> Result<Option<Arc<dyn FileObject>>> {
        match &self.pty {
            Some(pty) => Ok(Some(TerminalFile::open(pty.terminal()?, flags, caller)?)),
            None => device::open(self.attributes.represents(), flags, caller).map(Some),
        }
    }
}

/// A number in decimal, without the heap.
struct Decimal {
    digits: [u8; 10],
    start: usize,
}

impl Decimal {
    fn new(number: u32) -> Self {
        let mut digits = [b'0'; 10];
        let mut start = digits.len();
        let mut rest = number;
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            start = place;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or(&[])
    }
}
