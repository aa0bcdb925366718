//! Manual pages, made from the same definitions as the help.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;

use super::Cli;
use crate::daemon_args;

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum ManError {
    /// A page cannot be put into words; there is no known way to get here.
    #[error("cannot make a manual page: {0}")]
    Render(io::Error),
    /// A page cannot be written.
    #[error("cannot write manual pages to {dir}: {source}; does the directory exist?", dir = dir.display())]
    Write {
        /// Where to.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The page of `pollux`; or, with a directory, nothing but all pages written there.
///
/// # Errors
/// When a page cannot be written.
pub fn pages(dir: Option<&Path>) -> Result<String, ManError> {
    match dir {
        None => render(&Man::new(Cli::command())),
        Some(dir) => write(dir).map(|()| String::new()),
    }
}

/// The page of `pollux` as it is when called `ipvsadm`, whose command line clap knows nothing of.
const IPVSADM: &str = include_str!("../ipvsadm/ipvsadm.8");

/// `pollux.1`, a page for each command such as `pollux-service-add.1`, `polluxd.8` and `ipvsadm.8`.
fn write(dir: &Path) -> Result<(), ManError> {
    let failed = |source| ManError::Write { dir: dir.to_owned(), source };
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    // Section 8 is for what an administrator runs.
    let daemon = Man::new(daemon_args::Options::command()).section("8");
    std::fs::write(dir.join("polluxd.8"), render(&daemon)?).map_err(failed)?;
    std::fs::write(dir.join("ipvsadm.8"), IPVSADM).map_err(failed)
}

fn render(man: &Man) -> Result<String, ManError> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(ManError::Render)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
