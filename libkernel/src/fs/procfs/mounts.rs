//! `/proc/PID/mounts`, `/proc/PID/mountinfo`, `/proc/filesystems`.
#![forbid(unsafe_code)]

use alloc::string::String;

use super::super::mount::{self, MountFlags, Path};
use crate::Result;
use crate::fs::virtual_fs::Text;

/// The flags of a mount as mount(8) names them.
fn flag_names(flags: MountFlags) -> String {
    let mut names = String::from(if flags.contains(MountFlags::READ_ONLY) { "ro" } else { "rw" });
    for (flag, name) in [
        (MountFlags::NO_SET_ID, ",nosuid"),
        (MountFlags::NO_DEVICES, ",nodev"),
        (MountFlags::NO_EXECUTE, ",noexec"),
        (MountFlags::NO_ACCESS_TIME, ",noatime"),
        (MountFlags::RELATIVE_ACCESS_TIME, ",relatime"),
    ] {
        if flags.contains(flag) && !(name == ",relatime" && flags.contains(MountFlags::NO_ACCESS_TIME)) {
            names.push_str(name);
        }
    }
    names
}

/// Adds a path with the characters escaped that would end a field.
fn push_escaped(text: &mut Text, path: &[u8]) -> Result<()> {
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => text.write_fmt(format_args!("\\{byte:03o}"))?,
            byte => text.push(&[*byte])?,
        }
    }
    Ok(())
}

/// `/proc/PID/mounts`.
pub fn mounts(root: &Path, text: &mut Text) -> Result<()> {
    for mount in mount::all() {
        let Some(place) = Path::root_of(&mount).text(root)? else { continue };
        let file_system = mount.file_system();
        push_escaped(text, mount.source().as_bytes())?;
        text.push(b" ")?;
        push_escaped(text, &place)?;
        let (flags, options) = (flag_names(mount.flags()), file_system.options());
        text.write_fmt(format_args!(" {} {flags}{options} 0 0\n", file_system.name()))?;
    }
    Ok(())
}

/// `/proc/PID/mountinfo`.
pub fn mount_information(root: &Path, text: &mut Text) -> Result<()> {
    for mount in mount::all() {
        let Some(place) = Path::root_of(&mount).text(root)? else { continue };
        let file_system = mount.file_system();
        let device = file_system.device();
        let parent = mount.place().map_or(mount.id(), |place| place.mount.id());
        text.write_fmt(format_args!("{} {parent} {}:{} ", mount.id(), device.major, device.minor))?;
        push_escaped(text, &root_within(&mount)?)?;
        text.push(b" ")?;
        push_escaped(text, &place)?;
        text.write_fmt(format_args!(" {} - {} ", flag_names(mount.flags()), file_system.name()))?;
        push_escaped(text, mount.source().as_bytes())?;
        text.write_fmt(format_args!(" rw{}\n", file_system.options()))?;
    }
    Ok(())
}

/// The part of its file system that a mount shows.
fn root_within(mount: &mount::Mount) -> Result<alloc::vec::Vec<u8>> {
    let mut names = alloc::vec::Vec::new();
    let mut at = mount.root().clone();
    while let (Some(parent), name) = at.place() {
        names.push(name);
        at = parent;
    }
    let mut path = alloc::vec::Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(path)
}

/// `/proc/filesystems`.
pub fn filesystems(_root: &Path, text: &mut Text) -> Result<()> {
    for name in ["sysfs", "tmpfs", "proc", "devtmpfs", "devpts", "ramfs", "pipefs", "sockfs"] {
        text.write_fmt(format_args!("nodev\t{name}\n"))?;
    }
    Ok(())
}
