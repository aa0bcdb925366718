//! A memory latency probe: dependent loads in memory areas of increasing size.

use std::time::{Duration, Instant};

use memmap2::{MmapMut, MmapOptions};
use serde_json::{Value, json};

use super::random::shuffled;
use pollux_tests::bed::command::Result;

/// Bytes of a cache line.
const LINE: usize = 64;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// From within the L1 cache to far beyond the last level.
const SIZES: [usize; 9] =
    [16 * KIB, 128 * KIB, 512 * KIB, 2 * MIB, 8 * MIB, 32 * MIB, 64 * MIB, 128 * MIB, 512 * MIB];
/// Chains followed in parallel, as a burst with prefetching does.
const CHAINS: usize = 16;

/// Cost of a load in memory of one size.
pub struct Row {
    bytes: usize,
    huge: bool,
    /// Nanoseconds per load if each depends on the one before.
    pub alone: f64,
    /// Nanoseconds per load if several are in flight.
    pub together: f64,
}

/// Measures all sizes, also with 2 MiB pages if available.
///
/// # Errors
/// If memory runs out.
pub fn measure(huge: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for huge in [false, true].into_iter().filter(|&pages| huge || !pages) {
        for bytes in SIZES {
            rows.push(one(bytes, huge)?);
        }
    }
    Ok(rows)
}

fn one(bytes: usize, huge: bool) -> Result<Row> {
    let mut options = MmapOptions::new();
    options.len(bytes.max(if huge { 2 * MIB } else { 0 }));
    if huge {
        options.huge(Some(21));
    }
    let mut memory = options.map_anon()?;
    link(&mut memory, bytes);
    let alone = walk(&memory, [0; 1]);
    let lines = bytes / LINE;
    let starts = std::array::from_fn(|chain| (chain * (lines / CHAINS) * LINE) as u32);
    let together = walk::<CHAINS>(&memory, starts);
    Ok(Row { bytes, huge, alone, together })
}

/// Links all lines into one ring, in random order.
fn link(memory: &mut MmapMut, bytes: usize) {
    let order = shuffled((bytes / LINE) as u32, 9);
    let nexts = order.iter().skip(1).chain(order.first());
    for (line, next) in order.iter().zip(nexts) {
        let at = *line as usize * LINE;
        memory[at..at + 4].copy_from_slice(&(next * LINE as u32).to_le_bytes());
    }
}

/// Returns nanoseconds per load.
fn walk<const N: usize>(memory: &[u8], mut at: [u32; N]) -> f64 {
    const STEPS: usize = 1 << 16;
    let (mut best, mut began) = (f64::MAX, Instant::now());
    let deadline = began + Duration::from_millis(300);
    loop {
        for _ in 0..STEPS {
            for at in &mut at {
                let place = *at as usize;
                let next = memory.get(place..place + 4).and_then(|bytes| bytes.first_chunk());
                *at = next.map_or(0, |bytes| u32::from_le_bytes(*bytes));
            }
        }
        std::hint::black_box(&at);
        best = best.min(began.elapsed().as_nanos() as f64 / (STEPS * N) as f64);
        began = Instant::now();
        if began > deadline {
            return best;
        }
    }
}

impl Row {
    /// Returns the head of the table.
    pub fn head() -> String {
        format!("{:>10} {:>8} {:>22} {:>22}", "memory", "pages", "dependent load, ns", "16 in parallel, ns")
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        format!(
            "{:>6} KiB {:>8} {:>22.2} {:>22.2}",
            self.bytes / KIB,
            self.pages(),
            self.alone,
            self.together
        )
    }

    /// Returns the page size as text.
    pub fn pages(&self) -> &'static str {
        if self.huge { "2 MiB" } else { "4 KiB" }
    }

    /// Returns the size in KiB.
    pub fn kib(&self) -> f64 {
        (self.bytes / KIB) as f64
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        json!({
            "bytes": self.bytes, "huge_pages": self.huge, "dependent_load_ns": self.alone,
            "parallel_load_ns": self.together,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_visits_every_line() {
        let mut memory = MmapOptions::new().len(64 * KIB).map_anon().unwrap();
        link(&mut memory, 64 * KIB);
        let (mut at, mut seen) = (0, vec![false; 1024]);
        for _ in 0..1024 {
            seen[at / LINE] = true;
            at = u32::from_le_bytes(*memory[at..].first_chunk().unwrap()) as usize;
        }
        assert!(seen.iter().all(|&seen| seen) && at == 0);
    }
}
