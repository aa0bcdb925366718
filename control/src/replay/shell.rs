//! Reads the little of a shell's language that recorded commands use: words with quotes, `;`, `&&`, `||`, pipes, and
//! output sent to a file or to nowhere.

/// When a step is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// In any case.
    Anything,
    /// When the step before it went well.
    Success,
    /// When it did not.
    Failure,
}

/// A pipeline of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it is run.
    pub after: After,
    /// Its commands, from left to right.
    pub commands: Vec<Simple>,
}

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// Its words.
    pub words: Vec<String>,
    /// Where its output goes instead.
    pub output: Option<String>,
    /// Its complaints are thrown away.
    pub silent: bool,
}

/// What a line is cut into.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: &[&str] = &["2>&1", "2>", "&&", "||", ";", "|", ">"];
const NOWHERE: &str = "/dev/null";

/// Reads a line; none when it uses more of the language than is known here.
pub fn read(line: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut step = Step { after: After::Anything, commands: vec![Simple::default()] };
    let mut tokens = tokens(line)?.into_iter();
    while let Some(token) = tokens.next() {
        let command = step.commands.last_mut()?;
        let next = match token {
            Token::Word(word) => {
                command.words.push(word);
                continue;
            }
            Token::Sign("|") => {
                step.commands.push(Simple::default());
                continue;
            }
            // Both are compared as one text.
            Token::Sign("2>&1") => {
                command.silent = command.output.as_deref() == Some(NOWHERE);
                continue;
            }
            Token::Sign(sign @ (">" | "2>")) => {
                let Some(Token::Word(path)) = tokens.next() else { return None };
                match (sign, path.as_str()) {
                    ("2>", NOWHERE) => command.silent = true,
                    ("2>", _) => return None,
                    _ => command.output = Some(path),
                }
                continue;
            }
            Token::Sign("&&") => After::Success,
            Token::Sign("||") => After::Failure,
            Token::Sign(_) => After::Anything,
        };
        steps.push(std::mem::replace(&mut step, Step { after: next, commands: vec![Simple::default()] }));
    }
    steps.push(step);
    // `a; ; b` and an end with `;` leave steps without words.
    steps.retain(|step| step.commands != [Simple::default()]);
    let whole = steps.iter().flat_map(|step| &step.commands).all(|command| !command.words.is_empty());
    whole.then_some(steps)
}

fn tokens(line: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut word) = (Vec::new(), None::<String>);
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        // `2>` is a sign only where a word begins: `echo 12>x` writes 12.
        let sign = sign.filter(|sign| !sign.starts_with('2') || word.is_none());
        let used = match (sign, letter) {
            (Some(sign), _) => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Sign(sign));
                sign.len()
            }
            (None, '\'' | '"') => {
                let inside = &rest[1..];
                let end = inside.find(letter)?;
                word.get_or_insert_default().push_str(&inside[..end]);
                end + 2
            }
            (None, '`' | '$' | '(' | ')' | '<' | '&' | '\\') => return None,
            (None, blank) if blank.is_whitespace() => {
                tokens.extend(word.take().map(Token::Word));
                blank.len_utf8()
            }
            (None, other) => {
                word.get_or_insert_default().push(other);
                other.len_utf8()
            }
        };
        rest = &rest[used..];
    }
    tokens.extend(word.map(Token::Word));
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Simple) -> Vec<&str> {
        command.words.iter().map(String::as_str).collect()
    }

    #[test]
    fn steps_follow_signs() {
        let steps = read("ipvsadm -C; ip route add 'a b' && true || false;").unwrap();
        let after: Vec<After> = steps.iter().map(|step| step.after).collect();
        assert_eq!(after, [After::Anything, After::Anything, After::Success, After::Failure]);
        assert_eq!(words(&steps[1].commands[0]), ["ip", "route", "add", "a b"]);
    }

    #[test]
    fn output_goes_elsewhere() {
        let steps =
            read("echo 1 > /proc/x; modprobe y 2>/dev/null; cat z | sort; a >/dev/null 2>&1").unwrap();
        assert_eq!(steps[0].commands[0].output.as_deref(), Some("/proc/x"));
        assert!(steps[1].commands[0].silent);
        assert_eq!(steps[2].commands.len(), 2);
        assert!(steps[3].commands[0].silent);
        assert_eq!(read("echo 12>x").unwrap()[0].commands[0].words, ["echo", "12"]);
    }

    #[test]
    fn more_of_the_language_is_not_understood() {
        for line in ["echo $x", "for a in b; do (c); done", "echo 'open", "a |", "a >", "a & b", "x < y"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
