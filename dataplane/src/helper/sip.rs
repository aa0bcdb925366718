//! The Call-ID of a SIP message (RFC 3261). All messages of a call have the same one, so it keeps them at one
//! destination.

/// The longest Call-ID that IPVS accepts; spec 9.3.
pub const MAX_CALL_ID: usize = 255;

/// The Call-ID of a SIP message in one UDP datagram: the bytes after the header's colon and white space, up to the
/// end of the line. The header's name is case-insensitive, or the compact form `i`.
///
/// `None` if there is none, if it is empty or longer than [`MAX_CALL_ID`], or if the datagram ends within its line, since
/// the rest may be missing. The body, after the empty line, is not searched.
pub fn call_id(payload: &[u8]) -> Option<&[u8]> {
    // A message may start with empty lines; RFC 3261 7.5.
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

/// The value if the line is a Call-ID header. A line that starts with white space continues the previous one.
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
    fn all_forms_of_the_header_are_found_and_no_others() {
        let rows: [(&str, &str, Option<&str>); 22] = [
            ("the usual form", "Call-ID: a84b4c76e66710@pc33\r\n\r\n", Some("a84b4c76e66710@pc33")),
            ("lower case", "call-id: x@y\r\n\r\n", Some("x@y")),
            ("upper case", "CALL-ID:x\r\n\r\n", Some("x")),
            ("the compact form", "i: x@y\r\n\r\n", Some("x@y")),
            ("the compact form in upper case", "I:x@y\r\n\r\n", Some("x@y")),
            ("white space before the colon", "Call-ID \t : x\r\n\r\n", Some("x")),
            ("white space after the colon", "Call-ID:\t  x\r\n\r\n", Some("x")),
            ("white space inside", "Call-ID: x y \r\n\r\n", Some("x y ")),
            ("colons inside", "Call-ID: x:y:z\r\n\r\n", Some("x:y:z")),
            ("lines that end in LF", "Max-Forwards: 7\nCall-ID: x\n\n", Some("x")),
            ("a line that ends in CR", "Call-ID: x\r", Some("x")),
            ("after another header", "Max-Forwards: 70\r\nCall-ID: x\r\n\r\n", Some("x")),
            ("the first of two", "Call-ID: x\r\ni: y\r\n\r\n", Some("x")),
            ("no end of line", "Call-ID: x", None),
            ("an empty value", "Call-ID:\r\n\r\n", None),
            ("white space alone", "Call-ID:  \t\r\ni: y\r\n\r\n", None),
            ("a longer name", "X-Call-ID: x\r\n\r\n", None),
            ("a name with this prefix", "Call-ID-2: x\r\nim: x\r\n\r\n", None),
            ("a continued line", "Subject: a\r\n Call-ID: x\r\n\r\n", None),
            ("inside a line", "Subject: Call-ID: x\r\n\r\n", None),
            ("in the body", "Subject: a\r\n\r\nCall-ID: x\r\n", None),
            ("none", "Content-Length: 0\r\n\r\n", None),
        ];
        for (what, lines, expected) in rows {
            let message = format!("{INVITE}{lines}");
            assert_eq!(call_id(message.as_bytes()), expected.map(str::as_bytes), "{what}");
        }
    }

    #[test]
    fn leading_empty_lines_do_not_end_the_headers() {
        assert_eq!(call_id(b"\r\n\r\nBYE sip:b SIP/2.0\r\ni:1\r\n\r\n"), Some(&b"1"[..]));
        for nothing in [&b""[..], b"\r\n", b"\r\n\r\n", b":", b":\r\n", b"i", b"\n", b"i:"] {
            assert_eq!(call_id(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn the_longest_call_id_has_255_bytes() {
        for (len, found) in [(255, true), (256, false), (60_000, false)] {
            let message = format!("{INVITE}Call-ID: {}\r\n\r\n", "c".repeat(len));
            assert_eq!(call_id(message.as_bytes()).map(<[u8]>::len), found.then_some(len));
        }
    }

    #[test]
    fn a_truncated_datagram_has_the_whole_call_id_or_none() {
        let message = format!("{INVITE}From: a\r\nCall-ID: abc@def\r\nCSeq: 1 INVITE\r\n\r\nbody");
        let end = message.find("abc@def").unwrap() + 7;
        for len in 0..message.len() {
            let expected = (len > end).then_some(&b"abc@def"[..]);
            assert_eq!(call_id(&message.as_bytes()[..len]), expected, "{len}");
        }
    }

    proptest! {
        #[test]
        fn a_call_id_extends_to_the_end_of_its_line(bytes in prop::collection::vec(
            prop_oneof![4 => prop::sample::select(b"iI: \t\r\nx".to_vec()), 1 => any::<u8>()], 0..80,
        )) {
            if let Some(id) = call_id(&bytes) {
                let at = id.as_ptr().addr() - bytes.as_ptr().addr();
                prop_assert!(!id.is_empty() && id.len() <= MAX_CALL_ID);
                prop_assert!(!id.iter().any(|byte| is_line_end(*byte)) && is_line_end(bytes[at + id.len()]));
            }
        }

        #[test]
        fn a_generated_message_has_its_call_id(
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
