//! `usertest`: tests of Linux behaviour, run as a program under Lichen and under Linux.
//!
//! `usertest [FILTER]... [--list] [--repeat N] [--jobs N] [--patience N] [--times]` runs the
//! tests whose names contain a filter; `usertest fuzz SEED COUNT` throws random
//! system calls at the kernel; `usertest bench [ROW]...` measures paths. As
//! the first process of a machine it mounts what it needs, runs what the kernel's
//! command line passed after `--` (everything by default) and powers off.

mod bench;
mod check;
mod fuzz;
mod helper;
mod init;
mod runner;
mod sys;
mod tests;

use std::process::ExitCode;

const USAGE: &str = "usage: usertest [FILTER]... [--list] [--repeat N] [--jobs N] [--patience N] [--times]
       usertest fuzz SEED COUNT
       usertest bench [ROW]... [--n N] [--quick] [--list]";

fn main() -> ExitCode {
    let first_process = sys::getpid() == 1;
    if first_process {
        init::prepare();
    }
    let code = command(std::env::args().skip(1).collect());
    if first_process {
        println!("usertest: exit status {code}");
        init::power_off();
    }
    ExitCode::from(code)
}

/// Runs one command line; the value is the exit status.
fn command(args: Vec<String>) -> u8 {
    match args.split_first() {
        Some((word, rest)) if word == "--helper" => match rest.split_first() {
            Some((name, rest)) => helper::run(name, rest) as u8,
            None => usage("--helper needs a name"),
        },
        Some((word, rest)) if word == "fuzz" => match rest {
            [seed, count] => match (seed.parse(), count.parse()) {
                (Ok(seed), Ok(count)) => fuzz::command(seed, count),
                _ => usage("SEED and COUNT are numbers"),
            },
            _ => usage("fuzz needs SEED and COUNT"),
        },
        Some((word, rest)) if word == "bench" => bench::command(rest),
        _ => run_tests(args),
    }
}

fn usage(problem: &str) -> u8 {
    eprintln!("usertest: {problem}\n{USAGE}");
    2
}

fn run_tests(args: Vec<String>) -> u8 {
    let mut options = runner::Options { filters: Vec::new(), repeat: 1, jobs: 1, patience: 1, times: false };
    let mut list = false;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
        match arg.as_str() {
            "--list" => list = true,
            "--times" => options.times = true,
            "--help" => {
                println!("{USAGE}");
                return 0;
            }
            "--repeat" | "--jobs" | "--patience" => match number() {
                Some(n) if arg == "--repeat" => options.repeat = n,
                Some(n) if arg == "--jobs" => options.jobs = n,
                Some(n) => options.patience = n as u64,
                None => return usage(&format!("{arg} needs a positive number")),
            },
            word if word.starts_with('-') => return usage(&format!("unknown option {word}")),
            filter => options.filters.push(filter.to_owned()),
        }
    }
    if list {
        tests::all()
            .filter(|test| runner::selected(test, &options.filters))
            .for_each(|test| println!("{}", test.name()));
        return 0;
    }
    let tally = runner::run(&options);
    println!("{} passed, {} failed", tally.passed, tally.failed);
    u8::from(tally.failed > 0 || tally.passed == 0)
}
