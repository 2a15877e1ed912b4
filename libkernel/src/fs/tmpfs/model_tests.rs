//! tmpfs content against a plain vector of bytes.

use proptest::prelude::*;

use super::content::Content;
use super::usage::Usage;
use crate::fs::inode::WritePosition;
use crate::io::{SliceSink, SliceSource};
use linux_raw_sys::general as linux;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Append(Vec<u8>),
    Truncate(u64),
    Punch(u64, u64),
    Zero(u64, u64),
    Read(u64, usize),
    Touch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let offset = 0u64..40_000;
    let bytes = prop::collection::vec(1u8..255, 0..9000);
    prop_oneof![
        (offset.clone(), bytes.clone()).prop_map(|(at, bytes)| Step::Write(at, bytes)),
        bytes.prop_map(Step::Append),
        offset.clone().prop_map(Step::Truncate),
        (offset.clone(), 1u64..20_000).prop_map(|(at, length)| Step::Punch(at, length)),
        (offset.clone(), 1u64..20_000).prop_map(|(at, length)| Step::Zero(at, length)),
        (offset, 0usize..20_000).prop_map(|(at, length)| Step::Read(at, length)),
        (0u64..12).prop_map(Step::Touch),
    ]
}

fn write_model(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    model.resize(model.len().max(at + bytes.len()), 0);
    model[at..at + bytes.len()].copy_from_slice(bytes);
}

fn clear_model(model: &mut Vec<u8>, at: u64, length: u64, extend: bool) {
    if extend && (at + length) as usize > model.len() {
        model.resize((at + length) as usize, 0);
    }
    let end = ((at + length) as usize).min(model.len());
    let start = (at as usize).min(end);
    model[start..end].fill(0);
}

static INITIAL: [u8; 10_000] = [0x5a; 10_000];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn content_is_a_vector_of_bytes(born in any::<bool>(), steps in prop::collection::vec(step(), 1..40)) {
        let usage = Usage::new(1000, 10);
        let initial: &'static [u8] = if born { &INITIAL } else { &[] };
        let mut content = Content::new(initial);
        let mut model = initial.to_vec();
        for step in steps {
            match step {
                Step::Write(at, bytes) => {
                    let result = content.write_at(WritePosition::At(at), u64::MAX, &mut SliceSource::new(&bytes), &usage);
                    prop_assert_eq!(result, Ok((bytes.len(), at + bytes.len() as u64)));
                    write_model(&mut model, at as usize, &bytes);
                }
                Step::Append(bytes) => {
                    content.write_at(WritePosition::Append, u64::MAX, &mut SliceSource::new(&bytes), &usage).unwrap();
                    model.extend_from_slice(&bytes);
                }
                Step::Truncate(size) => {
                    content.truncate(size, &usage).unwrap();
                    model.resize(size as usize, 0);
                }
                Step::Punch(at, length) => {
                    let mode = linux::FALLOC_FL_PUNCH_HOLE | linux::FALLOC_FL_KEEP_SIZE;
                    content.allocate(mode, at, length, &usage).unwrap();
                    clear_model(&mut model, at, length, false);
                }
                Step::Zero(at, length) => {
                    content.allocate(linux::FALLOC_FL_ZERO_RANGE, at, length, &usage).unwrap();
                    clear_model(&mut model, at, length, true);
                }
                Step::Read(at, length) => {
                    let mut bytes = vec![0xff; length];
                    let count = content.read_at(at, &mut SliceSink::new(&mut bytes)).unwrap();
                    let start = (at as usize).min(model.len());
                    let end = (start + length).min(model.len());
                    prop_assert_eq!(&bytes[..count], &model[start..end]);
                }
                Step::Touch(index) => {
                    prop_assert_eq!(content.page(index, true, &usage).is_ok(), index * 4096 < model.len() as u64);
                }
            }
            prop_assert_eq!(content.size(), model.len() as u64);
        }
        let mut bytes = vec![0; model.len()];
        content.read_at(0, &mut SliceSink::new(&mut bytes)).unwrap();
        prop_assert_eq!(bytes, model);
        content.clear(&usage);
        prop_assert_eq!(usage.free_pages(), 1000);
    }
}
