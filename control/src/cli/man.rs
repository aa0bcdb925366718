//! Manual pages, made from the same definitions as the help.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Cli;
use crate::daemon::arguments;

/// Reason why the pages cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManError {
    /// A page cannot be rendered; no known input leads here.
    #[error("cannot render a manual page: {0}")]
    Render(io::Error),
    /// A page cannot be written.
    #[error("cannot write manual pages to {dir}: {source}; does the directory exist?", dir = dir.display())]
    Write {
        /// Directory to write to.
        dir: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

/// Returns the page of `pollux`, or writes all pages into `dir` and returns nothing.
///
/// # Errors
/// If a page cannot be written.
pub fn pages(dir: Option<&Path>) -> Result<String, ManError> {
    match dir {
        None => page(Cli::command(), "1"),
        Some(dir) => {
            // As in clap_mangen::generate_to: `help` has no page.
            let mut root = Cli::command().disable_help_subcommand(true);
            root.build();
            write_tree(&root, dir)?;
            write(dir, "polluxd.8", &page(arguments::Options::command(), "8")?)?;
            write(dir, "ipvsadm.8", IPVSADM).map(|()| String::new())
        }
    }
}

/// The page of `pollux` under the name `ipvsadm`, whose command line clap does not know.
const IPVSADM: &str = include_str!("../ipvsadm/ipvsadm.8");

/// Writes `pollux.1` and a page for each subcommand, such as `pollux-service-add.1`.
fn write_tree(command: &Command, dir: &Path) -> Result<(), ManError> {
    for subcommand in command.get_subcommands() {
        write_tree(subcommand, dir)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    write(dir, &format!("{name}.1"), &page(command.clone(), "1")?)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), ManError> {
    std::fs::write(dir.join(name), text).map_err(|source| ManError::Write { dir: dir.to_owned(), source })
}

fn page(command: Command, section: &str) -> Result<String, ManError> {
    let notes = command.get_after_help().map(|text| notes(&text.to_string())).unwrap_or_default();
    let man = Man::new(command.after_help("")).section(section);
    let mut page = Vec::new();
    man.render(&mut page).map_err(ManError::Render)?;
    let page = String::from_utf8_lossy(&page).replace(".SH EXTRA\n", "");
    Ok(page.trim_end().to_owned() + "\n" + &notes)
}

/// The text after the help as sections. Indented lines are printed as they are.
fn notes(text: &str) -> String {
    let mut page = String::new();
    for paragraph in text.split("\n\n") {
        let (heading, body) = match paragraph.split_once(':') {
            Some(("Examples" | "Example", body)) => ("EXAMPLES", body),
            Some(("Exit status", body)) => ("EXIT STATUS", body),
            _ => ("NOTES", paragraph),
        };
        page += &format!(".SH \"{heading}\"\n");
        let mut verbatim = false;
        for line in body.lines().filter(|line| !line.trim().is_empty()) {
            let indented = line.starts_with("  ");
            if indented != verbatim {
                page += if indented { ".nf\n" } else { ".fi\n" };
                verbatim = indented;
            }
            page += &format!("\\&{}\n", line.trim().replace('\\', "\\e").replace('-', "\\-"));
        }
        page += if verbatim { ".fi\n" } else { "" };
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_not_filled() {
        let text = "Examples:\n  pollux list --rate\n  pollux stop\n\nExit status: 0 success.\n\nNames may\nbe long.";
        assert_eq!(
            notes(text),
            ".SH \"EXAMPLES\"\n.nf\n\\&pollux list \\-\\-rate\n\\&pollux stop\n.fi\n\
             .SH \"EXIT STATUS\"\n\\&0 success.\n.SH \"NOTES\"\n\\&Names may\n\\&be long.\n"
        );
    }

    #[test]
    fn pages_have_no_extra_section() {
        for page in [pages(None).unwrap(), page(arguments::Options::command(), "8").unwrap()] {
            assert!(page.contains("\n.SH \"EXAMPLES\"\n.nf\n\\&pollux"), "{page}");
            assert!(!page.contains("EXTRA"), "{page}");
        }
    }
}
