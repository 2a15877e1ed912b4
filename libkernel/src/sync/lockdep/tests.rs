//! Each report of the checker, and what it must not report.

use crate::machine::host;
use crate::sync::{IrqSpinLock, SpinLock};
use std::thread;

#[test]
fn locks_in_one_order_are_fine() {
    let (a, b) = (SpinLock::new(()), SpinLock::new(()));
    for _ in 0..2 {
        let first = a.lock();
        let second = b.lock();
        // Released in another order than taken.
        drop(first);
        drop(second);
    }
    drop(b.lock());
    drop(a.lock());
}

#[test]
#[should_panic(expected = "lock order")]
fn two_locks_in_opposite_orders_are_reported_though_nothing_deadlocks() {
    let a = SpinLock::new(());
    let b = SpinLock::new(());
    {
        let _a = a.lock();
        drop(b.lock());
    }
    let _b = b.lock();
    drop(a.lock());
}

#[test]
#[should_panic(expected = "lock order")]
fn a_cycle_of_three_is_reported() {
    let a = IrqSpinLock::new(());
    let b = IrqSpinLock::new(());
    let c = IrqSpinLock::new(());
    {
        let _a = a.lock();
        drop(b.lock());
    }
    {
        let _b = b.lock();
        drop(c.lock());
    }
    let _c = c.lock();
    drop(a.lock());
}

#[test]
#[should_panic(expected = "this core holds it")]
fn a_lock_taken_twice_is_reported_instead_of_hanging() {
    let lock = SpinLock::new(());
    let _held = lock.lock();
    drop(lock.lock());
}

#[test]
#[should_panic(expected = "interrupt-safety")]
fn a_plain_lock_under_one_that_handlers_take_is_reported() {
    let aware = IrqSpinLock::new(());
    let plain = SpinLock::new(());
    host::set_in_interrupt(true);
    drop(aware.lock());
    host::set_in_interrupt(false);
    let _aware = aware.lock();
    drop(plain.lock());
}

#[test]
#[should_panic(expected = "interrupt-safety")]
fn the_order_of_discovery_does_not_matter() {
    let aware = IrqSpinLock::new(());
    let plain = SpinLock::new(());
    {
        let _aware = aware.lock();
        drop(plain.lock());
    }
    host::set_in_interrupt(true);
    drop(aware.lock());
}

#[test]
fn a_lock_only_tried_for_adds_no_order() {
    let a = SpinLock::new(());
    let b = SpinLock::new(());
    {
        let _a = a.lock();
        drop(b.try_lock());
    }
    let _b = b.lock();
    drop(a.lock());
}

/// Locks of one class.
fn alike<const N: usize>() -> [SpinLock<()>; N] {
    core::array::from_fn(|_| SpinLock::new(()))
}

#[test]
#[should_panic(expected = "lock nesting")]
fn two_locks_of_one_class_are_reported_though_nothing_deadlocks() {
    let [a, b] = alike();
    let _a = a.lock();
    drop(b.lock());
}

#[test]
#[should_panic(expected = "lock nesting")]
fn so_are_two_that_handlers_take_and_with_others_between() {
    let [a, b] = core::array::from_fn(|_| IrqSpinLock::new(()));
    let other = IrqSpinLock::new(());
    let _a = a.lock();
    let _other = other.lock();
    drop(b.lock());
}

#[test]
#[should_panic(expected = "lock nesting")]
fn a_pair_under_a_third_lock_of_the_class_is_reported() {
    let [a, b, c] = alike();
    let _a = a.lock();
    drop(SpinLock::lock_pair(&b, &c));
}

#[test]
fn locks_of_one_class_one_after_the_other_are_fine() {
    let [a, b] = alike();
    for _ in 0..2 {
        drop(a.lock());
        drop(b.lock());
    }
}

#[test]
fn an_order_that_the_place_declares_is_fine() {
    let [a, b] = alike();
    let _a = a.lock();
    drop(b.lock_nested());
}

#[test]
#[should_panic(expected = "this core holds it")]
fn a_declared_order_does_not_excuse_the_same_lock() {
    let lock = SpinLock::new(());
    let _held = lock.lock();
    drop(lock.lock_nested());
}

#[test]
fn a_pair_may_be_named_in_either_order() {
    let [a, b] = [1, 2].map(SpinLock::new);
    for (first, second, values) in [(&a, &b, (1, Some(2))), (&b, &a, (2, Some(1))), (&a, &a, (1, None))] {
        let (first, second) = SpinLock::lock_pair(first, second);
        assert_eq!((*first, second.as_deref().copied()), values);
    }
}

#[test]
fn two_cores_that_name_a_pair_in_opposite_orders_do_not_wait_for_each_other() {
    let [a, b] = &alike();
    thread::scope(|scope| {
        for (first, second) in [(a, b), (b, a)] {
            scope.spawn(move || (0..10_000).for_each(|_| drop(SpinLock::lock_pair(first, second))));
        }
    });
}
