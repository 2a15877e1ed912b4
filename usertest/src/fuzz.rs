//! A seeded fuzzer of system calls: `usertest fuzz SEED COUNT`.
//!
//! Calls run in batches, each batch in a child with a user of its own, few rights
//! and low limits. That the child dies, or hangs until it is killed, is fine. What
//! counts is that the kernel lives: after each batch every process of that user
//! can be killed and reaped, and at the end the machine still works and has its
//! memory back. The same seed makes the same calls.

use crate::call;
use crate::sys::{self, Arg, MS, Pid, raw};

/// The user that the batches run as; nobody else's processes can be hurt by it.
const FUZZ_USER: u32 = 54_321;
/// Calls in one batch.
const BATCH: u64 = 64;
/// Milliseconds until a batch is killed.
const PATIENCE: u64 = 300;
/// Kilobytes that may be missing at the end: caches, names, fragmentation.
const SLACK_KB: u64 = 32 * 1024;

/// `xorshift64*`, good enough and reproducible.
pub struct Random(u64);

impl Random {
    /// A generator named by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Calls made, in batches that came to their end.
    pub calls: u64,
    /// Batches which a signal ended.
    pub died: u64,
    /// Batches which had to be killed.
    pub stuck: u64,
    /// Kilobytes of free memory lost.
    pub lost_kb: u64,
}

/// The sub-command; the value is the exit status.
pub fn command(seed: u64, count: u64) -> u8 {
    match run(seed, count) {
        Ok(outcome) => {
            println!("fuzz: seed {seed}: {outcome:?}");
            u8::from(outcome.lost_kb > SLACK_KB)
        }
        Err(reason) => {
            println!("fuzz: seed {seed}: {reason}");
            1
        }
    }
}

/// Makes about `count` calls; an error says what the kernel could not do afterwards.
pub fn run(seed: u64, count: u64) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let before = free_kb();
    for number in 0..count.div_ceil(BATCH) {
        let batch_seed = seed.wrapping_add(number.wrapping_mul(0x1_0001));
        let child = sys::fork().map_err(|errno| format!("batch {number}: fork: {errno:?}"))?;
        let Some(child) = child else { batch(batch_seed) };
        let end = sys::now() + PATIENCE * MS;
        let status = loop {
            match sys::wait4(child, libc::WNOHANG | libc::WUNTRACED) {
                Ok(Some((_, sys::Status::Stopped(_)))) | Ok(None) if sys::now() < end => sys::sleep_ms(1),
                Ok(Some((_, status))) => break Some(status),
                Ok(None) => break None,
                Err(errno) => return Err(format!("batch {number}: wait: {errno:?}")),
            }
        };
        match status {
            Some(sys::Status::Exited(_)) => outcome.calls += BATCH,
            Some(_) => outcome.died += 1,
            None => outcome.stuck += 1,
        }
        clean_up(child).map_err(|reason| format!("batch {number}: {reason}"))?;
    }
    let after = free_kb();
    outcome.lost_kb = before.saturating_sub(after);
    Ok(outcome)
}

/// Runs `count` batches one after the other without looking at what becomes of them, and reaps them.
pub fn batches(seed: u64, count: u64) {
    for number in 0..count {
        if let Ok(Some(child)) = sys::fork().map(|child| child.or_else(|| batch(seed + number))) {
            sys::eventually(PATIENCE, || !matches!(sys::wait4(child, libc::WNOHANG), Ok(None)));
            let _ = sys::kill(child, libc::SIGKILL);
        }
        while let Ok(Some(_)) = sys::wait4(-1, libc::WNOHANG) {}
    }
}

/// Kills every process of the fuzzing user and reaps what became ours.
fn clean_up(child: Pid) -> Result<(), String> {
    let killer = sys::fork().map_err(|errno| format!("fork afterwards: {errno:?}"))?;
    let Some(killer) = killer else {
        let _ = call!(SYS_setresuid, FUZZ_USER, FUZZ_USER, FUZZ_USER);
        let _ = sys::kill(-1, libc::SIGKILL);
        sys::exit(0)
    };
    // Without root both users are one, and only the batch's own process is killed.
    let _ = sys::kill(child, libc::SIGKILL);
    let ended = sys::eventually(5000, || {
        while let Ok(Some(_)) = sys::wait4(-1, libc::WNOHANG) {}
        sys::kill(killer, 0).is_err() && sys::kill(child, 0).is_err()
    });
    if ended { Ok(()) } else { Err("a process cannot be killed".to_owned()) }
}

fn free_kb() -> u64 {
    let text = sys::read_text(c"/proc/meminfo").unwrap_or_default();
    let field = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    field.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Calls that would end the batch at once, or sleep without a way to be interrupted by design.
const EXCLUDED: &[i64] = &[libc::SYS_exit, libc::SYS_exit_group, libc::SYS_reboot, libc::SYS_vhangup];

/// One past the highest call number tried.
const HIGHEST: u64 = 470;

fn batch(seed: u64) -> ! {
    let _ = call!(SYS_setsid);
    if let Ok(null) = sys::open(c"/dev/null", libc::O_RDWR, 0) {
        for fd in 0..3 {
            let _ = call!(SYS_dup3, null, fd, 0);
        }
    }
    let _ = call!(SYS_close_range, 3, 2000, 0);
    let _ = sys::setrlimit(libc::RLIMIT_NPROC, 24, 24);
    let _ = sys::setrlimit(libc::RLIMIT_FSIZE, 1 << 20, 1 << 20);
    let _ = sys::setrlimit(libc::RLIMIT_AS, 256 << 20, 256 << 20);
    let _ = sys::setrlimit(libc::RLIMIT_CORE, 0, 0);
    let _ = call!(SYS_setgroups, 0, 0);
    let _ = call!(SYS_setresgid, FUZZ_USER, FUZZ_USER, FUZZ_USER);
    let _ = call!(SYS_setresuid, FUZZ_USER, FUZZ_USER, FUZZ_USER);
    let _ = sys::on_signal(libc::SIGALRM, sys::record, 0);
    let tick = [0u64, 5_000, 0, 5_000];
    let _ = call!(SYS_setitimer, libc::ITIMER_REAL, &tick, 0);
    let mut random = Random::new(seed);
    let buffer = sys::anonymous(8 * sys::PAGE).unwrap_or(0);
    let _ = sys::memfd();
    for _ in 0..BATCH {
        let number = random.below(HIGHEST);
        let args: [usize; 6] = core::array::from_fn(|_| argument(&mut random, buffer));
        if !EXCLUDED.contains(&(number as i64)) {
            raw(number as usize, args);
        }
    }
    sys::exit(0)
}

/// A value of a kind that tends to matter: small, a descriptor, a good or a bad pointer, an edge, noise.
fn argument(random: &mut Random, buffer: usize) -> usize {
    let offset = random.below(7 * 4096) as usize;
    match random.below(16) {
        0..=2 => random.below(8) as usize,
        3 => random.below(4096) as usize,
        4 => Arg::word(-(random.below(200) as i64)),
        5..=8 => buffer + (offset & !7),
        9 => buffer + offset,
        10 => buffer + 8 * 4096 - random.below(16) as usize,
        11 => 0xffff_0000_0000_0000 + random.below(1 << 40) as usize,
        12 => usize::MAX - random.below(4096) as usize,
        13 => 1usize << random.below(64),
        14 => 0x0000_ffff_ffff_f000 + random.below(8192) as usize,
        _ => random.next() as usize,
    }
}
