//! futex(2) and futex_waitv(2).
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use libkernel::futex::{self, ANY, Key, WakeOp, Word};
use libkernel::memory::{AddressSpace, USER_LIMIT, UserPtr};
use libkernel::process::Thread;
use libkernel::process::clock::from_timespec;
use libkernel::signal::RestartBlock;
use libkernel::task::interruptible;
use libkernel::time::with_timeout;
use libkernel::{Errno, Result, machine};
use linux_raw_sys::general as abi;

use super::{Context, Outcome};

/// How often a word may vanish between being made present and being looked at.
const PATIENCE: usize = 64;

/// What a call names besides the operation.
#[derive(Clone, Copy)]
struct Call {
    address: u64,
    private: bool,
    command: u32,
    value: u32,
    /// The timeout's address, or a count.
    fourth: u64,
    second: u64,
    third: u32,
    realtime: bool,
}

impl Call {
    fn decode(address: u64, operation: u32, value: u32, fourth: u64, second: u64, third: u32) -> Result<Self> {
        let realtime = operation & abi::FUTEX_CLOCK_REALTIME != 0;
        let command = operation & abi::FUTEX_CMD_MASK as u32;
        if realtime && command != abi::FUTEX_WAIT_BITSET {
            return Err(Errno::ENOSYS);
        }
        check_address(address)?;
        let private = operation & abi::FUTEX_PRIVATE_FLAG != 0;
        Ok(Self { address, private, command, value, fourth, second, third, realtime })
    }

    fn key(&self, space: &AddressSpace, address: u64) -> Result<Key> {
        Key::new(space, address, self.private)
    }

    /// The deadline in nanoseconds of the monotonic clock, if there is one.
    fn deadline(&self, space: &AddressSpace) -> Result<Option<u64>> {
        let Some(timeout) = UserPtr::<[i64; 2]>::new(self.fourth).non_null() else { return Ok(None) };
        let time = from_timespec(space.read_value(timeout)?)?;
        Ok(Some(if self.command == abi::FUTEX_WAIT {
            machine::monotonic_ns().saturating_add(time)
        } else if self.realtime {
            time.saturating_sub(machine::realtime_offset_ns())
        } else {
            time
        }))
    }

    fn bits(&self) -> Result<u32> {
        match self.command {
            abi::FUTEX_WAIT_BITSET | abi::FUTEX_WAKE_BITSET if self.third == 0 => Err(Errno::EINVAL),
            abi::FUTEX_WAIT_BITSET | abi::FUTEX_WAKE_BITSET => Ok(self.third),
            _ => Ok(ANY),
        }
    }
}

fn check_address(address: u64) -> Result<()> {
    if !address.is_multiple_of(4) {
        Err(Errno::EINVAL)
    } else if address >= USER_LIMIT {
        Err(Errno::EFAULT)
    } else {
        Ok(())
    }
}

/// A count as requeueing takes it. `EINVAL` for a negative one.
fn count(value: u32) -> Result<usize> {
    i32::try_from(value).map(|count| count as usize).map_err(|_| Errno::EINVAL)
}

/// A count as waking takes it: at least one waiter is woken, whatever the program asked for, as on Linux.
fn wake_count(value: u32) -> usize {
    (value as i32).max(1) as usize
}

/// futex(2): everything but sleeping.
pub fn futex(
    cx: &mut Context,
    address: u64,
    operation: u32,
    value: u32,
    fourth: u64,
    second: u64,
    third: u32,
) -> Outcome {
    let call = match Call::decode(address, operation, value, fourth, second, third) {
        Ok(call) => call,
        Err(error) => return Outcome::Done(Err(error)),
    };
    match call.command {
        abi::FUTEX_WAIT | abi::FUTEX_WAIT_BITSET => match cx.thread.with_space(|space| begin_wait(&call, space)) {
            Ok(wait) => {
                cx.futex = Some(wait);
                Outcome::Block
            }
            Err(error) => Outcome::Done(Err(error)),
        },
        abi::FUTEX_WAKE | abi::FUTEX_WAKE_BITSET => Outcome::Done(wake(&call, &cx.thread)),
        _ => Outcome::Done(act(&call, &cx.thread.space())),
    }
}

