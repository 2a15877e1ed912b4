//! All short sequences of events, against the naive model: where few tasks and few events suffice for a mistake, this finds it.

use super::differential::{Event, run};
use super::*;

const ALPHABET: [Event; 10] = [
    Event::Born(0, None, 2),
    Event::Born(10, Some(100_000), 2),
    Event::Run(400_000),
    Event::Run(3 * MS),
    Event::Sleep,
    Event::Wake(0),
    Event::Pick,
    Event::Yield,
    Event::Move(0),
    Event::Renice(0, -10),
];

/// `EXHAUSTIVE_DEPTH` sets the length of the sequences, for deep runs.
#[test]
fn every_short_sequence_of_events_agrees_with_the_model() {
    let depth = std::env::var("EXHAUSTIVE_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(4);
    // Two tasks are there from the start, and one of them runs.
    let start = [Event::Born(0, None, 2), Event::Born(5, Some(MS), 2), Event::Pick];
    for number in 0..ALPHABET.len().pow(depth) {
        let mut rest = number;
        let chosen = (0..depth).map(|_| {
            let event = ALPHABET[rest % ALPHABET.len()].clone();
            rest /= ALPHABET.len();
            event
        });
        let events: Vec<_> = start.iter().cloned().chain(chosen).collect();
        run(&events, 0, 0);
    }
}
