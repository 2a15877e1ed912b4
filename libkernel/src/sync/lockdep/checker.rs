//! What the checker knows, and its decisions.
//!
//! The order of the classes is a matrix of bits that all cores share: reading it takes no lock, adding to it a spinning flag. The
//! locks that a core holds are on a stack of its own.

use super::Class;
use crate::machine;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

type Place = &'static Location<'static>;

/// How many classes are told apart; locks of further ones are not checked.
const CLASSES: usize = 512;
const WORDS: usize = CLASSES / 64;
/// How many orders keep their places for the report.
const PLACES: usize = 4096;
/// How many locks of a core are noted.
const DEPTH: usize = 24;

type Set = [AtomicU64; WORDS];

struct Edge {
    key: AtomicU64,
    held: AtomicPtr<Location<'static>>,
    taken: AtomicPtr<Location<'static>>,
}

static NAMES: [AtomicPtr<Location<'static>>; CLASSES] = [const { AtomicPtr::new(ptr::null_mut()) }; CLASSES];
/// For each class those that were taken while it was held.
static AFTER: [Set; CLASSES] = [const { [const { AtomicU64::new(0) }; WORDS] }; CLASSES];
static PLAIN: Set = [const { AtomicU64::new(0) }; WORDS];
static IN_INTERRUPT: Set = [const { AtomicU64::new(0) }; WORDS];
static EDGES: [Edge; PLACES] = [const {
    Edge { key: AtomicU64::new(0), held: AtomicPtr::new(ptr::null_mut()), taken: AtomicPtr::new(ptr::null_mut()) }
}; PLACES];
/// Held while a new order is checked and noted. Nothing else is taken under it.
static BUSY: AtomicBool = AtomicBool::new(false);
/// After a report nothing is checked: the panic has to print.
static OFF: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy)]
struct Held {
    address: *const (),
    class: Option<usize>,
    place: Place,
}

struct Stack {
    held: [Option<Held>; DEPTH],
    depth: usize,
    /// The lock that the core waits for, or waited for last, and where; for the debugger.
    wanted: *const (),
    wanted_at: Option<Place>,
}

impl Stack {
    const EMPTY: Self = Self { held: [None; DEPTH], depth: 0, wanted: ptr::null(), wanted_at: None };
}

#[cfg(target_os = "none")]
crate::per_cpu! { static STACK: Stack = Stack::EMPTY; }

#[cfg(target_os = "none")]
fn with_stack<R>(action: impl FnOnce(&mut Stack) -> R) -> R {
    STACK.with(action)
}

#[cfg(not(target_os = "none"))]
fn with_stack<R>(action: impl FnOnce(&mut Stack) -> R) -> R {
    extern crate std;
    // A thread, not the core that it plays: two threads may play one core.
    std::thread_local! { static STACK: core::cell::RefCell<Stack> = const { core::cell::RefCell::new(Stack::EMPTY) }; }
    STACK.with_borrow_mut(action)
}

fn contains(set: &Set, class: usize) -> bool {
    set.get(class / 64).is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (class % 64)) != 0)
}

fn add(set: &Set, class: usize) {
    if let Some(word) = set.get(class / 64) {
        word.fetch_or(1 << (class % 64), Ordering::Relaxed);
    }
}

/// The number of a class; `None` if there are too many.
fn number(class: &Class) -> Option<usize> {
    let name = ptr::from_ref(class.created).cast_mut();
    let start = (name.addr() >> 3).wrapping_mul(0x9e37_79b9) % CLASSES;
    for index in (start..CLASSES).chain(0..start) {
        let slot = NAMES.get(index)?;
        let found = slot.load(Ordering::Acquire);
        let found = if found.is_null() {
            match slot.compare_exchange(found, name, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => name,
                Err(other) => other,
            }
        } else {
            found
        };
        if found == name {
            if class.plain {
                add(&PLAIN, index);
            }
            return Some(index);
        }
    }
    None
}

fn name(class: usize) -> Option<Place> {
    // SAFETY: the table holds null or pointers made from `&'static Location`.
    NAMES.get(class).and_then(|name| unsafe { name.load(Ordering::Acquire).as_ref() })
}

#[track_caller]
pub(super) fn about_to_wait(class: &Class, address: *const (), nested: bool, place: Place) {
    if OFF.load(Ordering::Relaxed) {
        return;
    }
    let number = number(class);
    let (same, alike) = with_stack(|stack| {
        (stack.wanted, stack.wanted_at) = (address, Some(place));
        let mut held = stack.held.iter().take(stack.depth).flatten();
        let same = held.clone().find(|held| held.address == address).copied();
        (same, held.find(|held| number.is_some() && held.class == number).copied())
    });
    if let Some(same) = same {
        report(format_args!("lock of {} taken at {place}, but this core holds it since {}", class.created, same.place));
    }
    if let Some(alike) = alike.filter(|_| !nested) {
        report(format_args!(
            "lock nesting: {place} takes a lock of {} while {} holds another of that class, and nothing says in which order",
            class.created, alike.place
        ));
    }
}

#[track_caller]
pub(super) fn acquired(class: &Class, address: *const (), tried: bool, place: Place) {
    if OFF.load(Ordering::Relaxed) {
        return;
    }
    let number = number(class);
    let mut before = [None; DEPTH];
    with_stack(|stack| {
        stack.wanted = ptr::null();
        before = stack.held;
        if let Some(slot) = stack.held.get_mut(stack.depth) {
            *slot = Some(Held { address, class: number, place });
            stack.depth += 1;
        }
    });
    let Some(number) = number else { return };
    if !tried {
        for held in before.into_iter().flatten() {
            if let Some(first) = held.class.filter(|first| *first != number) {
                order(first, number, held.place, place);
            }
        }
    }
    if !class.plain && machine::in_interrupt() && !contains(&IN_INTERRUPT, number) {
        add(&IN_INTERRUPT, number);
        if let Some(other) = (0..CLASSES).find(|other| successor(number, *other) && contains(&PLAIN, *other)) {
            unsafe_in_interrupt(number, other, place);
        }
    }
}

