use proptest::prelude::*;

use super::*;

/// The tables as spec 5.4 prints them.
const TABLES: &str = "
INPUT      d : ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
INPUT      i : I1 IN IN CS CR CW CO CE ES SS SR SA IN IN
INPUT      ia: CW CW CW CS CR CO CO CE ES SS SR SA RJ CL
INPUT      ce: CR IN IN CR CR CW CO CE ES SS SR SA RJ CL
INPUT      ca: ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL
INPUT      s : SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
INPUT      sa: CL IN IN CS CR CW CO CE ES CL SR CL RJ CL
INPUT      sc: CL CL CL CS CR CW CO CE ES SS SR CL RJ CL
INPUT      er: CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL
INPUT      ab: CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
OUTPUT     d : ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
OUTPUT     i : CW CW CW CW CW CW CW CW ES CW CW CW CW CW
OUTPUT     ia: CS CS CS CS CR CW CO CE ES SS SR SA RJ CL
OUTPUT     ce: CE CE CE CE CE CE CE CE ES SS SR SA RJ CL
OUTPUT     ca: ES ES ES ES ES ES ES ES ES SS SR SA RJ CL
OUTPUT     s : SS SS SS SS SS SS SS SS SS SS SR SA RJ CL
OUTPUT     sa: SA SA SA SA SA CW CO CE ES SA SA SA RJ CL
OUTPUT     sc: CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
OUTPUT     er: CL CL CL CL CL CW CO CE ES SS SR SA RJ CL
OUTPUT     ab: CL RJ CL CL CL CL CL CL CL CL CL CL CL CL
INPUT_ONLY d : ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
INPUT_ONLY i : I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
INPUT_ONLY ia: CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
INPUT_ONLY ce: ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
INPUT_ONLY ca: ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
INPUT_ONLY s : SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
INPUT_ONLY sa: CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
INPUT_ONLY sc: CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
INPUT_ONLY er: CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
INPUT_ONLY ab: CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
";

const WORDS: &str = "NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL";
const EVENT_WORDS: &str = "d i ia ce ca s sa sc er ab";
/// A chunk type for each event.
const CHUNKS: [u8; EVENTS] = [0, 1, 2, 10, 11, 7, 8, 14, 9, 6];

fn position(words: &str, word: &str) -> usize {
    words.split(' ').position(|known| known == word).unwrap()
}

fn state(word: &str) -> State {
    State::from_number(position(WORDS, word) as u8)
}

/// A chunk's type, its length field, and its actual number of bytes.
type Chunk = (u8, u16, usize);

/// A packet after its IP header: a common header and these chunks.
fn packet(chunks: &[Chunk]) -> Vec<u8> {
    let mut packet = vec![0xaa; sctp::LEN];
    for &(kind, len, bytes) in chunks {
        packet.extend_from_slice(&[kind, 0]);
        packet.extend_from_slice(&len.to_be_bytes());
        packet.resize(packet.len() + bytes - 4, 0x55);
    }
    packet
}

#[test]
fn every_cell_matches_the_specification() {
    let mut cells = 0;
    for line in TABLES.lines().skip(1) {
        let (name, row) = line.split_once(": ").unwrap();
        let mut name = name.split_whitespace();
        let sender = match name.next().unwrap() {
            "INPUT" => Sender::Client,
            "OUTPUT" => Sender::Destination,
            _ => Sender::ClientOnly,
        };
        let chunk = CHUNKS[position(EVENT_WORDS, name.next().unwrap())];
        let event = event(&packet(&[(chunk, 4, 4)])).unwrap();
        for (now, expected) in WORDS.split(' ').zip(row.split(' ')) {
            assert_eq!(next(state(now), sender, event), state(expected), "{line}: from {now}");
            cells += 1;
        }
    }
    assert_eq!(cells, 3 * EVENTS * STATES);
}

#[test]
fn an_association_is_set_up_and_shut_down() {
    let steps = [
        (Sender::Client, Event::Init, I1),
        (Sender::Destination, Event::InitAck, CS),
        (Sender::Client, Event::CookieEcho, CR),
        (Sender::Destination, Event::CookieAck, ES),
        (Sender::Client, Event::Data, ES),
        (Sender::Client, Event::Shutdown, SR),
        (Sender::Destination, Event::ShutdownAck, SA),
        (Sender::Client, Event::ShutdownComplete, CL),
    ];
    let mut state = NO;
    for (sender, event, expected) in steps {
        state = next(state, sender, event);
        assert_eq!(state, expected, "after {event:?} from {sender:?}");
    }
}

#[test]
fn the_first_chunk_decides_except_before_an_abort_after_a_cookie() {
    let rows: [(&str, &[Chunk], Option<Event>); 9] = [
        ("no chunk", &[], None),
        ("an unknown chunk", &[(200, 4, 4)], Some(Event::Data)),
        ("SACK", &[(3, 16, 16)], Some(Event::Data)),
        ("data, then an ABORT", &[(0, 16, 16), (6, 4, 4)], Some(Event::Data)),
        ("a cookie of odd length, then an ABORT", &[(10, 9, 12), (6, 4, 4)], Some(Event::Abort)),
        ("COOKIE ACK, then an ABORT", &[(11, 4, 4), (6, 4, 4)], Some(Event::Abort)),
        ("a cookie, then data", &[(10, 8, 8), (0, 16, 16)], Some(Event::CookieEcho)),
        ("a cookie with length 0", &[(10, 0, 4), (6, 4, 4)], Some(Event::CookieEcho)),
        ("a cookie that is longer than the packet", &[(10, 65535, 4), (6, 4, 4)], Some(Event::CookieEcho)),
    ];
    for (what, chunks, expected) in rows {
        assert_eq!(event(&packet(chunks)), expected, "{what}");
    }
}

#[test]
fn only_established_is_active_and_not_evictable() {
    let active: Vec<_> = ALL.iter().filter(|s| s.is_active()).map(|s| s.name()).collect();
    let not_evictable: Vec<_> = ALL.iter().filter(|s| !s.is_evictable()).map(|s| s.name()).collect();
    assert_eq!((active, not_evictable), (vec!["ESTABLISHED"], vec!["ESTABLISHED"]));
}

proptest! {
    #[test]
    fn any_complete_chunk_header_has_an_event(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(event(&bytes).is_some(), bytes.len() >= 16);
    }
}
