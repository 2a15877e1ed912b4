//! Many cores on one: mixtures of programs on the [simulated machine](Machine).
//!
//! A run is a function of its seed: a failure names it, and repeats with it.

use super::simulated_machine::{Machine, Place};
use super::*;

/// A real-time task that is bound to `core`: it runs for `burst` and sleeps for `sleep`.
fn add_realtime(machine: &mut Machine, core: usize, burst: u64, sleep: u64) {
    machine.spawn(core, realtime(Policy::Fifo, 50), burst, sleep, Some(core));
}

/// A mixture of hogs and sleepers, some bound, born at random cores.
fn mixture(seed: u64, cores: usize, tasks: usize) -> Machine {
    let mut machine = Machine::new(seed, cores);
    add_mixture(&mut machine, tasks);
    machine
}

fn add_mixture(machine: &mut Machine, tasks: usize) {
    let cores = machine.cores.len();
    for _ in 0..tasks {
        let here = machine.random(cores as u64) as usize;
        let request = with_slice(machine.random(40) as i8 - 20, 100_000 + machine.random(5 * MS));
        let hog = machine.random(4) == 0;
        let burst = if hog { 0 } else { 10_000 + machine.random(4 * MS) };
        let sleep = 10_000 + machine.random(8 * MS);
        let bound = (machine.random(8) == 0).then(|| machine.random(cores as u64) as usize);
        machine.spawn(here, request, burst, sleep, bound);
    }
}

#[test]
fn any_mixture_keeps_the_invariants() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    for seed in 1..=seeds {
        let cores = [1, 2, 3, 4, 8, 16][seed as usize % 6];
        mixture(seed, cores, 1 + seed as usize % 50).run_until(300 * MS);
    }
}

#[test]
fn real_time_tasks_among_them_keep_the_invariants() {
    for seed in 1..=60 {
        let cores = [2, 3, 4, 8, 16][seed as usize % 5];
        let mut machine = mixture(seed, cores, 1 + seed as usize % 50);
        for core in 0..cores / 2 {
            let (burst, sleep) = (10_000 + machine.random(30 * MS), 10_000 + machine.random(8 * MS));
            add_realtime(&mut machine, core, burst, sleep);
        }
        machine.run_until(300 * MS);
    }
}

/// How many of the first `count` tasks each core has.
fn spread(machine: &Machine, count: usize) -> Vec<usize> {
    let on = |core| machine.places[..count].iter().filter(|place| **place == Place::Queue(core)).count();
    (0..machine.cores.len()).map(on).collect()
}

/// No slice ends where a task that wakes each 250 µs preempts the hogs.
#[test]
fn hogs_released_beside_a_busy_real_time_task_are_spread_in_20_ms() {
    for seed in 1..=20 {
        for cores in [2, 4, 8] {
            let mut machine = Machine::new(seed, cores);
            for _ in 0..16 {
                machine.spawn(0, Request::NORMAL, 0, 0, Some(0));
            }
            add_realtime(&mut machine, 0, 160_000, 250_000);
            machine.run_until(50 * MS);
            assert_eq!(machine.relieved, 0);
            (0..16).for_each(|hog| machine.release(hog));
            machine.run_until(70 * MS);
            let (lengths, share) = (spread(&machine, 16), 16 / cores);
            assert!(lengths.iter().all(|length| length.abs_diff(share) <= 1), "seed {seed}: {lengths:?}");
            let moves = machine.relieved + machine.steals;
            assert!(moves < 16, "seed {seed}: {moves} moves");
            machine.run_until(1070 * MS);
            assert_eq!(machine.relieved + machine.steals, moves, "seed {seed}: an even load is left where it is");
        }
    }
}

#[test]
fn nobody_waits_behind_a_real_time_task_while_a_core_sleeps() {
    for seed in 1..=20 {
        let mut machine = Machine::new(seed, 2);
        machine.spawn(0, Request::NORMAL, 0, 0, Some(0));
        add_realtime(&mut machine, 0, 40 * MS, 5 * MS);
        machine.run_until(20 * MS);
        assert_eq!(machine.cores[0].queue.class(), Class::Realtime);
        machine.release(0);
        machine.run_until(22 * MS);
        assert_eq!(spread(&machine, 1), [0, 1], "seed {seed}");
    }
}

/// However soon each waiter's turn comes.
#[test]
fn two_hogs_of_the_shortest_slice_do_not_share_a_core_beside_a_sleeping_one() {
    for seed in 1..=20 {
        let mut machine = Machine::new(seed, 2);
        for _ in 0..2 {
            machine.spawn(0, with_slice(0, MS / 10), 0, 0, Some(0));
        }
        machine.run_until(20 * MS);
        (0..2).for_each(|hog| machine.release(hog));
        machine.run_until(22 * MS);
        assert_eq!(spread(&machine, 2), [1, 1], "seed {seed}");
    }
}

#[test]
fn sixteen_hogs_born_on_one_core_are_spread_in_50_ms() {
    for seed in 1..20 {
        let mut machine = Machine::new(seed, 4);
        for _ in 0..16 {
            machine.spawn(0, Request::NORMAL, 0, 0, None);
        }
        machine.run_until(50 * MS);
        let lengths: Vec<_> = machine.cores.iter().map(|core| core.queue.len()).collect();
        assert!(lengths.iter().all(|length| (3..=5).contains(length)), "seed {seed}: {lengths:?}");
    }
}

#[test]
fn as_many_hogs_as_cores_get_one_each_in_10_ms() {
    for cores in [2, 4, 8, 64] {
        let mut machine = Machine::new(cores as u64, cores);
        for _ in 0..cores {
            machine.spawn(0, Request::NORMAL, 0, 0, None);
        }
        machine.run_until(10 * MS);
        assert!(machine.cores.iter().all(|core| core.queue.len() == 1));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut machine = mixture(7, 8, 60);
        machine.run_until(200 * MS);
        (machine.service, machine.sent, machine.decisions, machine.steals)
    };
    assert_eq!(run(), run());
}

/// How the cost of a decision and the imbalance grow with the machine. `SCALING=full` goes up to 256 cores and 100,000 tasks and
/// prints the table of `docs/scaling.md` (`just scaling`).
#[test]
fn the_queues_stay_even_as_the_machine_grows() {
    let full = std::env::var("SCALING").is_ok_and(|value| value == "full");
    let sizes: [(usize, usize); 6] = [(1, 100), (4, 400), (16, 1_600), (64, 6_400), (256, 25_600), (256, 100_000)];
    for (cores, tasks) in sizes.into_iter().filter(|(cores, _)| full || *cores <= 16) {
        let mut machine = Machine::new(1, cores);
        let start = std::time::Instant::now();
        // One on each core in 50 µs: were all born at one instant, no message about them would have arrived by then.
        let rounds = tasks.div_ceil(cores);
        for round in 0..rounds {
            add_mixture(&mut machine, cores.min(tasks - round * cores));
            machine.run((round as u64 + 1) * 50_000, 1_000_000);
        }
        machine.run(rounds as u64 * 50_000 + 100 * MS, 1_000_000);
        let elapsed = start.elapsed().as_nanos() as u64;
        let lengths = || machine.cores.iter().map(|core| core.queue.len());
        let (least, most) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
        assert!(most - least <= 5, "{cores} cores: queues of {least} to {most} tasks");
        if full {
            let decisions = machine.decisions.max(1);
            let messages = machine.sent as f64 / decisions as f64;
            std::println!(
                "| {cores} | {tasks} | {decisions} | {} | {messages:.3} | {least} to {most} |",
                elapsed / decisions
            );
        }
    }
}
