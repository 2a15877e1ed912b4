//! From archive entries to files.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::cpio::{self, Entry, Input};
use super::{ArchiveError, Unpacked};
use crate::fs::caller::Caller;
use crate::fs::inode::{AttributeChange, Inode, NewInode, WritePosition, downcast};
use crate::fs::metadata::{DeviceId, FileType, Timestamp};
use crate::fs::mount::Path;
use crate::fs::namespace;
use crate::fs::tmpfs::TmpInode;
use crate::fs::walk::{Last, LastLink, Parent, Walk, resolve};
use crate::io::SliceSource;
use crate::{Errno, Result as KernelResult};

/// How much content is copied at once.
const STEP: usize = 4096;

/// Where entries become files.
pub struct Unpacker<'a> {
    caller: &'a Caller<'a>,
    /// The first name of each file that has several, within one archive.
    links: BTreeMap<(u32, u32, u32), Vec<u8>>,
    done: Unpacked,
}

impl<'a> Unpacker<'a> {
    /// Unpacks below the root directory of `caller`.
    pub fn new(caller: &'a Caller<'a>) -> Self {
        Self { caller, links: BTreeMap::new(), done: Unpacked::default() }
    }

    /// How much was unpacked so far.
    pub fn done(&self) -> Unpacked {
        self.done
    }

    /// Unpacks archives until something else follows or the input ends.
    ///
    /// # Errors
    /// What is wrong with an archive; that memory ran out.
    pub fn run(&mut self, input: &mut dyn Input) -> Result<(), ArchiveError> {
        let mut complete = true;
        while let Some(entry) = cpio::next_entry(input)? {
            complete = entry.is_trailer();
            if complete {
                self.links.clear();
                continue;
            }
            self.entry(&entry, input)?;
        }
        if complete {
            return Ok(());
        }
        Err(ArchiveError { offset: input.position(), reason: "the archive ends without a trailer" })
    }

    fn entry(&mut self, entry: &Entry, input: &mut dyn Input) -> Result<(), ArchiveError> {
        let offset = input.position();
        let size = entry.size as usize;
        let kind =
            FileType::from_mode(entry.mode).ok_or(ArchiveError { offset, reason: "a file has an unknown type" })?;
        let content = input.borrow(size);
        let made = match (kind, content) {
            (FileType::Symlink, Some(target)) => self.symlink(entry, target),
            (FileType::Symlink, None) => {
                let target = self.read_target(size, input)?;
                self.symlink(entry, &target)
            }
            (FileType::Regular, content) => self.regular(entry, content, input)?,
            _ => self.other(entry, kind),
        };
        if kind != FileType::Regular && kind != FileType::Symlink && content.is_none() {
            self.copy(None, size, input)?.ok();
        }
        cpio::skip_padding(input, offset)?;
        match made {
            Ok(()) => {
                self.done.files += 1;
                self.done.bytes += u64::from(entry.size);
                Ok(())
            }
            Err(Errno::ENOMEM | Errno::ENOSPC) => Err(ArchiveError { offset, reason: "out of memory" }),
            Err(_) => {
                self.done.skipped += 1;
                Ok(())
            }
        }
    }

    fn read_target(&self, size: usize, input: &mut dyn Input) -> Result<Vec<u8>, ArchiveError> {
        let offset = input.position();
        if size > 4096 {
            return Err(ArchiveError { offset, reason: "the target of a symbolic link is too long" });
        }
        let mut target = vec![0; size];
        cpio::read_all(input, &mut target)?;
        Ok(target)
    }

