//! The auxiliary vector: what the kernel tells a new program about itself and the machine (getauxval(3)).
#![forbid(unsafe_code)]

/// Kinds of entries, by their Linux numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[expect(missing_docs, reason = "getauxval(3) describes each; the names are its names")]
pub enum Kind {
    Null = 0,
    Phdr = 3,
    Phent = 4,
    Phnum = 5,
    Pagesz = 6,
    Base = 7,
    Flags = 8,
    Entry = 9,
    Uid = 11,
    Euid = 12,
    Gid = 13,
    Egid = 14,
    Platform = 15,
    Hwcap = 16,
    Clktck = 17,
    Secure = 23,
    Random = 25,
    Hwcap2 = 26,
    Execfn = 31,
    SysinfoEhdr = 33,
    Minsigstksz = 51,
}

/// Clock ticks in a second, as times(2) and `/proc` count them.
pub const TICKS_PER_SECOND: u64 = 100;
/// The smallest signal stack that holds an arm64 signal frame with the FP registers.
pub const SIGNAL_STACK_MIN: u64 = 4720;

/// Changes the value of the entries of one kind in an auxiliary vector.
pub(super) fn set(vector: &mut [u8], kind: Kind, value: u64) {
    for [key, old] in vector.as_chunks_mut::<8>().0.as_chunks_mut::<2>().0 {
        if *key == (kind as u64).to_le_bytes() {
            *old = value.to_le_bytes();
        }
    }
}

/// What a program is told besides its arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Where its program headers are.
    pub headers: u64,
    /// How many of them there are.
    pub header_count: u64,
    /// Where its interpreter was loaded, 0 without one.
    pub base: u64,
    /// Its own entry point (not the interpreter's).
    pub entry: u64,
    /// Real user, effective user, real group, effective group.
    pub ids: [u32; 4],
    /// Must it distrust its environment?
    pub secure: bool,
    /// Features of the processor (`HWCAP_*`).
    pub hwcap: u64,
    /// More features (`HWCAP2_*`).
    pub hwcap2: u64,
    /// Where the vDSO is mapped, if it is.
    pub vdso: Option<u64>,
    /// Sixteen random bytes.
    pub random: [u8; 16],
}