pub(super) fn released(address: *const ()) {
    with_stack(|stack| {
        let depth = stack.depth;
        let found = stack.held.iter().take(depth).rposition(|held| held.is_some_and(|held| held.address == address));
        if let Some(index) = found {
            if let Some(held) = stack.held.get_mut(index..depth) {
                held.rotate_left(1);
            }
            stack.depth = depth - 1;
            if let Some(last) = stack.held.get_mut(depth - 1) {
                *last = None;
            }
        }
    });
}

fn successor(first: usize, second: usize) -> bool {
    AFTER.get(first).is_some_and(|after| contains(after, second))
}

/// Notes that `second` was taken while `first` was held, if that is new, and checks it.
#[track_caller]
fn order(first: usize, second: usize, held: Place, taken: Place) {
    if successor(first, second) {
        return;
    }
    let interrupts = machine::mask_interrupts();
    while BUSY.swap(true, Ordering::Acquire) {
        machine::relax();
    }
    let step = step_back(second, first);
    if step.is_none()
        && let Some(after) = AFTER.get(first)
    {
        add(after, second);
        note_places(first, second, held, taken);
    }
    BUSY.store(false, Ordering::Release);
    machine::restore_interrupts(interrupts);
    if let Some(next) = step {
        let (other_held, other_taken) = places(second, next);
        report(format_args!(
            "lock order: {taken} takes the lock of {} while {held} holds that of {}; \
             the other way round, {} took a lock of {} while {} held that of {}",
            Named(second),
            Named(first),
            Maybe(other_taken),
            Named(next),
            Maybe(other_held),
            Named(second),
        ));
    }
    if contains(&IN_INTERRUPT, first) && contains(&PLAIN, second) {
        unsafe_in_interrupt(first, second, taken);
    }
}

/// The first step on a way from class `from` to class `to`.
fn step_back(from: usize, to: usize) -> Option<usize> {
    (0..CLASSES).find(|next| successor(from, *next) && (*next == to || reaches(*next, to)))
}

fn reaches(from: usize, to: usize) -> bool {
    let mut seen = [0u64; WORDS];
    let mut front = [0u64; WORDS];
    let set = |bits: &mut [u64; WORDS], class: usize| {
        if let Some(word) = bits.get_mut(class / 64) {
            *word |= 1 << (class % 64);
        }
    };
    set(&mut front, from);
    while let Some(class) = (0..CLASSES).find(|class| {
        let bit = |bits: &[u64; WORDS]| bits.get(class / 64).is_some_and(|word| word & (1 << (class % 64)) != 0);
        bit(&front) && !bit(&seen)
    }) {
        if class == to {
            return true;
        }
        set(&mut seen, class);
        if let Some(after) = AFTER.get(class) {
            front.iter_mut().zip(after).for_each(|(bits, more)| *bits |= more.load(Ordering::Relaxed));
        }
    }
    false
}

fn key(first: usize, second: usize) -> u64 {
    1 + (first * CLASSES + second) as u64
}

fn note_places(first: usize, second: usize, held: Place, taken: Place) {
    let key = key(first, second);
    let start = key as usize % PLACES;
    let mut slots = EDGES.iter().cycle().skip(start).take(PLACES);
    if let Some(edge) = slots.find(|edge| edge.key.load(Ordering::Relaxed) == 0) {
        edge.held.store(ptr::from_ref(held).cast_mut(), Ordering::Relaxed);
        edge.taken.store(ptr::from_ref(taken).cast_mut(), Ordering::Relaxed);
        edge.key.store(key, Ordering::Release);
    }
}

fn places(first: usize, second: usize) -> (Option<Place>, Option<Place>) {
    let key = key(first, second);
    let edge = EDGES.iter().find(|edge| edge.key.load(Ordering::Acquire) == key);
    // SAFETY: the table holds null or pointers made from `&'static Location`.
    let place = |place: &AtomicPtr<Location<'static>>| unsafe { place.load(Ordering::Relaxed).as_ref() };
    edge.map_or((None, None), |edge| (place(&edge.held), place(&edge.taken)))
}

#[track_caller]
fn unsafe_in_interrupt(interrupt_aware: usize, plain: usize, place: Place) {
    let (held, taken) = places(interrupt_aware, plain);
    report(format_args!(
        "interrupt-safety, seen at {place}: handlers take the lock of {}, under which the plain lock of {} is taken \
         ({} holds the one, {} takes the other)",
        Named(interrupt_aware),
        Named(plain),
        Maybe(held),
        Maybe(taken),
    ));
}

struct Named(usize);

impl core::fmt::Display for Named {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        Maybe(name(self.0)).fmt(f)
    }
}

struct Maybe(Option<Place>);

impl core::fmt::Display for Maybe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(place) => place.fmt(f),
            None => f.write_str("(unknown)"),
        }
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a lock-order violation is a bug, and only debug builds look for it")]
fn report(what: core::fmt::Arguments<'_>) {
    // The tests of the checker go on after a report; the kernel does not.
    OFF.store(!cfg!(test), Ordering::Relaxed);
    panic!("{what}");
}
