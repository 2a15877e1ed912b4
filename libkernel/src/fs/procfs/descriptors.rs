//! `/proc/PID/fd` and `/proc/PID/fdinfo`: a process's open files.
#![forbid(unsafe_code)]

use alloc::string::ToString;
use alloc::sync::Arc;

use super::process::{Subject, check_inspection};
use super::root::number;
use crate::fs::fd_table::{Fd, FdTable};
use crate::fs::inode::Link;
use crate::fs::metadata::FileType;
use crate::fs::mount::Path;
use crate::fs::open_file::OpenFile;
use crate::fs::virtual_fs::{Listing, Node, Text};
use crate::{Errno, Result};

/// What the entries are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Links,
    Facts,
}

struct Descriptors {
    subject: Subject,
    kind: Kind,
}

/// `/proc/PID/fd`.
pub fn links(subject: &Subject) -> Node {
    Node { mode: 0o500, ..Node::directory(Descriptors { subject: subject.clone(), kind: Kind::Links }) }
}

/// `/proc/PID/fdinfo`.
pub fn facts(subject: &Subject) -> Node {
    Node { mode: 0o555, ..Node::directory(Descriptors { subject: subject.clone(), kind: Kind::Facts }) }
}

impl Descriptors {
    fn files(&self) -> Option<Arc<FdTable>> {
        Some(self.subject.thread().ok()?.files())
    }

    fn file_kind(&self) -> FileType {
        if self.kind == Kind::Links { FileType::Symlink } else { FileType::Regular }
    }
}

fn file(subject: &Subject, fd: Fd) -> Result<Arc<OpenFile>> {
    subject.thread().and_then(|thread| thread.files().get(fd)).map_err(|_| Errno::ENOENT)
}

impl Listing for Descriptors {
    fn find(&self, name: &[u8]) -> Option<Node> {
        let fd = Fd(number(name)?);
        let open = file(&self.subject, fd).ok()?;
        let subject = self.subject.clone();
        if self.kind == Kind::Facts {
            return Some(Node::file(0o444, move |_: &Path, text: &mut Text| show(&subject, fd, text)));
        }
        let node = Node::link(move |caller| {
            check_inspection(caller, &*subject.thread().map_err(|_| Errno::ENOENT)?)?;
            Ok(Link::Jump(file(&subject, fd)?.path().clone()))
        });
        let mut mode = 0o100;
        if open.flags().readable() {
            mode |= 0o400;
        }
        if open.flags().writable() {
            mode |= 0o200;
        }
        Some(Node { mode, ..node })
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        let Some(files) = self.files() else { return };
        let mut next = i32::try_from(from).ok().map(Fd);
        while let Some(fd) = next.and_then(|from| files.next_used(from)) {
            if !emit(fd.0.to_string().as_bytes(), self.file_kind(), fd.0 as u64 + 1) {
                return;
            }
            next = fd.0.checked_add(1).map(Fd);
        }
    }
}

fn show(subject: &Subject, fd: Fd, text: &mut Text) -> Result<()> {
    let file = file(subject, fd)?;
    let (flags, path) = (file.flags().bits(), file.path());
    text.write_fmt(format_args!(
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{}\n",
        file.offset(),
        flags,
        path.mount.id(),
        file.inode().attributes().ino()
    ))?;
    match file.object() {
        Some(object) => text.push(object.describe().as_bytes()),
        None => Ok(()),
    }
}
