//! Splits a command line into options and values as the popt library does, which `ipvsadm` uses: short options can be
//! combined (`-Ln`), a value is attached (`-w5`, `-w=5`, `--weight=5`) or the next word, and `--` ends the options.

use super::command::ParseError;

/// Says if an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Required,
    /// The next word, unless it begins with a dash.
    Optional,
}

/// An option by its long name, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParsedOption {
    pub name: &'static str,
    pub value: Option<String>,
    /// The last word of the option as typed, for messages; the value if it is a word of its own.
    pub typed: String,
}

/// The parts of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParsedLine {
    /// Options, in order.
    pub options: Vec<ParsedOption>,
    /// Words that belong to no option.
    pub strays: Vec<String>,
    /// The first error. Words after it are ignored, words before it count.
    pub broken: Option<ParseError>,
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
    ('h', "help", Value::None),
    ('v', "version", Value::None),
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
    ('X', "exact", Value::None),
    ('\0', "timeout", Value::None),
    ('\0', "daemon", Value::None),
    ('\0', "thresholds", Value::None),
    ('\0', "persistent-conn", Value::None),
    ('\0', "tun-info", Value::None),
    ('\0', "sort", Value::None),
    ('\0', "nosort", Value::None),
];

/// Splits a line of `-R` at blanks; there is no quoting. The word `ipvsadm` is dropped everywhere.
pub(super) fn arguments(line: &str) -> Vec<String> {
    let words = line.split([' ', '\t', '\r', '\n']);
    words.filter(|word| !word.is_empty() && *word != "ipvsadm").map(str::to_owned).collect()
}

/// Splits the words of a line into options and values.
pub(super) fn split(line: impl IntoIterator<Item = String>) -> ParsedLine {
    let mut rest = line.into_iter().peekable();
    let mut words = ParsedLine::default();
    while let Some(token) = rest.next() {
        let read = match token.strip_prefix('-') {
            Some("-") => {
                words.strays.extend(rest);
                return words;
            }
            None | Some("") => {
                words.strays.push(token);
                continue;
            }
            Some(short) => match short.strip_prefix('-') {
                Some(long) => long_option(&token, long, &mut rest, &mut words.options),
                None => cluster(&token, short, &mut rest, &mut words.options),
            },
        };
        if let Err(error) = read {
            words.broken = Some(error);
            return words;
        }
    }
    words
}

type Rest<I> = std::iter::Peekable<I>;

fn long_option<I>(
    token: &str,
    long: &str,
    rest: &mut Rest<I>,
    words: &mut Vec<ParsedOption>,
) -> Result<(), ParseError>
where
    I: Iterator<Item = String>,
{
    let (name, attached) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    let found = OPTIONS.iter().find(|(_, known, _)| *known == name);
    let &(_, name, value) = found.ok_or_else(|| unknown(token))?;
    words.push(word(name, token.to_owned(), value, attached, rest)?);
    Ok(())
}

/// Parses combined short options such as `-Lnc`. The first one with a value takes the rest of the word.
fn cluster<I>(
    token: &str,
    letters: &str,
    rest: &mut Rest<I>,
    words: &mut Vec<ParsedOption>,
) -> Result<(), ParseError>
where
    I: Iterator<Item = String>,
{
    for (at, letter) in letters.char_indices() {
        let found = OPTIONS.iter().find(|(short, _, _)| *short == letter && letter != '\0');
        let &(_, name, value) = found.ok_or_else(|| unknown(token))?;
        let tail = &letters[at + letter.len_utf8()..];
        let is_end = tail.is_empty() || value == Value::None && !tail.starts_with('=');
        if !is_end {
            let attached = tail.strip_prefix('=').unwrap_or(tail).to_owned();
            words.push(word(name, token.to_owned(), value, Some(attached), rest)?);
            return Ok(());
        }
        words.push(word(name, token.to_owned(), value, None, rest)?);
    }
    Ok(())
}

fn word<I>(
    name: &'static str,
    mut typed: String,
    value: Value,
    attached: Option<String>,
    rest: &mut Rest<I>,
) -> Result<ParsedOption, ParseError>
where
    I: Iterator<Item = String>,
{
    let next = match value {
        Value::Required if attached.is_none() => match rest.next() {
            Some(value) => Some(value),
            None => return Err(ParseError::Unknown(format!("{typed}: missing argument"))),
        },
        Value::None if attached.is_some() => {
            return Err(ParseError::Unknown(format!("{typed}: option does not take an argument")));
        }
        Value::Optional if attached.is_none() => rest.next_if(|next| !next.starts_with('-')),
        _ => None,
    };
    if let Some(next) = &next {
        typed.clone_from(next);
    }
    Ok(ParsedOption { name, value: if value == Value::None { None } else { attached.or(next) }, typed })
}

fn unknown(typed: &str) -> ParseError {
    ParseError::Unknown(format!("{typed}: unknown option"))
}
