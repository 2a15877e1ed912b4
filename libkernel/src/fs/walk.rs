//! From a path's text to a file (path_resolution(7)).
//!
//! A walk holds the path of where it stands and no lock. As far as the directory-entry cache leads on through directories it goes under one
//! RCU guard: each component costs a permission check, a hash and a look-up, and writes nothing; only where it stops it counts a
//! reference. Symbolic links, mount points, `..` and what the cache does not know are single steps.
#![forbid(unsafe_code)]

use super::caller::Caller;
use super::dentry::Cached;
use super::inode::Link;
use super::metadata::FileType;
use super::mount::Path;
use super::permission::{self, Access};
use crate::{Errno, Result, rcu};

/// How many symbolic links one walk follows.
const MAX_LINKS: u32 = 40;

/// What is done with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// The result is what it leads to.
    Follow,
    /// The result is the link itself (unless a slash stands behind it).
    Keep,
}

/// The directory that a path ends in, and the name there, which need not exist.
pub struct Parent<'p> {
    /// The directory.
    pub directory: Path,
    /// The last component.
    pub last: Last<'p>,
}

/// The last component of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last<'p> {
    /// A name; `slash` says that a slash stands behind it, so that it can only name a directory.
    Name {
        /// The name.
        name: &'p [u8],
        /// Whether a slash stands behind it.
        slash: bool,
    },
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path consists of slashes.
    Root,
}

/// One resolution of a path for a caller.
pub struct Walk<'a> {
    caller: &'a Caller<'a>,
    links: u32,
}

/// Takes the first component off `path`; `None` when only slashes are left.
fn next_component<'p>(path: &mut &'p [u8]) -> Option<&'p [u8]> {
    let start = path.iter().position(|&byte| byte != b'/')?;
    let rest = path.get(start..)?;
    let length = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
    let (component, rest) = rest.split_at(length);
    *path = rest;
    Some(component)
}

/// What stands before the last component of a path, that component (empty if there is none), and whether slashes follow it.
fn split_last(path: &[u8]) -> (&[u8], &[u8], bool) {
    let after = |position: Option<usize>| position.map_or(0, |position| position + 1);
    let (body, slashes) = path.split_at(after(path.iter().rposition(|&byte| byte != b'/')));
    let (before, name) = body.split_at(after(body.iter().rposition(|&byte| byte == b'/')));
    (before, name, !slashes.is_empty())
}

impl<'a> Walk<'a> {
    /// A walk that has followed no link yet.
    #[must_use]
    pub fn new(caller: &'a Caller<'a>) -> Self {
        Self { caller, links: MAX_LINKS }
    }

    /// Where a walk along `path` begins: the root for an absolute path, else `base`, else the working directory.
    #[must_use]
    pub fn start(&self, base: Option<&Path>, path: &[u8]) -> Path {
        if path.first() == Some(&b'/') {
            return self.caller.context.root();
        }
        base.cloned().unwrap_or_else(|| self.caller.context.working_directory())
    }

    /// The file that `path` names.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `ENOMEM`.
    pub fn resolve(&mut self, base: Option<&Path>, path: &[u8], last: LastLink) -> Result<Path> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut at = self.start(base, path);
        self.walk(&mut at, path, last)?;
        Ok(at)
    }

    /// The directory that the last component of `path` is looked for in, and that component.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), but not for the last component.
    pub fn resolve_parent<'p>(&mut self, base: Option<&Path>, path: &'p [u8]) -> Result<Parent<'p>> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut directory = self.start(base, path);
        let (before, name, slash) = split_last(path);
        self.walk(&mut directory, before, LastLink::Follow)?;
        let last = match name {
            b"" => Last::Root,
            b"." => Last::Dot,
            b".." => Last::DotDot,
            name => Last::Name { name, slash },
        };
        if directory.inode().attributes().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(Parent { directory, last })
    }

    fn walk(&mut self, at: &mut Path, path: &[u8], last: LastLink) -> Result<()> {
        let mut rest = path;
        loop {
            self.glide(at, &mut rest, last)?;
            let Some(component) = next_component(&mut rest) else { break };
            let link = if rest.is_empty() { last } else { LastLink::Follow };
            self.step(at, component, link)?;
        }
        if path.last() == Some(&b'/') && at.inode().attributes().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(())
    }

    /// Goes on as far as the cache knows directories, and to a file if one stands at the end.
    fn glide(&self, at: &mut Path, rest: &mut &[u8], last: LastLink) -> Result<()> {
        let guard = rcu::read();
        let mut directory = &at.dentry;
        let mut ahead = *rest;
        let mut found = None;
        loop {
            let mut beyond = ahead;
            let Some(component) = next_component(&mut beyond) else { break };
            if matches!(component, b"." | b"..") {
                break;
            }
            let attributes = directory.inode().attributes();
            if attributes.kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            permission::check(attributes, self.caller.credentials, Access::EXECUTE)?;
            match directory.cached(&guard, component) {
                Some(Cached::Directory(child)) if !child.is_mount_point() => {
                    directory = child;
                    ahead = beyond;
                }
                Some(Cached::File(file)) if !file.is_mount_point() => {
                    let kept = beyond.is_empty() && last == LastLink::Keep;
                    if kept || file.inode().attributes().kind() != FileType::Symlink {
                        found = Some(file);
                        ahead = beyond;
                    }
                    break;
                }
                _ => break,
            }
        }
        if ahead.len() != rest.len() {
            let found = found.unwrap_or_else(|| directory.clone());
            drop(guard);
            at.dentry = found;
            *rest = ahead;
        }
        Ok(())
    }

    /// Goes on by one component.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn step(&mut self, at: &mut Path, component: &[u8], link: LastLink) -> Result<()> {
        let attributes = at.inode().attributes();
        if attributes.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission::check(attributes, self.caller.credentials, Access::EXECUTE)?;
        match component {
            b"." => Ok(()),
            b".." => {
                at.ascend(&self.caller.context.root());
                Ok(())
            }
            name => {
                let child = at.dentry.child(name)?;
                if link == LastLink::Follow && child.inode().attributes().kind() == FileType::Symlink {
                    let link = Path { mount: at.mount.clone(), dentry: child };
                    return self.follow(at, &link);
                }
                at.dentry = child;
                at.enter_mounts();
                Ok(())
            }
        }
    }

    /// Goes where `link` leads, seen from the directory `at` that holds it.
    ///
    /// # Errors
    /// `ELOOP`, and as [`resolve`](Self::resolve).
    pub fn follow(&mut self, at: &mut Path, link: &Path) -> Result<()> {
        self.count_link()?;
        link.inode().attributes().touch_accessed();
        match link.inode().read_link(self.caller)? {
            Link::Jump(path) => {
                *at = path;
                Ok(())
            }
            Link::Text(text) if text.is_empty() => Err(Errno::ENOENT),
            Link::Text(text) => {
                if text.first() == Some(&b'/') {
                    *at = self.caller.context.root();
                }
                self.walk(at, &text, LastLink::Follow)
            }
        }
    }

    /// Notes that a link is followed.
    ///
    /// # Errors
    /// `ELOOP` when it is one too many.
    pub fn count_link(&mut self) -> Result<()> {
        self.links = self.links.checked_sub(1).ok_or(Errno::ELOOP)?;
        Ok(())
    }
}

