//! [`UserSlice`]: the buffers of an I/O vector as one sink or source of bytes.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use linux_raw_sys::general::iovec;

use super::address::is_user_range;
use super::space::{Access, AddressSpace};
use super::user::UserPtr;
use super::user_buffer::{LONGEST, UserBytes, make_present};
use crate::io::{IoSink, IoSource};
use crate::machine;
use crate::{Errno, Result};

/// Entries of an I/O vector at most (`IOV_MAX`).
const MOST_SEGMENTS: usize = 1024;
const INLINE: usize = 4;

#[derive(Clone, Copy, Default)]
struct Segment {
    address: u64,
    length: usize,
}

/// A program's buffers and how far they have been used.
pub struct UserSlice {
    inline: [Segment; INLINE],
    /// All segments, when there are more than fit inline.
    heap: Vec<Segment>,
    /// The segment that is next, and how many bytes of it are used.
    current: usize,
    used: usize,
    remaining: usize,
    total: usize,
    fault: Option<(u64, Access)>,
}

impl UserSlice {
    /// The buffers of an I/O vector of the active address space. `EINVAL`: too many, or too long together; `EFAULT`; `ENOMEM`.
    pub fn from_iovec(space: &AddressSpace, vector: UserPtr<iovec>, count: usize) -> Result<Self> {
        if count > MOST_SEGMENTS {
            return Err(Errno::EINVAL);
        }
        let inline = [Segment::default(); INLINE];
        let mut slice = Self { inline, heap: Vec::new(), current: 0, used: 0, remaining: 0, total: 0, fault: None };
        if count > INLINE {
            slice.heap.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        }
        let mut total = 0usize;
        // Lengths are judged before addresses, as on Linux.
        let mut reachable = true;
        for index in 0..count {
            let [address, length] = space.read_value(vector.add(index).cast::<[u64; 2]>())?;
            let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
            total = total.checked_add(length).filter(|&total| isize::try_from(total).is_ok()).ok_or(Errno::EINVAL)?;
            reachable &= is_user_range(address, length);
            // What exceeds the longest transfer is left out.
            let length = length.min(LONGEST - slice.remaining);
            slice.remaining += length;
            let segment = Segment { address, length };
            if count > INLINE {
                slice.heap.push(segment);
            } else if let Some(slot) = slice.inline.get_mut(index) {
                *slot = segment;
            }
        }
        if !reachable {
            return Err(Errno::EFAULT);
        }
        slice.total = slice.remaining;
        Ok(slice)
    }

    fn segment(&self) -> Option<Segment> {
        if self.heap.is_empty() { self.inline.get(self.current) } else { self.heap.get(self.current) }.copied()
    }

    /// Where the next byte goes, and how many may follow it there.
    #[inline]
    fn next(&mut self) -> Option<(u64, usize)> {
        if self.remaining == 0 {
            return None;
        }
        loop {
            let segment = self.segment()?;
            let left = segment.length - self.used;
            if left > 0 {
                return Some((segment.address + self.used as u64, left));
            }
            self.current += 1;
            self.used = 0;
        }
    }

    /// Moves on by `attempted - left` bytes; whether the copy may go on.
    #[inline]
    fn advance(&mut self, address: u64, attempted: usize, left: usize, access: Access) -> bool {
        let done = attempted - left;
        self.used += done;
        self.remaining -= done;
        if left > 0 {
            self.fault = Some((address + done as u64, access));
        }
        left == 0
    }
}

impl UserBytes for UserSlice {
    fn left(&self) -> usize {
        self.remaining
    }

    fn seek(&mut self, position: usize) {
        (self.current, self.used, self.remaining) = (0, 0, self.total);
        let mut left = position.min(self.total);
        while left > 0 {
            let Some((_, room)) = self.next() else { return };
            let step = room.min(left);
            self.used += step;
            self.remaining -= step;
            left -= step;
        }
    }

    fn faulted(&self) -> bool {
        self.fault.is_some()
    }

    fn resolve(&mut self, space: &AddressSpace) -> Result<()> {
        let Some((address, access)) = self.fault.take() else { return Ok(()) };
        let rest = self.segment().map_or(0, |segment| segment.length - self.used);
        make_present(space, address, rest, access)
    }
}

impl IoSink for UserSlice {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let Some((address, room)) = self.next() else { break };
            let Some(part) = rest.get(..room.min(rest.len())) else { break };
            let left = machine::copy_to_user(address as usize, part);
            done += part.len() - left;
            if !self.advance(address, part.len(), left, Access::Write) {
                break;
            }
        }
        done
    }

    fn put_zeros(&mut self, count: usize) -> usize {
        let mut done = 0;
        while done < count {
            let Some((address, room)) = self.next() else { break };
            let length = room.min(count - done);
            let left = machine::zero_user(address as usize, length);
            done += length - left;
            if !self.advance(address, length, left, Access::Write) {
                break;
            }
        }
        done
    }
}

impl IoSource for UserSlice {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some((address, room)) = self.next() else { break };
            let length = room.min(rest.len());
            let Some(part) = rest.get_mut(..length) else { break };
            let left = machine::copy_from_user(part, address as usize);
            done += length - left;
            if !self.advance(address, length, left, Access::Read) {
                break;
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLimits;

    fn pointer(bytes: &mut [u8]) -> UserPtr<u8> {
        UserPtr::new(bytes.as_mut_ptr().expose_provenance() as u64)
    }

    #[test]
    fn segments_are_used_in_order_whatever_their_number() {
        let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
        for count in [1usize, 3, 4, 5, 9] {
            let mut parts = std::vec![[b'x'; 3]; count];
            let vector: std::vec::Vec<[u64; 2]> =
                parts.iter_mut().enumerate().map(|(i, part)| [pointer(part).addr(), (i % 4).min(3) as u64]).collect();
            let total: usize = vector.iter().map(|entry| entry[1] as usize).sum();
            let user = UserPtr::new(vector.as_ptr().expose_provenance() as u64);
            let mut slice = UserSlice::from_iovec(&space, user, count).unwrap();
            let mut bytes = std::vec![0; 100];
            assert_eq!(slice.take(&mut bytes), total);
            assert_eq!(bytes.iter().filter(|&&byte| byte == b'x').count(), total);
            slice.seek(total / 2);
            assert_eq!(slice.take(&mut bytes), total - total / 2);
        }
    }

    #[test]
    fn wrapping_vectors_are_refused() {
        let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
        let vector = [[0u64, i64::MAX as u64], [0, 1]];
        let user = UserPtr::new(vector.as_ptr().expose_provenance() as u64);
        let error = UserSlice::from_iovec(&space, user, 2).err();
        assert!(matches!(error, Some(Errno::EINVAL | Errno::EFAULT)));
        assert_eq!(UserSlice::from_iovec(&space, user, 1025).err(), Some(Errno::EINVAL));
    }
}
