//! The dimensions of the matrix, with the words used in options and reports.

use clap::ValueEnum;

/// Address family of clients, service and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

/// Frame sizes, including the frame check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// 64 bytes; with IPv6 the smallest possible UDP frame.
    #[value(name = "64")]
    Small,
    /// 64, 594 and 1518 bytes in the ratio 7:4:1.
    Imix,
    /// 1518 bytes.
    #[value(name = "1518")]
    Full,
}

/// Distribution of packets over flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pattern {
    /// All flows equally often.
    Uniform,
    /// The nth most frequent flow n times less often than the first.
    Zipf,
}

/// Forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// NAT; half of the packets are replies.
    Nat,
    /// Direct routing.
    Dr,
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
}

/// Returns the word of a value.
pub fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}

/// A dozen frame lengths in the IMIX ratio.
const IMIX: [usize; 12] = [60, 590, 60, 590, 60, 1514, 60, 590, 60, 60, 590, 60];

impl Size {
    /// Length of the nth frame of a file, without the frame check sequence.
    pub fn frame(self, nth: usize) -> usize {
        match self {
            Size::Small => 60,
            Size::Imix => IMIX[nth % IMIX.len()],
            Size::Full => 1514,
        }
    }
}

impl Method {
    /// Returns whether replies pass through the balancer too.
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
