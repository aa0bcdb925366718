//! The text files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file, with its path relative to the root of the repository.
pub struct Text {
    pub path: PathBuf,
    pub content: String,
}

impl Text {
    pub fn is_markdown(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "md")
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of a folder's entries.
pub fn names(folder: &Path) -> BTreeSet<String> {
    entries(folder).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// All files with one of these extensions, sorted by path.
pub fn texts(extensions: &[&str]) -> Vec<Text> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if path.is_dir() && is_ours(&path) {
                folders.push(path);
            } else if path.is_file() && extensions.contains(&extension) {
                let content = read(&path);
                texts.push(Text {
                    path: path.strip_prefix(&root).expect("below the root").to_owned(),
                    content,
                });
            }
        }
    }
    texts.sort_by(|a, b| a.path.cmp(&b.path));
    texts
}

/// False for folders that tools write, and for this test's own: its examples cite sections that do not exist.
fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_written_by_tools = ["target", "bench-results", "corpus", "artifacts", "coverage"].contains(&name);
    let is_this_test = folder.ends_with("tests/tests/tree");
    !name.starts_with('.') && !is_written_by_tools && !is_this_test && !folder.join("CACHEDIR.TAG").exists()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_repository_is_read_without_what_tools_write() {
    let paths: Vec<PathBuf> = texts(&["md", "rs"]).into_iter().map(|text| text.path).collect();
    assert!(paths.contains(&PathBuf::from("README.md")));
    assert!(paths.contains(&PathBuf::from("dataplane/src/lib.rs")));
    assert!(!paths.iter().any(|path| path.starts_with("target") || path.starts_with("tests/tests/tree")));
}
