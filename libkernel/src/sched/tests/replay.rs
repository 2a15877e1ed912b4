//! P16: a schedule is a function of its events.

use super::super::replay;

#[test]
fn p16_a_recorded_trace_gives_the_recorded_schedule() {
    for _ in 0..2 {
        assert_eq!(replay::hash(replay::SEED, replay::EVENTS), replay::RECORDED);
    }
    assert_ne!(replay::hash(replay::SEED + 1, replay::EVENTS), replay::RECORDED);
}
