use super::*;

/// The tables as spec 5.2 prints them.
const NORMAL: &str = "
INPUT      syn: SR ES ES SR SR SR SR SR SR SR SR
INPUT      fin: CL CW SS TW TW TW CL CW LA LI TW
INPUT      ack: ES ES SS ES FW TW CL CW CL LI ES
INPUT      rst: CL CL CL SR CL CL CL CL LA LI SR
OUTPUT     syn: SS ES SS SR SS SS SS SS SS LI SR
OUTPUT     fin: TW FW SS TW FW TW CL TW LA LI TW
OUTPUT     ack: ES ES SS ES FW TW CL CW LA ES ES
OUTPUT     rst: CL CL SS CL CL TW CL CL CL CL CL
INPUT_ONLY syn: SR ES ES SR SR SR SR SR SR SR SR
INPUT_ONLY fin: CL FW SS TW FW TW CL CW LA LI TW
INPUT_ONLY ack: ES ES SS ES FW TW CL CW CL LI ES
INPUT_ONLY rst: CL CL CL SR CL CL CL CL LA LI CL
";

const SECURE: &str = "
INPUT      syn: SR ES ES SR SR SR SR SR SR SR SA
INPUT      fin: CL CW SS TW TW TW CL CW LA LI SA
INPUT      ack: ES ES SS SR FW TW CL CW CL LI SA
INPUT      rst: CL CL CL SR CL CL CL CL LA LI CL
OUTPUT     syn: SS ES SS SA SS SS SS SS SS LI SA
OUTPUT     fin: TW FW SS TW FW TW CL TW LA LI TW
OUTPUT     ack: ES ES SS ES FW TW CL CW LA ES ES
OUTPUT     rst: CL CL SS CL CL TW CL CL CL CL CL
INPUT_ONLY syn: SA ES ES SR SA SA SA SA SA SA SA
INPUT_ONLY fin: CL FW SS TW FW TW CL CW LA LI TW
INPUT_ONLY ack: ES ES SS ES FW TW CL CW CL LI ES
INPUT_ONLY rst: CL CL CL SR CL CL CL CL LA LI CL
";

const WORDS: &str = "NO ES SS SR FW TW CL CW LA LI SA";

fn state(word: &str) -> State {
    let number = WORDS.split(' ').position(|known| known == word);
    State::from_number(number.unwrap() as u8)
}

fn compare(text: &str, secure: bool) -> usize {
    let mut cells = 0;
    for line in text.lines().skip(1) {
        let (name, row) = line.split_once(": ").unwrap();
        let mut name = name.split_whitespace();
        let sender = match name.next().unwrap() {
            "INPUT" => Sender::Client,
            "OUTPUT" => Sender::Destination,
            _ => Sender::ClientOnly,
        };
        let flag = match name.next().unwrap() {
            "syn" => SYN,
            "fin" => FIN,
            "ack" => ACK,
            _ => RST,
        };
        for (now, expected) in WORDS.split(' ').zip(row.split(' ')) {
            assert_eq!(next(state(now), sender, flag, secure), state(expected), "{line}: from {now}");
            cells += 1;
        }
    }
    cells
}

#[test]
fn every_cell_matches_the_specification() {
    assert_eq!(compare(NORMAL, false) + compare(SECURE, true), 2 * 3 * 4 * STATES);
}

#[test]
fn a_handshake_and_a_close() {
    let steps = [
        (Sender::Client, SYN, SR),
        (Sender::Destination, SYN | ACK, SR),
        (Sender::Client, ACK, ES),
        (Sender::Client, FIN | ACK, CW),
        (Sender::Destination, FIN | ACK, TW),
        (Sender::Client, ACK, TW),
    ];
    let mut state = NO;
    for (sender, flags, expected) in steps {
        state = next(state, sender, flags, false);
        assert_eq!(state, expected, "after {flags:#x} from {sender:?}");
    }
}

#[test]
fn flags_have_precedence_and_unknown_ones_are_ignored() {
    for flags in 0..=u8::MAX {
        let first = [RST, SYN, FIN, ACK].into_iter().find(|flag| flags & flag != 0);
        for now in ALL {
            for sender in [Sender::Client, Sender::Destination, Sender::ClientOnly] {
                for secure in [false, true] {
                    let expected = first.map_or(CL, |flag| next(now, sender, flag, secure));
                    assert_eq!(
                        next(now, sender, flags, secure),
                        expected,
                        "{flags:#x} in {now:?} from {sender:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn only_opening_and_open_connections_are_active() {
    let active: Vec<_> = ALL.iter().filter(|s| s.is_active()).map(|s| s.name()).collect();
    assert_eq!(active, ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);
}
