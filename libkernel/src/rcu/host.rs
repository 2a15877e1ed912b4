//! Grace periods among the threads of a hosted test: readers are counted in two columns, and a collector thread turns from one to the
//! other, waits until the first is empty, and does so twice before it runs what was retired.

use alloc::sync::Arc;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use super::barrier::Countdown;
use super::callback::{Callback, Callbacks};
use super::owned;
use crate::Result;

extern crate std;

static READERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static COLUMN: AtomicUsize = AtomicUsize::new(0);

static WAITING: Mutex<Callbacks> = Mutex::new(Callbacks::new());
static ARRIVED: Condvar = Condvar::new();

std::thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static MINE: Cell<usize> = const { Cell::new(0) };
}

fn column(number: usize) -> &'static AtomicUsize {
    let [first, second] = &READERS;
    if number == 0 { first } else { second }
}

pub(super) fn begin() {
    if DEPTH.replace(DEPTH.get() + 1) == 0 {
        MINE.set(COLUMN.load(Ordering::SeqCst));
        column(MINE.get()).fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) fn end() {
    DEPTH.set(DEPTH.get() - 1);
    if DEPTH.get() == 0 {
        column(MINE.get()).fetch_sub(1, Ordering::SeqCst);
    }
}

fn wait_for_readers() {
    for _ in 0..2 {
        let old = COLUMN.fetch_xor(1, Ordering::SeqCst);
        while column(old).load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
    }
}

fn collect() {
    loop {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.is_empty() {
            waiting = ARRIVED.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = waiting.take();
        drop(waiting);
        wait_for_readers();
        while let Some(callback) = batch.pop() {
            callback.run();
        }
    }
}

pub(super) fn defer(callback: Callback) {
    static COLLECTOR: OnceLock<()> = OnceLock::new();
    COLLECTOR.get_or_init(|| drop(std::thread::spawn(collect)));
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(callback);
    ARRIVED.notify_one();
}

pub(super) fn notify(callback: Callback) {
    defer(callback);
}

pub(super) fn barrier() -> Result<Arc<Countdown>> {
    let end = Countdown::new(1);
    let step = end.clone();
    defer(owned::callback(move || step.step())?);
    Ok(end)
}

/// Blocks the calling thread until everything that was retired before is gone.
pub fn wait() {
    let done = Arc::new((Mutex::new(false), Condvar::new()));
    let there = done.clone();
    let told = super::defer(move || {
        *there.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        there.1.notify_one();
    });
    if told.is_err() {
        return;
    }
    let mut is_done = done.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*is_done {
        is_done = done.1.wait(is_done).unwrap_or_else(PoisonError::into_inner);
    }
}
