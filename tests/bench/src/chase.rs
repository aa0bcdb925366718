//! A memory-latency probe: loads of which each gives the address of the next, in ever larger memory.

use std::time::{Duration, Instant};

use memmap2::{MmapMut, MmapOptions};
use serde_json::{Value, json};

use super::random::shuffled;
use pollux_tests::bed::command::Result;

/// Bytes that come from memory together.
const LINE: usize = 64;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// From within the first-level cache to far beyond the last.
const SIZES: [usize; 9] =
    [16 * KIB, 128 * KIB, 512 * KIB, 2 * MIB, 8 * MIB, 32 * MIB, 64 * MIB, 128 * MIB, 512 * MIB];
/// Chains that are followed side by side, as a burst that prefetches does.
const CHAINS: usize = 16;

/// What a load costs in memory of one size.
pub struct Row {
    bytes: usize,
    huge: bool,
    /// Nanoseconds of a load that waits for the one before.
    pub alone: f64,
    /// Nanoseconds of a load, with others under way.
    pub together: f64,
}

/// Measures all sizes, with pages of 2 MiB too if there are any.
///
/// # Errors
/// When there is no memory.
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
    let alone = follow(&memory, [0; 1]);
    let lines = bytes / LINE;
    let starts = std::array::from_fn(|chain| (chain * (lines / CHAINS) * LINE) as u32);
    let together = follow::<CHAINS>(&memory, starts);
    Ok(Row { bytes, huge, alone, together })
}

/// Makes one ring of all lines, in an order by chance.
fn link(memory: &mut MmapMut, bytes: usize) {
    let order = shuffled((bytes / LINE) as u32, 9);
    let nexts = order.iter().skip(1).chain(order.first());
    for (line, next) in order.iter().zip(nexts) {
        let at = *line as usize * LINE;
        memory[at..at + 4].copy_from_slice(&(next * LINE as u32).to_le_bytes());
    }
}

/// Nanoseconds of a load.
fn follow<const N: usize>(memory: &[u8], mut at: [u32; N]) -> f64 {
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
    /// The head of the table.
    pub fn head() -> String {
        format!("{:>10} {:>8} {:>22} {:>22}", "memory", "pages", "a load alone, ns", "16 side by side, ns")
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        format!(
            "{:>6} KiB {:>8} {:>22.2} {:>22.2}",
            self.bytes / KIB,
            self.pages(),
            self.alone,
            self.together
        )
    }

    /// The size of a page, in words.
    pub fn pages(&self) -> &'static str {
        if self.huge { "2 MiB" } else { "4 KiB" }
    }

    /// Kibibytes of memory.
    pub fn kib(&self) -> f64 {
        (self.bytes / KIB) as f64
    }

    /// For the file.
    pub fn json(&self) -> Value {
        json!({
            "bytes": self.bytes, "huge_pages": self.huge, "ns_alone": self.alone,
            "ns_of_16_side_by_side": self.together,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_goes_through_every_line() {
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
