//! One seed discipline: every random draw starts from the run's seed and the name of what is drawn, so that it does
//! not depend on what was drawn before.

/// A seed for the thing called `purpose`. Stable over versions of the program and of Rust (FNV-1a, then SplitMix64).
pub fn mix(seed: u64, purpose: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in seed.to_le_bytes().into_iter().chain(purpose.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Seeds libtorch's generators for one training step (Dropout draws from them). Their state cannot be read, so a
/// resumed run is exact only because every step starts from (seed, step).
pub fn seed_step(seed: u64, step: u64) {
    // libtorch takes an i64; the bits are what matters.
    tch::manual_seed(mix(seed, &format!("step {step}")) as i64);
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// libtorch's random numbers come from one generator of the process, and tests run beside each other: whoever draws
    /// holds this.
    pub fn seeded(seed: i64) -> MutexGuard<'static, ()> {
        static GENERATOR: Mutex<()> = Mutex::new(());
        let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(seed);
        guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_seeds_differ_and_stay_the_same() {
        assert_eq!(mix(1, "fc.weight"), mix(1, "fc.weight"));
        assert_ne!(mix(1, "fc.weight"), mix(2, "fc.weight"));
        assert_ne!(mix(1, "fc.weight"), mix(1, "fc.bias"));
    }
}
