//! Tests of epoll sets: readiness, modes, and sets within sets.

use super::*;
use crate::fs::anonymous;
use crate::fs::eventfd::EventFd;
use crate::fs::open_flags::OpenFlags;
use crate::io::{SliceSink, SliceSource};
use linux::{EPOLLET, EPOLLIN, EPOLLONESHOT, EPOLLOUT};

fn event() -> Arc<OpenFile> {
    anonymous::open(EventFd::new(0, false), "event", OpenFlags::READ_WRITE).unwrap()
}

fn signal(file: &OpenFile) {
    file.write(u64::MAX, &mut SliceSource::new(&1u64.to_ne_bytes())).unwrap();
}

fn drain(file: &OpenFile) {
    file.read(&mut SliceSink::new(&mut [0; 8])).unwrap();
}

fn wait(set: &Epoll) -> alloc::vec::Vec<u64> {
    let mut found = alloc::vec::Vec::new();
    set.collect(10, &mut |report| {
        found.push(report.data);
        true
    });
    found
}

#[test]
fn level_edge_and_one_shot_report_as_often_as_they_should() {
    let set = Epoll::new();
    let files = [event(), event(), event()];
    for (data, (file, mode)) in files.iter().zip([0, EPOLLET, EPOLLONESHOT]).enumerate() {
        set.add(Fd(data as i32), file, EPOLLIN | mode, data as u64).unwrap();
    }
    assert_eq!(wait(&set), []);
    files.iter().for_each(|file| signal(file));
    assert_eq!(wait(&set), [0, 1, 2]);
    assert_eq!(wait(&set), [0], "only the level-triggered one is still ready");
    files.iter().for_each(|file| signal(file));
    assert_eq!(wait(&set), [0, 1]);
    set.modify(Fd(2), &files[2], EPOLLIN | EPOLLONESHOT, 9).unwrap();
    assert_eq!(wait(&set), [0, 9]);
    drain(&files[0]);
    assert_eq!(wait(&set), []);
}

#[test]
fn what_is_not_taken_stays_ready() {
    let set = Epoll::new();
    let files = [event(), event(), event()];
    for (data, (file, mode)) in files.iter().zip([EPOLLET, EPOLLONESHOT, 0]).enumerate() {
        set.add(Fd(data as i32), file, EPOLLIN | mode, data as u64).unwrap();
        signal(file);
    }
    assert_eq!(set.collect(10, &mut |report| report.data == 0), 1);
    assert_eq!(wait(&set), [1, 2]);
    assert_eq!(wait(&set), [2]);
}

#[test]
fn items_are_added_once_removed_once_and_go_with_their_file() {
    let set = Epoll::new();
    let file = event();
    set.add(Fd(3), &file, EPOLLIN | EPOLLOUT, 1).unwrap();
    assert_eq!(set.add(Fd(3), &file, EPOLLIN, 1), Err(Errno::EEXIST));
    set.add(Fd(4), &file, EPOLLOUT, 2).unwrap();
    assert_eq!(wait(&set), [1, 2]);
    set.remove(Fd(3), &file).unwrap();
    assert_eq!(set.remove(Fd(3), &file), Err(Errno::ENOENT));
    assert_eq!(wait(&set), [2]);
    drop(file);
    assert_eq!(wait(&set), []);
}

#[test]
fn sets_watch_sets_but_not_in_a_circle() {
    let (inner, outer) = (Epoll::new(), Epoll::new());
    let open = |set: &Arc<Epoll>| anonymous::open(set.clone(), "epoll", OpenFlags::READ_WRITE).unwrap();
    let (inner_file, outer_file, event) = (open(&inner), open(&outer), event());
    outer.add(Fd(1), &inner_file, EPOLLIN, 7).unwrap();
    assert_eq!(inner.add(Fd(2), &outer_file, EPOLLIN, 8), Err(Errno::ELOOP));
    assert_eq!(outer.add(Fd(2), &outer_file, EPOLLIN, 8), Err(Errno::EINVAL));
    inner.add(Fd(3), &event, EPOLLIN, 9).unwrap();
    assert_eq!(wait(&outer), []);
    signal(&event);
    assert_eq!((wait(&outer), wait(&inner)), (alloc::vec![7], alloc::vec![9]));
    drain(&event);
    assert_eq!(wait(&outer), []);
}

fn open(set: &Arc<Epoll>) -> Arc<OpenFile> {
    anonymous::open(set.clone(), "epoll", OpenFlags::READ_WRITE).unwrap()
}

/// Sets of which each watches the next, added in this order, as far as that is allowed; with their files.
fn chain(order: impl Iterator<Item = usize>) -> (alloc::vec::Vec<Arc<Epoll>>, usize) {
    let sets: alloc::vec::Vec<_> = (0..20).map(|_| Epoll::new()).collect();
    let files: alloc::vec::Vec<_> = sets.iter().map(open).collect();
    let allowed = order.take_while(|&at| sets[at].add(Fd(1), &files[at + 1], EPOLLIN, 0).is_ok()).count();
    core::mem::forget(files);
    (sets, allowed)
}

#[test]
fn sets_are_nested_five_deep_whichever_is_added_first() {
    assert_eq!(chain((0..19).rev()).1, MAX_DEPTH);
    assert_eq!(chain(0..19).1, MAX_DEPTH);
    // Chains that are joined in the middle count together.
    let (sets, allowed) = chain([0, 1, 2, 4, 5, 6, 3].into_iter());
    assert_eq!((sets.len(), allowed), (20, 6));
}

#[test]
fn the_ways_through_sets_stay_few() {
    // Each set of a level watches all of the next: without a limit, a wake at the bottom would take 20 * 20 * 20 ways.
    let level = || -> alloc::vec::Vec<_> { (0..20).map(|_| Epoll::new()).collect() };
    let levels = [level(), level(), level(), level()];
    let files = levels.each_ref().map(|level| level.iter().map(open).collect::<alloc::vec::Vec<_>>());
    let mut refused = 0;
    for (above, below) in levels.iter().zip(files.iter().skip(1)) {
        for set in above {
            for (fd, file) in (0..).zip(below) {
                refused += usize::from(set.add(Fd(fd), file, EPOLLIN, 0) == Err(Errno::ELOOP));
            }
        }
    }
    assert!(refused > 0);
    for set in levels.iter().flatten() {
        assert!(set.check_above(0, &mut { MAX_WAYS }).is_ok());
    }
}

#[test]
fn a_set_may_be_watched_again_after_it_was_not() {
    let (outer, inner) = (Epoll::new(), Epoll::new());
    let file = open(&inner);
    for _ in 0..2 * MAX_WAYS {
        outer.add(Fd(1), &file, EPOLLIN, 0).unwrap();
        outer.remove(Fd(1), &file).unwrap();
    }
    assert!(inner.watchers.lock().is_empty());
}
