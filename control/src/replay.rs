//! `pollux replay`: runs recorded conversations through the pure core and tells what differs.
//!
//! A [`case`](case::Case) is rules and commands, frames in and frames out. [`scope`] says whether Pollux has everything
//! the case needs. [`run`] goes through it: commands are read by [`shell`] and [`action`] and carried out by the
//! [`machine`] that was recorded, frames are fed to a [`Balancer`]. [`compare`] judges frames through [`mask`] and
//! [`diff`], whole [`trains`] of fragments, and what was left to the kernel through [`kernel`], which accepts no more
//! than a plain Linux stack would do, and whose answers [`answer`] sends back; [`texts`] judges what commands print.

pub mod action;
pub mod answer;
pub mod balancer;
pub mod case;
pub mod cli;
pub mod compare;
pub mod core;
pub mod diff;
pub mod frames;
pub mod fwmarks;
pub mod kernel;
pub mod machine;
pub mod mask;
pub mod network;
pub mod reassembly;
pub mod report;
pub mod run;
pub mod scope;
pub mod shell;
pub mod sysctls;
pub mod texts;
pub mod topology;

pub use balancer::{Balancer, Outcome, Side};
pub use cli::{Output, ReplayError, cli};
pub use report::{CaseReport, Difference, Verdict};

use std::path::Path;

/// Replays one case file through the core of this build. A case that brings the core down is one failure, not the end
/// of all.
pub fn file(path: &Path) -> CaseReport {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let case = match case::Case::load(path) {
        Ok(case) => case,
        Err(why) => return CaseReport::broken(name, why.to_string()),
    };
    std::panic::catch_unwind(|| one(name.clone(), &case)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        CaseReport::broken(name.clone(), format!("the core panics: {}", text.unwrap_or("no message")))
    })
}

/// Replays a case.
pub fn one(name: String, case: &case::Case) -> CaseReport {
    if let Err(feature) = scope::check(case) {
        return CaseReport { name, verdict: Verdict::NotYetSupported { feature }, handed_to_kernel: 0 };
    }
    match core::Core::new() {
        Ok(mut core) => run::run(name, case, &mut core),
        Err(why) => CaseReport::broken(name, why.to_string()),
    }
}

#[cfg(test)]
mod tests;
