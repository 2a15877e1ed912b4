//! Tests of pipes.

use super::*;
use crate::io::SliceSource;

fn pipe() -> (Arc<Pipe>, PipeEnd, PipeEnd) {
    let pipe = Pipe::new().unwrap();
    let (reader, writer) = (pipe.open(true, false), pipe.open(false, true));
    (pipe, reader, writer)
}

fn read(pipe: &Pipe, count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let count = pipe.read(&mut SliceSink::new(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

fn write(pipe: &Pipe, bytes: &[u8]) -> Result<usize> {
    pipe.write(&mut SliceSource::new(bytes))
}

#[test]
fn bytes_come_out_in_order_around_the_ring() {
    let (pipe, _reader, _writer) = pipe();
    let (mut next_in, mut next_out) = (0u32, 0u32);
    for round in 0..400usize {
        let chunk: Vec<u8> = (0..997 + round * 7).map(|n| (next_in as usize + n) as u8).collect();
        if let Ok(count) = write(&pipe, &chunk) {
            next_in += count as u32;
        }
        for byte in read(&pipe, 800 + round * 9).unwrap_or_default() {
            assert_eq!(byte, next_out as u8);
            next_out += 1;
        }
    }
    assert!(next_out > 500_000);
}

#[test]
fn small_writes_are_atomic_and_large_ones_fill_up() {
    let (pipe, _reader, _writer) = pipe();
    assert_eq!(write(&pipe, &[1; 65_530]), Ok(65_530));
    assert_eq!(write(&pipe, &[2; 100]), Err(Errno::EAGAIN));
    assert_eq!(write(&pipe, &[3; 5000]), Ok(6));
    assert_eq!(write(&pipe, &[4]), Err(Errno::EAGAIN));
    assert_eq!(read(&pipe, 100_000).map(|bytes| bytes.len()), Ok(65_536));
    assert_eq!(read(&pipe, 1), Err(Errno::EAGAIN));
}

#[test]
fn a_side_that_is_gone_is_told() {
    let (pipe, reader, writer) = pipe();
    assert_eq!(writer.poll(&mut PollTable::query()), PollEvents::WRITABLE);
    write(&pipe, b"last").unwrap();
    drop(writer);
    assert_eq!(reader.poll(&mut PollTable::query()), PollEvents::READABLE | PollEvents::HUP);
    assert_eq!(read(&pipe, 10), Ok(b"last".to_vec()));
    assert_eq!(read(&pipe, 10), Ok(Vec::new()));
    drop(reader);
    let writer = pipe.open(false, true);
    assert_eq!(write(&pipe, b"x"), Err(Errno::EPIPE));
    assert!(writer.poll(&mut PollTable::query()).contains(PollEvents::ERR));
}

#[test]
fn a_fault_in_an_atomic_write_leaves_nothing_behind() {
    struct Faulting(usize);
    impl IoSource for Faulting {
        fn remaining(&self) -> usize {
            100
        }
        fn take(&mut self, buffer: &mut [u8]) -> usize {
            core::mem::take(&mut self.0).min(buffer.len())
        }
    }
    let (pipe, _reader, _writer) = pipe();
    assert_eq!(pipe.write(&mut Faulting(50)), Err(Errno::EFAULT));
    assert_eq!(read(&pipe, 1), Err(Errno::EAGAIN));
}

#[test]
fn the_capacity_changes_and_keeps_the_bytes() {
    let (pipe, _reader, _writer) = pipe();
    write(&pipe, &[7; 60_000]).unwrap();
    read(&pipe, 50_000).unwrap();
    write(&pipe, &[8; 3000]).unwrap();
    assert_eq!(pipe.set_capacity(4096), Err(Errno::EBUSY));
    assert_eq!(pipe.set_capacity(12_289), Ok(16_384));
    let bytes = read(&pipe, 20_000).unwrap();
    assert_eq!(bytes, [vec![7; 10_000], vec![8; 3000]].concat());
    assert_eq!(write(&pipe, &[9; 20_000]), Ok(16_384));
}

#[test]
fn what_a_target_does_not_take_stays_and_nobody_else_gets_it_meanwhile() {
    let (pipe, reader, writer) = pipe();
    write(&pipe, b"first second").unwrap();
    let mut buffer = [0; 6];
    assert_eq!(pipe.move_to(&mut buffer, |_| Err(Errno::ENOSPC)), Err(Errno::ENOSPC));
    let moved = pipe.move_to(&mut buffer, |bytes| {
        assert_eq!(bytes, b"first ");
        assert_eq!(read(&pipe, 1), Err(Errno::EAGAIN));
        assert_eq!(pipe.move_to(&mut [0; 1], |_| Ok(1)), Err(Errno::EAGAIN));
        assert!(!reader.poll(&mut PollTable::query()).contains(PollEvents::IN));
        assert!(reader.would_block(true));
        write(&pipe, b" third")?;
        assert_eq!(pipe.set_capacity(4 * PAGE_SIZE), Ok(4 * PAGE_SIZE));
        Ok(5)
    });
    assert_eq!(moved, Ok(5));
    assert_eq!(read(&pipe, 100).unwrap(), b" second third");
    assert_eq!(pipe.move_to(&mut buffer, |_| Ok(1)), Err(Errno::EAGAIN));
    drop(writer);
    assert_eq!(pipe.move_to(&mut buffer, |_| Ok(1)), Ok(0));
}

#[test]
fn what_was_taken_for_a_pipe_is_in_it_whatever_happens_meanwhile() {
    let (pipe, reader, _writer) = pipe();
    let mut buffer = [0; 3000];
    write(&pipe, &[1; 2000]).unwrap();
    let moved = pipe.move_from(&mut buffer, |room| {
        room.fill(3);
        // Others go on to write, and the last reader leaves.
        write(&pipe, &[2; 1500]).unwrap();
        drop(reader);
        Ok(room.len())
    });
    assert_eq!(moved, Ok(3000));
    let _reader = pipe.open(true, false);
    let all = read(&pipe, 10_000).unwrap();
    assert_eq!(all, [vec![1; 2000], vec![2; 1500], vec![3; 3000]].concat());
}

#[test]
fn room_is_set_aside_for_what_is_being_taken() {
    let (pipe, reader, writer) = pipe();
    let mut buffer = [0; 3000];
    write(&pipe, &vec![1; DEFAULT_CAPACITY - 2000]).unwrap();
    let moved = pipe.move_from(&mut buffer, |room| {
        assert_eq!(room.len(), 2000);
        assert_eq!(write(&pipe, &[2]), Err(Errno::EAGAIN));
        assert!(writer.would_block(false));
        Ok(1)
    });
    assert_eq!(moved, Ok(1));
    assert_eq!(write(&pipe, &[2; 1999]), Ok(1999));
    let untouched = |_: &mut [u8]| -> Result<usize> { panic!("nothing may be taken") };
    assert_eq!(pipe.move_from(&mut buffer, untouched), Err(Errno::EAGAIN));
    drop(reader);
    assert_eq!(pipe.move_from(&mut buffer, untouched), Err(Errno::EPIPE));
    let failing = pipe.open(true, false);
    read(&pipe, 3000).unwrap();
    assert_eq!(pipe.move_from(&mut buffer, |_| Err(Errno::EIO)), Err(Errno::EIO));
    assert_eq!(write(&pipe, &[2; 3000]), Ok(3000), "the room came back");
    drop(failing);
}
