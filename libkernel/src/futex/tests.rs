//! Futexes against a model, and under threads.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::*;
use crate::Errno;
use crate::task::{Task, host, interruptible};

fn key(place: u64) -> Key {
    Key::of_parts(0x1000, place)
}

/// Starts a task that waits on a key and writes down its number when woken.
fn waiter(place: u64, bits: u32, number: u32, woken: &Arc<std::sync::Mutex<Vec<u32>>>) -> Arc<Task> {
    let woken = woken.clone();
    let task = Task::new("waiter", async move {
        if wait(key(place), bits, || Word::Expected).await.is_ok() {
            woken.lock().unwrap().push(number);
        }
    });
    task.wake();
    host::run_until_idle();
    task
}

#[test]
fn a_changed_word_is_not_waited_for() {
    for (word, error) in [(Word::Changed, Errno::EAGAIN), (Word::Absent, Errno::EFAULT)] {
        let result = Arc::new(std::sync::Mutex::new(None));
        let task = Task::new("waiter", {
            let result = result.clone();
            async move {
                let outcome = wait(key(8), ANY, || word).await;
                *result.lock().unwrap() = Some(outcome);
            }
        });
        task.wake();
        host::run_until_idle();
        assert_eq!(*result.lock().unwrap(), Some(Err(error)));
        assert_eq!(wake(key(8), ANY, usize::MAX), 0);
    }
}

#[test]
fn exactly_as_many_are_woken_as_asked_in_order_of_arrival() {
    for count in [0, 1, 2, 16, 17, 40, 50] {
        let woken = Arc::default();
        let tasks: Vec<_> = (0..40).map(|number| waiter(16, ANY, number, &woken)).collect();
        assert_eq!(wake(key(16), ANY, count), count.min(40));
        host::run_until_idle();
        assert_eq!(*woken.lock().unwrap(), (0..count.min(40) as u32).collect::<Vec<_>>());
        wake(key(16), ANY, usize::MAX);
        host::run_until_idle();
        drop(tasks);
    }
}

#[test]
fn bits_and_keys_choose() {
    let woken = Arc::default();
    let _tasks = [waiter(24, 1, 0, &woken), waiter(24, 2, 1, &woken), waiter(28, 3, 2, &woken)];
    assert_eq!(wake(key(24), 4, 9), 0);
    assert_eq!(wake(key(24), 2, 9), 1);
    assert_eq!(wake(key(28), 1, 9), 1);
    assert_eq!(wake(key(24), ANY, 9), 1);
    host::run_until_idle();
    assert_eq!(*woken.lock().unwrap(), [1, 2, 0]);
}

#[test]
fn a_waiter_that_gives_up_is_gone() {
    let woken = Arc::default();
    let task = Task::new("impatient", async {
        let mut waiting = pin!(wait(key(32), ANY, || Word::Expected));
        assert!(interruptible(waiting.as_mut()).await.is_err());
        assert!(!waiting.as_mut().give_up());
    });
    task.wake();
    host::run_until_idle();
    let _patient = waiter(32, ANY, 7, &woken);
    task.set_interrupt(true);
    host::run_until_idle();
    assert_eq!(wake(key(32), ANY, 1), 1);
    host::run_until_idle();
    assert_eq!(*woken.lock().unwrap(), [7]);
}

#[test]
fn a_wake_that_came_before_giving_up_counts() {
    let task = Task::new("late", async {
        let mut waiting = pin!(wait(key(36), ANY, || Word::Expected));
        let mut polled = false;
        core::future::poll_fn(|context| {
            if polled {
                return core::task::Poll::Ready(());
            }
            polled = true;
            let _ = waiting.as_mut().poll(context);
            core::task::Poll::Pending
        })
        .await;
        assert!(waiting.as_mut().give_up());
    });
    task.wake();
    host::run_until_idle();
    assert_eq!(wake(key(36), ANY, 1), 1);
    host::run_until_idle();
    assert_eq!(task.activity(), crate::task::Activity::Finished);
}

