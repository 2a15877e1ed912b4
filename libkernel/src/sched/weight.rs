//! Nice values and weights (`sched(7)`; one step of nice is about a factor of 1.25).

/// The weight of nice 0; a task of this weight ages by one virtual nanosecond a nanosecond.
pub const NICE_0_WEIGHT: u32 = 1024;

/// The weight of `SCHED_IDLE`.
pub const IDLE_WEIGHT: u32 = 3;

/// From nice -20 to nice 19.
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121, 2501,
    1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
];

/// The weight of a nice value, which is clamped to -20 to 19.
pub fn weight_of_nice(nice: i8) -> u32 {
    let index = usize::from(nice.clamp(-20, 19).wrapping_add(20).unsigned_abs());
    WEIGHTS.get(index).copied().unwrap_or(NICE_0_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_nice_is_about_a_quarter() {
        for nice in -20..19 {
            let ratio = f64::from(weight_of_nice(nice)) / f64::from(weight_of_nice(nice + 1));
            assert!((1.15..1.35).contains(&ratio), "{nice}: {ratio}");
        }
        assert_eq!(weight_of_nice(0), NICE_0_WEIGHT);
        assert_eq!((weight_of_nice(i8::MIN), weight_of_nice(i8::MAX)), (88761, 15));
    }
}
