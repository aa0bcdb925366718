//! What the rows of the matrix differ in, with the words that options and reports use.

use clap::ValueEnum;

/// The family of clients, service and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

/// Frame sizes, check sequence included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// 64 bytes, of IPv6 as few as a UDP packet takes.
    #[value(name = "64")]
    Small,
    /// 64, 594 and 1518 bytes as 7 to 4 to 1.
    Imix,
    /// 1518 bytes.
    #[value(name = "1518")]
    Full,
}

/// How often the flows have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pattern {
    /// All as often.
    Uniform,
    /// The nth most frequent one n times less often than the first.
    Zipf,
}

/// How packets reach the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Addresses are rewritten; half of the packets are replies.
    Nat,
    /// The frame is addressed to the server.
    Dr,
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
}

/// The word of a value.
pub fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}

/// One of each dozen frames, mixed.
const IMIX: [usize; 12] = [60, 590, 60, 590, 60, 1514, 60, 590, 60, 60, 590, 60];

impl Size {
    /// Length of the nth frame of a file, without its check sequence.
    pub fn frame(self, nth: usize) -> usize {
        match self {
            Size::Small => 60,
            Size::Imix => IMIX[nth % IMIX.len()],
            Size::Full => 1514,
        }
    }
}

impl Method {
    /// Whether replies pass the balancer too.
    pub fn is_mixed(self) -> bool {
        self == Method::Nat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imix_is_seven_four_one() {
        let count = |len| (0..12).filter(|&nth| Size::Imix.frame(nth) == len).count();
        assert_eq!([60, 590, 1514].map(count), [7, 4, 1]);
    }

    #[test]
    fn words_are_those_of_the_options() {
        assert_eq!([word(Size::Small), word(Pattern::Zipf), word(Method::Ipip)], ["64", "zipf", "ipip"]);
    }
}
