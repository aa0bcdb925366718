//! Matches names against patterns.

/// Returns true if the pattern matches the whole name. `*` matches any string of characters that `spans` accepts; `one`
/// matches one character with the head of the pattern, which is not `*`, and returns the head's length.
///
/// On a mismatch the last `*` takes one more character, so the time is at most the product of the lengths.
pub fn matches(
    pattern: &str,
    name: &str,
    one: &impl Fn(&[u8], u8) -> Option<usize>,
    spans: impl Fn(u8) -> bool,
) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(length) = one(&pattern[p..], name[n]) {
            (p, n) = (p + length, n + 1);
        } else {
            match star {
                Some((after, from)) if spans(name[from]) => {
                    star = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}
