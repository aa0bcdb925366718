//! The Call-ID of a SIP message, RFC 3261: all messages of a call have it, so it keeps them at one destination.

/// The longest Call-ID there is to IPVS; spec 9.3.
pub const MAX_CALL_ID: usize = 255;

/// The Call-ID of a SIP message in one UDP datagram, as the bytes after the header's colon and white space, up to the
/// end of the line. Letters of either case or the compact form `i` name the header.
///
/// None when there is none, it is empty or longer than [`MAX_CALL_ID`], or the datagram ends before its line does: then
/// nobody knows what is missing. What follows the empty line is the body, which has no headers.
pub fn call_id(payload: &[u8]) -> Option<&[u8]> {
    // A message may have empty lines in front; RFC 3261 7.5.
    let start = payload.iter().position(|byte| !is_line_end(*byte))?;
    let mut rest = &payload[start..];
    loop {
        let end = rest.iter().position(|byte| is_line_end(*byte))?;
        let (line, after) = rest.split_at(end);
        if let Some(value) = value(line) {
            return Some(value).filter(|value| (1..=MAX_CALL_ID).contains(&value.len()));
        }
        rest = after.strip_prefix(b"\r\n").or(after.get(1..))?;
        if rest.first().is_none_or(|byte| is_line_end(*byte)) {
            return None;
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The value in a line of the header; none in other lines. A line that begins with white space continues another.
fn value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let name = name.trim_ascii_end();
    (name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i"))
        .then(|| value[1..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INVITE: &str =
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776\r\n";

    #[test]
    fn headers_of_every_form_are_found_and_others_are_not() {
        let rows: [(&str, &str, Option<&str>); 22] = [
            ("the usual one", "Call-ID: a84b4c76e66710@pc33\r\n\r\n", Some("a84b4c76e66710@pc33")),
            ("small letters", "call-id: x@y\r\n\r\n", Some("x@y")),
            ("large letters", "CALL-ID:x\r\n\r\n", Some("x")),
            ("the compact form", "i: x@y\r\n\r\n", Some("x@y")),
            ("the compact form, large", "I:x@y\r\n\r\n", Some("x@y")),
            ("white space before the colon", "Call-ID \t : x\r\n\r\n", Some("x")),
            ("white space after it", "Call-ID:\t  x\r\n\r\n", Some("x")),
            ("white space inside", "Call-ID: x y \r\n\r\n", Some("x y ")),
            ("colons inside", "Call-ID: x:y:z\r\n\r\n", Some("x:y:z")),
            ("lines that end in LF", "Max-Forwards: 7\nCall-ID: x\n\n", Some("x")),
            ("a line that ends in CR", "Call-ID: x\r", Some("x")),
            ("behind another", "Max-Forwards: 70\r\nCall-ID: x\r\n\r\n", Some("x")),
            ("the first of two", "Call-ID: x\r\ni: y\r\n\r\n", Some("x")),
            ("no end of line", "Call-ID: x", None),
            ("an empty one", "Call-ID:\r\n\r\n", None),
            ("white space alone", "Call-ID:  \t\r\ni: y\r\n\r\n", None),
            ("a longer name", "X-Call-ID: x\r\n\r\n", None),
            ("a name that begins so", "Call-ID-2: x\r\nim: x\r\n\r\n", None),
            ("a continued line", "Subject: a\r\n Call-ID: x\r\n\r\n", None),
            ("inside a line", "Subject: Call-ID: x\r\n\r\n", None),
            ("in the body", "Subject: a\r\n\r\nCall-ID: x\r\n", None),
            ("none", "Content-Length: 0\r\n\r\n", None),
        ];
        for (what, lines, want) in rows {
            let message = format!("{INVITE}{lines}");
            assert_eq!(call_id(message.as_bytes()), want.map(str::as_bytes), "{what}");
        }
    }

    #[test]
    fn empty_lines_in_front_are_no_end_of_headers() {
        assert_eq!(call_id(b"\r\n\r\nBYE sip:b SIP/2.0\r\ni:1\r\n\r\n"), Some(&b"1"[..]));
        for nothing in [&b""[..], b"\r\n", b"\r\n\r\n", b":", b":\r\n", b"i", b"\n", b"i:"] {
            assert_eq!(call_id(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn the_longest_is_255_bytes() {
        for (len, found) in [(255, true), (256, false), (60_000, false)] {
            let message = format!("{INVITE}Call-ID: {}\r\n\r\n", "c".repeat(len));
            assert_eq!(call_id(message.as_bytes()).map(<[u8]>::len), found.then_some(len));
        }
    }

    #[test]
    fn a_datagram_cut_anywhere_tells_the_whole_id_or_none() {
        let message = format!("{INVITE}From: a\r\nCall-ID: abc@def\r\nCSeq: 1 INVITE\r\n\r\nbody");
        let known = message.find("abc@def").unwrap() + 7;
        for len in 0..message.len() {
            let want = (len > known).then_some(&b"abc@def"[..]);
            assert_eq!(call_id(&message.as_bytes()[..len]), want, "{len}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_a_line_s_end(bytes in prop::collection::vec(
            prop_oneof![4 => prop::sample::select(b"iI: \t\r\nx".to_vec()), 1 => any::<u8>()], 0..80,
        )) {
            if let Some(id) = call_id(&bytes) {
                let at = id.as_ptr().addr() - bytes.as_ptr().addr();
                prop_assert!(!id.is_empty() && id.len() <= MAX_CALL_ID);
                prop_assert!(!id.iter().any(|byte| is_line_end(*byte)) && is_line_end(bytes[at + id.len()]));
            }
        }

        #[test]
        fn a_message_made_so_tells_its_id(
            before in prop::collection::vec("[A-HJ-Z][a-z]{2,9}: [ -~]{0,20}", 0..5), compact in any::<bool>(),
            space in "[ \t]{0,3}", id in "[!-~]{1,255}", end in prop::sample::select(vec!["\r\n", "\n", "\r"]),
        ) {
            let name = if compact { "i" } else { "cAlL-Id" };
            let lines: String = before.iter().map(|line| format!("{line}{end}")).collect();
            let message = format!("OPTIONS sip:x SIP/2.0{end}{lines}{name}{space}:{space}{id}{end}{end}v=0");
            prop_assert_eq!(call_id(message.as_bytes()), Some(id.as_bytes()));
        }
    }
}
