//! Parses the part of the shell language that recorded commands use: words with quotes, `;`, `&&`, `||`, pipes, and output
//! to a file or to `/dev/null`.

/// Condition for running a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Always.
    Always,
    /// If the previous step succeeded.
    Success,
    /// If the previous step failed.
    Failure,
}

/// A pipeline of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Condition.
    pub after: After,
    /// Its commands, from left to right.
    pub commands: Vec<SimpleCommand>,
}

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimpleCommand {
    /// Its words.
    pub words: Vec<String>,
    /// Redirection of its output.
    pub output: Option<String>,
    /// Standard error is discarded.
    pub silent: bool,
}

/// Tokens of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(&'static str),
}

/// Operators, longer ones first.
const SIGNS: &[&str] = &["2>&1", "2>", "&&", "||", ";", "|", ">"];
const DEV_NULL: &str = "/dev/null";

/// Parses a line; `None` if it uses unsupported syntax.
pub fn parse(line: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut step = Step { after: After::Always, commands: vec![SimpleCommand::default()] };
    let mut tokens = tokens(line)?.into_iter();
    while let Some(token) = tokens.next() {
        let command = step.commands.last_mut()?;
        let next = match token {
            Token::Word(word) => {
                command.words.push(word);
                continue;
            }
            Token::Sign("|") => {
                step.commands.push(SimpleCommand::default());
                continue;
            }
            // Both streams are compared as one text.
            Token::Sign("2>&1") => {
                command.silent = command.output.as_deref() == Some(DEV_NULL);
                continue;
            }
            Token::Sign(sign @ (">" | "2>")) => {
                let Some(Token::Word(path)) = tokens.next() else { return None };
                match (sign, path.as_str()) {
                    ("2>", DEV_NULL) => command.silent = true,
                    ("2>", _) => return None,
                    _ => command.output = Some(path),
                }
                continue;
            }
            Token::Sign("&&") => After::Success,
            Token::Sign("||") => After::Failure,
            Token::Sign(_) => After::Always,
        };
        steps.push(std::mem::replace(
            &mut step,
            Step { after: next, commands: vec![SimpleCommand::default()] },
        ));
    }
    steps.push(step);
    // `a; ; b` and a trailing `;` leave empty steps.
    steps.retain(|step| step.commands != [SimpleCommand::default()]);
    let whole = steps.iter().flat_map(|step| &step.commands).all(|command| !command.words.is_empty());
    whole.then_some(steps)
}

fn tokens(line: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut word) = (Vec::new(), None::<String>);
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        // `2>` is an operator only at the start of a word: `echo 12>x` writes 12.
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

    fn words(command: &SimpleCommand) -> Vec<&str> {
        command.words.iter().map(String::as_str).collect()
    }

    #[test]
    fn operators_separate_steps() {
        let steps = parse("ipvsadm -C; ip route add 'a b' && true || false;").unwrap();
        let after: Vec<After> = steps.iter().map(|step| step.after).collect();
        assert_eq!(after, [After::Always, After::Always, After::Success, After::Failure]);
        assert_eq!(words(&steps[1].commands[0]), ["ip", "route", "add", "a b"]);
    }

    #[test]
    fn output_is_redirected() {
        let steps =
            parse("echo 1 > /proc/x; modprobe y 2>/dev/null; cat z | sort; a >/dev/null 2>&1").unwrap();
        assert_eq!(steps[0].commands[0].output.as_deref(), Some("/proc/x"));
        assert!(steps[1].commands[0].silent);
        assert_eq!(steps[2].commands.len(), 2);
        assert!(steps[3].commands[0].silent);
        assert_eq!(parse("echo 12>x").unwrap()[0].commands[0].words, ["echo", "12"]);
    }

    #[test]
    fn unsupported_syntax_is_refused() {
        for line in ["echo $x", "for a in b; do (c); done", "echo 'open", "a |", "a >", "a & b", "x < y"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
