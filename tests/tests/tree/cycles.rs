//! Import cycles between the top-level modules of a crate.
//!
//! Module `a` imports module `b` when code of `a` names a path of `b`. Tests, fuzz bodies and test builders may import
//! anything and are left out.

mod source;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use crate::files::{Text, texts};

/// Top-level modules that only tests, fuzzing and benchmarks are built with.
const FOR_TESTS: [&str; 2] = ["fuzz", "testkit"];

/// Where a module first imports another: "FILE:LINE".
type Places = BTreeMap<String, String>;

/// The imports of a crate: for each module, the modules it imports.
#[derive(Default)]
pub struct Graph(BTreeMap<String, Places>);

impl Graph {
    /// Reads a crate from its source files, whose paths are relative to its `src`. `place` is written before each path.
    pub fn read(place: &str, files: &[Text]) -> Graph {
        let read: Vec<(&Text, Vec<String>, String)> = files
            .iter()
            .filter_map(|file| Some((file, module_of(&file.path)?, source::code(&file.content))))
            .collect();
        let macros: BTreeMap<String, String> = read
            .iter()
            .flat_map(|(_, module, code)| {
                source::macros(code).map(|name| (name.to_owned(), module[0].clone()))
            })
            .collect();
        let mut graph = Graph::default();
        for (_, module, _) in &read {
            graph.0.entry(module[0].clone()).or_default();
        }
        for (file, module, code) in &read {
            for (line, path) in source::paths(code, module) {
                let name = macros.get(&path).unwrap_or(&path).clone();
                if name != module[0] && graph.0.contains_key(&name) {
                    let place = format!("{place}/{}:{line}", file.path.display());
                    graph.0.entry(module[0].clone()).or_default().entry(name).or_insert(place);
                }
            }
        }
        graph
    }

    /// The shortest cycle, one line "FROM imports TO at FILE:LINE" for each of its imports.
    pub fn shortest_cycle(&self) -> Option<Vec<String>> {
        let cycle = self.0.keys().filter_map(|start| self.way_back(start)).min_by_key(Vec::len)?;
        let next = cycle.iter().cycle().skip(1);
        let lines =
            cycle.iter().zip(next).map(|(&from, &to)| format!("{from} imports {to} at {}", self.0[from][to]));
        Some(lines.collect())
    }

    /// The modules of the shortest cycle through `start`, which comes first.
    fn way_back<'a>(&'a self, start: &'a str) -> Option<Vec<&'a str>> {
        let mut importers: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(module) = queue.pop_front() {
            for imported in self.0[module].keys() {
                if imported == start {
                    let back = std::iter::successors(Some(module), |module| importers.get(module).copied());
                    let mut cycle: Vec<&str> = back.collect();
                    cycle.reverse();
                    return Some(cycle);
                }
                if !importers.contains_key(imported.as_str()) {
                    importers.insert(imported, module);
                    queue.push_back(imported);
                }
            }
        }
        None
    }
}

/// The path of the module that a file of `src` holds; none for roots of crates and for tests.
fn module_of(path: &Path) -> Option<Vec<String>> {
    let mut names: Vec<String> =
        path.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    let first = names.first()?.as_str();
    let is_root = ["lib", "main", "bin"].contains(&first);
    let is_test = FOR_TESTS.contains(&first) || names.iter().any(|name| name == "tests");
    (!is_root && !is_test).then_some(names)
}

fn assert_no_cycle(source: &str) {
    let files: Vec<Text> = texts(&["rs"])
        .into_iter()
        .filter_map(|text| Some(Text { path: text.path.strip_prefix(source).ok()?.to_owned(), ..text }))
        .collect();
    let graph = Graph::read(source, &files);
    assert!(graph.0.len() > 5, "{source} has only {} modules", graph.0.len());
    if let Some(cycle) = graph.shortest_cycle() {
        panic!("modules of {source} import each other:\n{}", cycle.join("\n"));
    }
}

#[test]
fn cycles_control() {
    assert_no_cycle("control/src");
}

#[test]
fn cycles_dataplane() {
    assert_no_cycle("dataplane/src");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let text =
            |&(path, content): &(&str, &str)| Text { path: PathBuf::from(path), content: content.to_owned() };
        Graph::read("src", &files.iter().map(text).collect::<Vec<_>>())
    }

    #[test]
    fn the_shortest_cycle_is_reported_with_its_places() {
        let modules = graph(&[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "//! b\nuse crate::{std, c::{C, D}};\nuse crate::d;"),
            ("c.rs", "use crate::a;"),
            ("d/mod.rs", "pub mod e;"),
            ("d/e.rs", "\nfn f() -> super::super::b::B { unreachable!() }"),
        ]);
        let cycle = ["b imports d at src/b.rs:3", "d imports b at src/d/e.rs:2"];
        assert_eq!(modules.shortest_cycle().unwrap(), cycle);
    }

    #[test]
    fn a_longer_cycle_is_found_too() {
        let modules = graph(&[
            ("a.rs", "use crate::b;"),
            ("b/deep.rs", "pub use crate::c::d::*;"),
            ("c/d.rs", "use crate::d;"),
            ("d.rs", "use crate::a::A as Other;"),
            ("outside.rs", "use crate::{a, b, c, d};"),
        ]);
        let cycle = modules.shortest_cycle().unwrap();
        assert_eq!(cycle.len(), 4);
        assert_eq!(cycle[3], "d imports a at src/d.rs:1");
    }

    #[test]
    fn modules_may_import_each_other_in_one_direction_and_within_themselves() {
        let modules = graph(&[
            ("a.rs", "use crate::{b, c};"),
            ("b.rs", "use crate::c;"),
            ("c.rs", "use crate::c::x; use self::x::Y;"),
            ("c/x.rs", "use super::y; use crate::c::z;"),
        ]);
        assert!(modules.shortest_cycle().is_none());
    }

    #[test]
    fn an_exported_macro_belongs_to_the_module_that_defines_it() {
        let modules = graph(&[
            ("log.rs", "use crate::a;\n#[macro_export]\nmacro_rules! say { () => {} }"),
            ("a.rs", "use crate::say;"),
        ]);
        assert_eq!(
            modules.shortest_cycle().unwrap(),
            ["a imports log at src/a.rs:1", "log imports a at src/log.rs:1"]
        );
    }

    #[test]
    fn tests_and_roots_are_left_out() {
        let modules = graph(&[
            ("a.rs", "use crate::b;\n#[cfg(test)]\nmod tests { use crate::c; fn f() { {} } }"),
            ("b/tests.rs", "use crate::a;"),
            ("b/tests/more.rs", "use crate::a;"),
            ("b.rs", "#[cfg(test)]\nuse crate::a;\n"),
            ("c.rs", "use crate::a;"),
            ("testkit.rs", "use crate::a;"),
            ("lib.rs", "pub use crate::a;"),
            ("bin/program.rs", "use crate::a;"),
        ]);
        assert!(modules.shortest_cycle().is_none());
    }
}