#[test]
fn requeued_waiters_are_woken_through_the_new_key() {
    let woken = Arc::default();
    let _tasks: Vec<_> = (0..6).map(|number| waiter(40, ANY, number, &woken)).collect();
    assert_eq!(requeue(key(40), key(44), 1, 3, || Err(Errno::EAGAIN)), Err(Errno::EAGAIN));
    assert_eq!(requeue(key(40), key(44), 1, 3, || Ok(())), Ok((1, 3)));
    host::run_until_idle();
    assert_eq!(*woken.lock().unwrap(), [0]);
    assert_eq!(wake(key(40), ANY, 9), 2);
    assert_eq!(wake(key(44), ANY, 9), 3);
    host::run_until_idle();
    assert_eq!(*woken.lock().unwrap(), [0, 4, 5, 1, 2, 3]);
}

/// A model: the waiters of each key, in order.
#[test]
fn random_operations_agree_with_a_model() {
    let mut seed = 0x1234_5678_9abc_def1u64;
    let mut random = move |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    // The model knows no other test's keys.
    let place = |index: u64| 0x10_0000 + 4 * index;
    let mut model: Vec<VecDeque<(u32, u32)>> = alloc::vec![VecDeque::new(); 3];
    let woken = Arc::default();
    let mut tasks = Vec::new();
    let mut expected = Vec::new();
    for number in 0..5000u32 {
        let (a, b) = (random(3), random(3));
        match random(6) {
            0..=2 => {
                let bits = 1 + random(3) as u32;
                tasks.push(waiter(place(a), bits, number, &woken));
                model[a as usize].push_back((number, bits));
            }
            3 | 4 => {
                let (bits, count) = (1 + random(3) as u32, random(5) as usize);
                let chosen: Vec<u32> =
                    model[a as usize].iter().filter(|w| w.1 & bits != 0).take(count).map(|w| w.0).collect();
                model[a as usize].retain(|w| !chosen.contains(&w.0));
                assert_eq!(wake(key(place(a)), bits, count), chosen.len());
                expected.extend(chosen);
            }
            _ => {
                let (wakes, moves) = (random(3) as usize, random(4) as usize);
                let queue = &mut model[a as usize];
                let wakes = wakes.min(queue.len());
                expected.extend(queue.drain(..wakes).map(|w| w.0));
                let moves = if a == b { 0 } else { moves.min(queue.len()) };
                let moved: Vec<_> = queue.drain(..moves).collect();
                model[b as usize].extend(moved);
                assert_eq!(requeue(key(place(a)), key(place(b)), wakes, moves, || Ok(())), Ok((wakes, moves)));
            }
        }
        host::run_until_idle();
        assert_eq!(*woken.lock().unwrap(), expected);
    }
    (0..3).for_each(|index| {
        wake(key(place(index)), ANY, usize::MAX);
    });
    host::run_until_idle();
}

/// Threads lock and unlock a mutex made of a word, as the C library does; a lost wake hangs, a broken one miscounts.
#[test]
fn a_mutex_under_threads_loses_no_wake() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 3000;
    static WORD: AtomicU32 = AtomicU32::new(0);
    static TOTAL: AtomicUsize = AtomicUsize::new(0);
    async fn lock() {
        if WORD.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return;
        }
        while WORD.swap(2, Ordering::Acquire) != 0 {
            let look = || if WORD.load(Ordering::SeqCst) == 2 { Word::Expected } else { Word::Changed };
            let _ = wait(key(0x20_0000), ANY, look).await;
        }
    }
    fn unlock() {
        if WORD.swap(0, Ordering::Release) == 2 {
            wake(key(0x20_0000), ANY, 1);
        }
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            std::thread::spawn(|| {
                let done = Arc::new(AtomicUsize::new(0));
                let task = Task::new("locker", {
                    let done = done.clone();
                    async move {
                        for _ in 0..ROUNDS {
                            lock().await;
                            let before = TOTAL.load(Ordering::Relaxed);
                            std::hint::spin_loop();
                            TOTAL.store(before + 1, Ordering::Relaxed);
                            unlock();
                        }
                        done.store(1, Ordering::SeqCst);
                    }
                });
                task.wake();
                // A wake from another thread puts the task into that thread's queue, which then runs it.
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
                while done.load(Ordering::SeqCst) == 0 {
                    host::run_until_idle();
                    assert!(std::time::Instant::now() < deadline, "a wake was lost");
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(TOTAL.load(Ordering::Relaxed), THREADS * ROUNDS);
}
