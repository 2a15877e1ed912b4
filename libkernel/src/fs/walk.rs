//! From a path's text to a file (path_resolution(7)).
//!
//! A walk holds the path of where it stands and no lock. A component that the directory-entry cache knows costs one
//! permission check, one hash and one locked look-up; nothing is copied or allocated.
#![forbid(unsafe_code)]

use super::caller::Caller;
use super::inode::Link;
use super::metadata::FileType;
use super::mount::Path;
use super::permission::{self, Access};
use crate::{Errno, Result};

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

fn only_slashes(path: &[u8]) -> bool {
    path.iter().all(|&byte| byte == b'/')
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
        let mut rest = path;
        let mut last = Last::Root;
        while let Some(component) = next_component(&mut rest) {
            if !only_slashes(rest) {
                self.step(&mut directory, component, LastLink::Follow)?;
                continue;
            }
            last = match component {
                b"." => Last::Dot,
                b".." => Last::DotDot,
                name => Last::Name { name, slash: !rest.is_empty() },
            };
            break;
        }
        if directory.inode().attributes().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(Parent { directory, last })
    }

    fn walk(&mut self, at: &mut Path, path: &[u8], last: LastLink) -> Result<()> {
        let mut rest = path;
        while let Some(component) = next_component(&mut rest) {
            let link = if rest.is_empty() { last } else { LastLink::Follow };
            self.step(at, component, link)?;
        }
        if path.last() == Some(&b'/') && at.inode().attributes().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
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
    use super::*;

    #[test]
    fn a_path_falls_into_components() {
        let mut path: &[u8] = b"//usr///lib/";
        assert_eq!(next_component(&mut path), Some(&b"usr"[..]));
        assert_eq!(next_component(&mut path), Some(&b"lib"[..]));
        assert_eq!(path, b"/");
        assert_eq!(next_component(&mut path), None);
    }
}