    /// The place for an entry, freed of what an earlier archive put there; `None` for the root directory, and for a
    /// directory that is there already.
    fn place<'e>(&self, entry: &'e Entry, kind: FileType) -> KernelResult<Option<(Path, &'e [u8])>> {
        let root = self.caller.context.root();
        let Parent { directory, last } =
            Walk::new(self.caller).resolve_parent(Some(&root), strip_slashes(&entry.name))?;
        let Last::Name { name, .. } = last else { return Ok(None) };
        match directory.inode().lookup(name) {
            Ok(found) if found.attributes().kind() == FileType::Directory && kind == FileType::Directory => {
                return Ok(None);
            }
            Ok(found) => {
                let is_directory = found.attributes().kind() == FileType::Directory;
                namespace::remove(self.caller, Some(&directory), name, is_directory)?;
            }
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        Ok(Some((directory, name)))
    }

    fn symlink(&self, entry: &Entry, target: &[u8]) -> KernelResult<()> {
        let Some((directory, name)) = self.place(entry, FileType::Symlink)? else { return Err(Errno::EEXIST) };
        let inode = directory.inode().symlink(name, target, entry.uid, entry.gid)?;
        inode.attributes().set_times(None, Some(modified(entry)));
        Ok(())
    }

    fn other(&self, entry: &Entry, kind: FileType) -> KernelResult<()> {
        match self.place(entry, kind)? {
            Some((directory, name)) => {
                let inode = directory.inode().create(name, &new_inode(entry, kind))?;
                inode.attributes().set_times(None, Some(modified(entry)));
            }
            None => {
                let root = self.caller.context.root();
                let name = strip_slashes(&entry.name);
                let path =
                    resolve(self.caller, Some(&root), if name.is_empty() { b"." } else { name }, LastLink::Keep)?;
                path.inode().change_attributes(&AttributeChange {
                    permissions: Some(entry.mode & 0o7777),
                    uid: Some(entry.uid),
                    gid: Some(entry.gid),
                    accessed: None,
                    modified: Some(modified(entry)),
                })?;
            }
        }
        Ok(())
    }

    /// Makes a regular file. Its content is consumed from `input` in any case, unless it was borrowed before.
    fn regular(
        &mut self,
        entry: &Entry,
        content: Option<&'static [u8]>,
        input: &mut dyn Input,
    ) -> Result<KernelResult<()>, ArchiveError> {
        let file = self.regular_file(entry, content);
        let Ok((inode, filled)) = &file else {
            if content.is_none() {
                self.copy(None, entry.size as usize, input)?.ok();
            }
            return Ok(file.map(drop));
        };
        let mut result = Ok(());
        match content {
            Some(bytes) if !filled && !bytes.is_empty() => result = write(inode, 0, bytes),
            Some(_) => {}
            None => result = self.copy(Some(inode), entry.size as usize, input)?,
        }
        inode.attributes().set_times(None, Some(modified(entry)));
        Ok(result)
    }

    /// Finds or makes the file of an entry; tells whether it has its content already.
    fn regular_file(&mut self, entry: &Entry, content: Option<&'static [u8]>) -> KernelResult<(Arc<TmpInode>, bool)> {
        let root = self.caller.context.root();
        if entry.links > 1
            && let Some(first) = self.links.get(&entry.identity)
        {
            let path = resolve(self.caller, Some(&root), first, LastLink::Keep)?;
            let Some((directory, name)) = self.place(entry, FileType::Regular)? else { return Err(Errno::EEXIST) };
            directory.inode().link(name, path.inode())?;
            return Ok((downcast(path.inode()).ok_or(Errno::EXDEV)?, false));
        }
        let Some((directory, name)) = self.place(entry, FileType::Regular)? else { return Err(Errno::EEXIST) };
        let parent = downcast::<TmpInode>(directory.inode()).ok_or(Errno::EXDEV)?;
        let inode = parent.create_from(name, &new_inode(entry, FileType::Regular), content.unwrap_or_default())?;
        if entry.links > 1 {
            self.links.insert(entry.identity, strip_slashes(&entry.name).to_vec());
        }
        Ok((inode, true))
    }

    /// Copies `size` bytes of content to a file, or nowhere. What goes wrong with the file does not keep the input from advancing.
    fn copy(
        &self,
        inode: Option<&Arc<TmpInode>>,
        size: usize,
        input: &mut dyn Input,
    ) -> Result<KernelResult<()>, ArchiveError> {
        let mut chunk = [0; STEP];
        let mut result = Ok(());
        let mut at = 0;
        while at < size {
            let Some(chunk) = chunk.get_mut(..STEP.min(size - at)) else { break };
            cpio::read_all(input, chunk)?;
            if let (Some(inode), Ok(())) = (inode, result) {
                result = write(inode, at as u64, chunk);
            }
            at += chunk.len();
        }
        Ok(result)
    }
}

fn write(inode: &TmpInode, at: u64, bytes: &[u8]) -> KernelResult<()> {
    let mut source = SliceSource::new(bytes);
    let mut at = at;
    while crate::io::IoSource::remaining(&source) > 0 {
        at = inode.write_at(WritePosition::At(at), u64::MAX, &mut source)?.1;
    }
    Ok(())
}

fn strip_slashes(name: &[u8]) -> &[u8] {
    let start = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
    name.get(start..).unwrap_or_default()
}

fn modified(entry: &Entry) -> Timestamp {
    i64::from(entry.modified) * 1_000_000_000
}

fn new_inode(entry: &Entry, kind: FileType) -> NewInode {
    NewInode {
        kind,
        permissions: entry.mode & 0o7777,
        uid: entry.uid,
        gid: entry.gid,
        device: DeviceId::new(entry.device.0, entry.device.1),
    }
}
