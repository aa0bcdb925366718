//! Numbers with their nouns, for messages.

/// Returns `1 service`, `2 services`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "time")), ["0 times", "1 time", "2 times"]);
    }
}
