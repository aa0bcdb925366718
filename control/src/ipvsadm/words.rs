//! Splits a command line into options and their values, in the manner of the popt library that `ipvsadm` uses: short
//! options may be written together (`-Ln`), a value may be attached (`-w5`, `--weight=5`) or follow as the next word.

use super::command::ParseError;

/// Whether an option is followed by a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Required,
    /// Taken from the next word when that does not begin with a dash.
    Optional,
}

/// An option under its long name, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub name: &'static str,
    pub value: Option<String>,
    /// As it was typed, for messages.
    pub typed: String,
}

/// Every option: short letter (or none), long name, value.
const OPTIONS: &[(char, &str, Value)] = &[
    ('A', "add-service", Value::None),
    ('E', "edit-service", Value::None),
    ('D', "delete-service", Value::None),
    ('C', "clear", Value::None),
    ('R', "restore", Value::None),
    ('S', "save", Value::None),
    ('a', "add-server", Value::None),
    ('e', "edit-server", Value::None),
    ('d', "delete-server", Value::None),
    ('L', "list", Value::None),
    ('l', "list", Value::None),
    ('Z', "zero", Value::None),
    ('\0', "set", Value::None),
    ('\0', "start-daemon", Value::Required),
    ('\0', "stop-daemon", Value::Required),
    ('t', "tcp-service", Value::Required),
    ('u', "udp-service", Value::Required),
    ('\0', "sctp-service", Value::Required),
    ('f', "fwmark-service", Value::Required),
    ('6', "ipv6", Value::None),
    ('s', "scheduler", Value::Required),
    ('\0', "pe", Value::Required),
    ('p', "persistent", Value::Optional),
    ('M', "netmask", Value::Required),
    ('b', "sched-flags", Value::Required),
    ('o', "ops", Value::None),
    ('r', "real-server", Value::Required),
    ('g', "gatewaying", Value::None),
    ('i', "ipip", Value::None),
    ('m', "masquerading", Value::None),
    ('w', "weight", Value::Required),
    ('x', "u-threshold", Value::Required),
    ('y', "l-threshold", Value::Required),
    ('\0', "tun-type", Value::Required),
    ('\0', "tun-port", Value::Required),
    ('\0', "tun-nocsum", Value::None),
    ('\0', "tun-csum", Value::None),
    ('\0', "tun-remcsum", Value::None),
    ('\0', "mcast-interface", Value::Required),
    ('\0', "syncid", Value::Required),
    ('\0', "sync-maxlen", Value::Required),
    ('\0', "mcast-group", Value::Required),
    ('\0', "mcast-port", Value::Required),
    ('\0', "mcast-ttl", Value::Required),
    ('c', "connection", Value::None),
    ('n', "numeric", Value::None),
    ('\0', "stats", Value::None),
    ('\0', "rate", Value::None),
    ('\0', "exact", Value::None),
    ('\0', "timeout", Value::None),
    ('\0', "daemon", Value::None),
    ('\0', "thresholds", Value::None),
    ('\0', "persistent-conn", Value::None),
    ('\0', "tun-info", Value::None),
    ('\0', "sort", Value::None),
    ('\0', "nosort", Value::None),
];

/// The options of a line in their order, and the words that belong to none.
pub(super) fn split(line: &str) -> Result<(Vec<Word>, Vec<String>), ParseError> {
    let mut rest = line.split_whitespace().map(str::to_owned).peekable();
    let (mut words, mut strays) = (Vec::new(), Vec::new());
    while let Some(token) = rest.next() {
        if let Some(long) = token.strip_prefix("--") {
            words.push(long_option(&token, long, &mut rest)?);
        } else if token.len() > 1 && token.starts_with('-') {
            cluster(&token[1..], &mut rest, &mut words)?;
        } else {
            strays.push(token);
        }
    }
    Ok((words, strays))
}

fn long_option<I>(token: &str, long: &str, rest: &mut std::iter::Peekable<I>) -> Result<Word, ParseError>
where
    I: Iterator<Item = String>,
{
    let (name, attached) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    let found = OPTIONS.iter().find(|(_, known, _)| *known == name);
    let &(_, name, value) = found.ok_or_else(|| unknown(token))?;
    word(name, token.to_owned(), value, attached, rest)
}

/// Reads `Lnc` of `-Lnc`; the first letter that takes a value takes what is left of the word.
fn cluster<I>(
    letters: &str,
    rest: &mut std::iter::Peekable<I>,
    words: &mut Vec<Word>,
) -> Result<(), ParseError>
where
    I: Iterator<Item = String>,
{
    for (at, letter) in letters.char_indices() {
        let typed = format!("-{letter}");
        let found = OPTIONS.iter().find(|(short, _, _)| *short == letter && letter != '\0');
        let &(_, name, value) = found.ok_or_else(|| unknown(&typed))?;
        let tail = &letters[at + letter.len_utf8()..];
        if value == Value::Required && !tail.is_empty() {
            words.push(word(name, typed, value, Some(tail.to_owned()), rest)?);
            return Ok(());
        }
        // An optional value cannot follow inside a cluster: `-pn` is `-p -n`.
        let value = if value == Value::Optional && !tail.is_empty() { Value::None } else { value };
        words.push(word(name, typed, value, None, rest)?);
    }
    Ok(())
}

fn word<I>(
    name: &'static str,
    typed: String,
    value: Value,
    attached: Option<String>,
    rest: &mut std::iter::Peekable<I>,
) -> Result<Word, ParseError>
where
    I: Iterator<Item = String>,
{
    let value = match value {
        Value::None => None,
        Value::Required => Some(match attached.or_else(|| rest.next()) {
            Some(value) => value,
            None => return Err(ParseError::Unknown(format!("{typed}: missing argument\n"))),
        }),
        Value::Optional => attached.or_else(|| rest.next_if(|next| !next.starts_with('-'))),
    };
    Ok(Word { name, value, typed })
}

fn unknown(typed: &str) -> ParseError {
    ParseError::Unknown(format!("{typed}: unknown option\n"))
}