/// The file that `path` names for `caller`, from `base` or else the working directory.
///
/// # Errors
/// As [`Walk::resolve`].
pub fn resolve(caller: &Caller<'_>, base: Option<&Path>, path: &[u8], last: LastLink) -> Result<Path> {
    Walk::new(caller).resolve(base, path, last)
}

#[cfg(test)]
mod tests {
    use alloc::sync::{Arc, Weak};
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::super::context::FsContext;
    use super::super::dentry::Dentry;
    use super::super::inode::{FileSystem, Inode, Statistics};
    use super::super::metadata::{Attributes, DeviceId};
    use super::super::mount::Mount;
    use super::*;
    use crate::process::credentials::Credentials;
    use crate::sync::SpinLock;

    /// A directory that, whenever a walk asks for its attributes, notes how many references its entry has.
    struct Spy {
        attributes: Attributes,
        below: Option<Arc<Spy>>,
        entry: SpinLock<Weak<Dentry>>,
        most: AtomicUsize,
    }

    impl Spy {
        fn new(below: Option<Arc<Spy>>) -> Arc<Self> {
            let attributes = Attributes::new(DeviceId::default(), 1, FileType::Directory, 0o755, 0, 0);
            Arc::new(Self { attributes, below, entry: SpinLock::default(), most: AtomicUsize::new(0) })
        }
    }

    impl Inode for Spy {
        fn attributes(&self) -> &Attributes {
            self.most.fetch_max(self.entry.lock().strong_count(), Ordering::Relaxed);
            &self.attributes
        }

        fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
            Ok(self.below.clone().ok_or(Errno::ENOENT)?)
        }
    }

    struct Spies(Arc<Spy>);

    impl FileSystem for Spies {
        fn name(&self) -> &'static str {
            "spies"
        }

        fn device(&self) -> DeviceId {
            DeviceId::default()
        }

        fn root(&self) -> Arc<dyn Inode> {
            self.0.clone()
        }

        fn statistics(&self) -> Statistics {
            Statistics::default()
        }
    }

    #[test]
    fn a_walk_counts_references_only_where_it_stops() {
        let last = Spy::new(None);
        let middle = Spy::new(Some(last.clone()));
        let first = Spy::new(Some(middle.clone()));
        let root = Spy::new(Some(first.clone()));
        let mount = Mount::detached(Arc::new(Spies(root)), "none");
        let (context, credentials) = (FsContext::new(Path::root_of(&mount)), Credentials::root());
        let caller = Caller::kernel(&context, &credentials);
        // The cache learns the names; what is below the entry is known to it, and each child holds its parent.
        let find = |path: &[u8]| resolve(&caller, None, path, LastLink::Follow).unwrap().dentry;
        let _known = find(b"/a/b/c");
        for (spy, path) in [(&first, &b"/a"[..]), (&middle, b"/a/b")] {
            let entry = find(path);
            let resting = Arc::strong_count(&entry) - 1;
            *spy.entry.lock() = Arc::downgrade(&entry);
            drop(entry);
            spy.most.store(0, Ordering::Relaxed);
            drop(find(b"/a/b/c"));
            assert_eq!(spy.most.load(Ordering::Relaxed), resting, "the walk took a reference on its way");
        }
    }

    #[test]
    fn a_path_falls_into_components() {
        let mut path: &[u8] = b"//usr///lib/";
        assert_eq!(next_component(&mut path), Some(&b"usr"[..]));
        assert_eq!(next_component(&mut path), Some(&b"lib"[..]));
        assert_eq!(path, b"/");
        assert_eq!(next_component(&mut path), None);
    }

    #[test]
    fn the_last_component_is_split_off() {
        assert_eq!(split_last(b"//usr///lib//"), (&b"//usr///"[..], &b"lib"[..], true));
        assert_eq!(split_last(b"lib"), (&b""[..], &b"lib"[..], false));
        assert_eq!(split_last(b"//"), (&b""[..], &b""[..], true));
    }
}