/// A wait under way.
pub struct Wait {
    key: Key,
    address: u64,
    value: u32,
    bits: u32,
    deadline: Option<u64>,
    private: bool,
}

/// What of a wait can fail at once.
fn begin_wait(call: &Call, space: &AddressSpace) -> Result<Wait> {
    let Call { address, value, private, .. } = *call;
    let (bits, deadline) = (call.bits()?, call.deadline(space)?);
    if space.load_u32(UserPtr::new(address))? != value {
        return Err(Errno::EAGAIN);
    }
    Ok(Wait { key: call.key(space, address)?, address, value, bits, deadline, private })
}

fn wake(call: &Call, thread: &Thread) -> Result<usize> {
    let bits = call.bits()?;
    let key = thread.with_space(|space| call.key(space, call.address))?;
    Ok(futex::wake(key, bits, wake_count(call.value)))
}

fn act(call: &Call, space: &AddressSpace) -> Result<usize> {
    match call.command {
        abi::FUTEX_REQUEUE | abi::FUTEX_CMP_REQUEUE => requeue(call, space),
        abi::FUTEX_WAKE_OP => {
            check_address(call.second)?;
            let operation = WakeOp::decode(call.third)?;
            let counts = [wake_count(call.value), wake_count(call.fourth as u32)];
            let keys = [call.key(space, call.address)?, call.key(space, call.second)?];
            with_word(space, call.second, || operation.perform(call.second, keys, counts))
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn requeue(call: &Call, space: &AddressSpace) -> Result<usize> {
    check_address(call.second)?;
    let (wakes, moves) = (count(call.value)?, count(call.fourth as u32)?);
    let (from, to) = (call.key(space, call.address)?, call.key(space, call.second)?);
    let compares = call.command == abi::FUTEX_CMP_REQUEUE;
    let (woken, moved) = with_word(space, call.address, || {
        futex::requeue(from, to, wakes, moves, || match futex::word_of(call.address, call.third) {
            _ if !compares => Ok(()),
            Word::Expected => Ok(()),
            Word::Changed => Err(Errno::EAGAIN),
            Word::Absent => Err(Errno::EFAULT),
        })
    })?;
    Ok(woken + moved)
}

/// Repeats an operation that finds its word absent, after making it present.
fn with_word<T>(space: &AddressSpace, address: u64, mut operation: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..PATIENCE {
        match operation() {
            Err(Errno::EFAULT) => {
                // Present and writable: exchanging the word for itself changes nothing.
                let at = UserPtr::new(address);
                let value = space.load_u32(at)?;
                if space.compare_exchange_u32(at, value, value).is_err() {
                    space.load_u32(at)?;
                }
            }
            other => return other,
        }
    }
    Err(Errno::EFAULT)
}

/// Goes on with a wait that was interrupted: restart_syscall(2).
pub(super) async fn resume(
    thread: &Thread,
    address: u64,
    value: u32,
    deadline: u64,
    private: bool,
    bits: u32,
) -> Result<usize> {
    let key = Key::new(&thread.space(), address, private)?;
    wait(thread, &Wait { key, address, value, bits, deadline: Some(deadline), private }).await
}

/// futex(2): the waiting part.
pub(super) async fn wait(thread: &Thread, call: &Wait) -> Result<usize> {
    let Wait { key, address, value, bits, deadline, .. } = *call;
    for _ in 0..PATIENCE {
        let mut waiting = pin!(futex::wait(key, bits, || futex::word_of(address, value)));
        match with_timeout(deadline, interruptible(waiting.as_mut())).await {
            Ok(Ok(Err(Errno::EFAULT))) => {
                thread.space().load_u32(UserPtr::new(address))?;
            }
            Ok(Ok(result)) => return result.map(|()| 0),
            _ if waiting.as_mut().give_up() => return Ok(0),
            Ok(Err(_)) => return Err(interrupted(thread, call)),
            Err(_) => return Err(Errno::ETIMEDOUT),
        }
    }
    Err(Errno::EFAULT)
}

/// A wait without timeout is simply made again; one with a timeout goes on to the same deadline.
fn interrupted(thread: &Thread, call: &Wait) -> Errno {
    let Wait { address, value, bits, private, .. } = *call;
    let Some(deadline) = call.deadline else { return Errno::ERESTARTSYS };
    thread.signals().set_restart(RestartBlock::Futex { address, value, deadline, private, bits });
    Errno::ERESTART_RESTARTBLOCK
}

/// `struct futex_waitv`: value, address, flags and padding.
type WaitEntry = [u64; 3];

/// futex_waitv(2): what can fail without looking at the words.
pub fn futex_waitv(
    _cx: &mut Context,
    entries: UserPtr<WaitEntry>,
    count: u32,
    flags: u32,
    _timeout: UserPtr<[i64; 2]>,
    _clock: i32,
) -> Outcome {
    if flags != 0 || entries.is_null() || count == 0 || count > abi::FUTEX_WAITV_MAX {
        return Outcome::Done(Err(Errno::EINVAL));
    }
    Outcome::Block
}

/// futex_waitv(2): waits for several words at once; gives the place of one that was woken.
pub async fn futex_waitv_blocking(
    cx: &mut Context,
    entries: UserPtr<WaitEntry>,
    count: u32,
    _flags: u32,
    timeout: UserPtr<[i64; 2]>,
    clock: i32,
) -> Result<usize> {
    let space = cx.thread.space();
    let deadline = match timeout.non_null() {
        Some(timeout) => {
            let time = from_timespec(space.read_value(timeout)?)?;
            match clock as u32 {
                abi::CLOCK_MONOTONIC => Some(time),
                abi::CLOCK_REALTIME => Some(time.saturating_sub(machine::realtime_offset_ns())),
                _ => return Err(Errno::EINVAL),
            }
        }
        None => None,
    };
    let mut words = Vec::new();
    words.try_reserve_exact(count as usize)?;
    for index in 0..count as usize {
        let [value, address, flags]: WaitEntry = space.read_value(entries.add(index))?;
        if flags & !u64::from(abi::FUTEX2_PRIVATE) != u64::from(abi::FUTEX2_SIZE_U32) {
            return Err(Errno::EINVAL);
        }
        check_address(address)?;
        let key = Key::new(&space, address, flags & u64::from(abi::FUTEX2_PRIVATE) != 0)?;
        words.push((key, address, value as u32));
    }
    for _ in 0..PATIENCE {
        let mut waits = Vec::new();
        waits.try_reserve_exact(words.len())?;
        for &(key, address, value) in &words {
            waits.push(Box::pin(futex::wait(key, ANY, move || futex::word_of(address, value))));
        }
        let first = poll_fn(|context| {
            for (index, wait) in waits.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = wait.as_mut().poll(context) {
                    return Poll::Ready(outcome.map(|()| index));
                }
            }
            Poll::Pending
        });
        let outcome = with_timeout(deadline, interruptible(first)).await;
        if let Ok(Ok(Ok(index))) = outcome {
            return Ok(index);
        }
        if let Some(index) = waits.iter_mut().position(|wait| wait.as_mut().give_up()) {
            return Ok(index);
        }
        match outcome {
            Ok(Ok(Err(Errno::EFAULT))) => {
                for (_, address, _) in &words {
                    space.load_u32(UserPtr::new(*address))?;
                }
            }
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => return Err(Errno::ERESTARTSYS),
            Err(_) => return Err(Errno::ETIMEDOUT),
        }
    }
    Err(Errno::EFAULT)
}
