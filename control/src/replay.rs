//! `pollux replay`: runs recorded packet traces through the data plane and reports differences.
//!
//! A [`case`](case::Case) has rules, commands, input frames and output frames. [`scope`] checks that Pollux supports
//! everything the case needs. [`run`] executes it: [`shell`] and [`action`] parse the commands, a model of the recorded
//! [`machine`] executes them, and the frames are fed to a [`Balancer`]. [`compare`] compares frames with the help of
//! [`mask`] and [`diff`], fragmented datagrams after [`reassembly`], and packets passed to the kernel with [`kernel`], which
//! accepts only what a plain Linux stack would do. [`kernel_reply`] sends the kernel's replies back. [`texts`] compares the
//! output of commands.

pub mod action;
pub mod balancer;
pub mod case;
pub mod cli;
pub mod compare;
pub mod data_plane;
pub mod diff;
pub mod frames;
pub mod fwmarks;
pub mod kernel;
pub mod kernel_reply;
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

/// Replays a case file through the data plane of this build. A panic is a failure of this case only.
pub fn file(path: &Path) -> CaseReport {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let case = match case::Case::load(path) {
        Ok(case) => case,
        Err(why) => return CaseReport::broken(name, why.to_string()),
    };
    std::panic::catch_unwind(|| one(name.clone(), &case)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        CaseReport::broken(name.clone(), format!("the data plane panics: {}", text.unwrap_or("no message")))
    })
}

/// Replays a case.
pub fn one(name: String, case: &case::Case) -> CaseReport {
    if let Err(feature) = scope::check(case) {
        return CaseReport { name, verdict: Verdict::NotYetSupported { feature }, passed_to_kernel: 0 };
    }
    match data_plane::DataPlane::new() {
        Ok(mut data_plane) => run::run(name, case, &mut data_plane),
        Err(why) => CaseReport::broken(name, why.to_string()),
    }
}

#[cfg(test)]
mod tests;
