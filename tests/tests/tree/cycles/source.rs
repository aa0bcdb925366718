//! Reads Rust source as far as imports go: without comments, literals and tests.

/// The source with comments, literals and items for tests blanked out, so that every line keeps its number.
pub fn code(source: &str) -> String {
    without_tests(without_literals(source))
}

/// The macros that a module exports, which other modules import from the root of the crate.
pub fn macros(code: &str) -> impl Iterator<Item = &str> {
    let definitions = code.split("macro_rules!").skip(1);
    definitions.filter_map(|after| after.split(|c: char| !is_of_name(c)).find(|name| !name.is_empty()))
}

/// The line of each path that starts at the root of the crate, and the first name of that path. `module` is the path of
/// the module whose code it is.
pub fn paths(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (keyword, is_root) in [("crate::", true), ("super::", false)] {
        for (at, _) in code.match_indices(keyword) {
            let before = &code[..at];
            let is_path =
                !before.ends_with(is_of_name) && !before.ends_with("::") && !before.ends_with("in ");
            if is_path {
                let start = if is_root { &[] } else { &module[..module.len() - 1] };
                read(code, at + keyword.len(), start, &mut found);
            }
        }
    }
    found.sort();
    found
}

/// Follows a path or a group of paths from `at`, with `start` before it.
fn read(code: &str, at: usize, start: &[String], found: &mut Vec<(usize, String)>) {
    let at = at + code[at..].len() - code[at..].trim_start().len();
    let rest = &code[at..];
    if let Some(first) = start.first().filter(|_| !rest.starts_with("super::")) {
        found.push((line(code, at), first.clone()));
    } else if let Some(rest) = rest.strip_prefix("super::") {
        read(code, code.len() - rest.len(), &start[..start.len().saturating_sub(1)], found);
    } else if rest.starts_with('{') {
        members(rest).into_iter().for_each(|member| read(code, at + member, start, found));
    } else {
        let name: String = rest.chars().take_while(|&c| is_of_name(c)).collect();
        found.push((line(code, at), name));
    }
}

/// Where the members of a group `{a, b::{c, d}}` begin.
fn members(group: &str) -> Vec<usize> {
    let mut depth = 0;
    let mut starts = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == ',' || at == 0) && !group[at + 1..].trim_start().starts_with('}') {
            starts.push(at + 1);
        }
    }
    starts
}

fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks out items that follow `#[cfg(test)]`.
fn without_tests(mut code: String) -> String {
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let length = MARK.len() + item(&code[start + MARK.len()..]);
        blank(&mut code, start, start + length);
    }
    code
}

/// The length of an item: up to its semicolon, or the end of its braces.
fn item(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    code.len()
}

/// Blanks out comments, strings and characters.
fn without_literals(source: &str) -> String {
    let mut code = source.to_owned();
    let mut at = 0;
    while at < source.len() {
        let length = literal(&source[at..], source[..at].ends_with(is_of_name));
        if length > 0 {
            blank(&mut code, at, at + length);
        }
        at += length.max(source[at..].chars().next().map_or(1, char::len_utf8));
    }
    code
}

/// The length of the comment or literal at the start of `rest`, or 0.
fn literal(rest: &str, is_within_name: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return through(rest, 2, "*/");
    }
    if let Some(after) = rest.strip_prefix('\'') {
        let mut chars = after.char_indices();
        return match (chars.next(), chars.next()) {
            (Some((_, '\\')), Some((at, c))) => through(rest, 1 + at + c.len_utf8(), "'"),
            (Some(_), Some((at, '\''))) => at + 2,
            _ => 0,
        };
    }
    if rest.starts_with('"') {
        return string(rest);
    }
    let hashes = rest.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len());
    match hashes {
        Some(hashes) if !is_within_name && rest[1 + hashes..].starts_with('"') => {
            through(rest, hashes + 2, &format!("\"{}", "#".repeat(hashes)))
        }
        _ => 0,
    }
}

fn string(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == '"' && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    rest.len()
}

/// The length up to and with `end`, which is looked for from `from`.
fn through(rest: &str, from: usize, end: &str) -> usize {
    rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
}

fn blank(code: &mut String, start: usize, end: usize) {
    let blanks: String =
        code[start..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    code.replace_range(start..end, &blanks);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<String> {
        let module = ["a".to_owned(), "b".to_owned()];
        paths(&code(source), &module).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn groups_and_relative_paths_are_followed() {
        assert_eq!(names("use crate::{x, y::{Z, w::V},\n  self,};"), ["x", "y", "self"]);
        assert_eq!(names("use super::c; use super::super::{d, e::F};"), ["a", "d", "e"]);
        assert_eq!(names("fn f() { crate::x::g(crate::y::H) }"), ["x", "y"]);
        assert_eq!(names("pub(in crate::a) fn f() {} use other::krate::x;"), Vec::<String>::new());
    }

    #[test]
    fn comments_literals_and_tests_are_no_code() {
        let source = "/* crate::a */ // crate::b\nlet s = \"crate::c \\\" crate::d\"; r#\"crate::e \" \"#; '\"'; crate::f";
        assert_eq!(names(source), ["f"]);
        assert_eq!(names("fn f<'a>(x: &'a str) { '\\''; crate::x::y }"), ["x"]);
        assert_eq!(names("#[cfg(test)]\nmod tests { fn f() {} use crate::x; }\nuse crate::y;"), ["y"]);
        assert_eq!(names("#[cfg(test)]\nmod tests;\nuse crate::y;"), ["y"]);
    }

    #[test]
    fn lines_are_counted_from_the_start_of_the_file() {
        let source = "// one\nconst S: &str = \"a\nb\";\nuse crate::{\n    x,\n    y,\n};\n";
        let module = ["m".to_owned()];
        assert_eq!(paths(&code(source), &module), [(5, "x".to_owned()), (6, "y".to_owned())]);
    }
}
