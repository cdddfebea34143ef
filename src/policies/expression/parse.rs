//! From the text of an expression to its parts.

use super::{Comparison, Function, MOST_DEPTH, MOST_LENGTH, Node, Quantifier, Wrong};
use crate::pattern::Pattern;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Number(serde_json::Number),
    Name(String),
    Mark(&'static str),
    End,
}

/// So many parts does an operator join at most.
const MOST_PARTS: usize = 128;

/// Longer marks come before those that they begin with.
const MARKS: &[&str] =
    &["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", ".", "?", ":", "+", "-"];

/// What CEL keeps for itself: a field of such a name is a mistake.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn expression(text: &str) -> Result<Node, Wrong> {
    if text.len() > MOST_LENGTH {
        return Err(Wrong { at: MOST_LENGTH, reason: format!("an expression has {MOST_LENGTH} bytes at most") });
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, place: 0, depth: 0 };
    let node = parser.choice()?;
    match parser.peek() {
        Token::End => Ok(node),
        other => parser.wrong(format!("{} is not expected here", shown(other))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Text(text) => format!("\"{text}\""),
        Token::Number(number) => number.to_string(),
        Token::Name(name) => name.clone(),
        Token::Mark(mark) => (*mark).to_owned(),
        Token::End => "the end".to_owned(),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.get(..text.len() - rest.len()).unwrap_or("").chars().count() + 1;
        let wrong = |reason: &str| Err(Wrong { at, reason: reason.to_owned() });
        let Some(first) = rest.chars().next() else {
            found.push((at, Token::End));
            return Ok(found);
        };
        if first == '"' || first == '\'' {
            let Some((value, length)) = quoted(rest, first) else {
                return wrong("a text has no end, or an escape that is none");
            };
            found.push((at, Token::Text(value)));
            rest = rest.get(length..).unwrap_or("");
        } else if first.is_ascii_digit() {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
            let length = rest.bytes().take_while(is_part).count();
            // CEL writes a whole number without a sign as 1u.
            let written = rest.get(..length).unwrap_or("").trim_end_matches('u');
            let Ok(number) = serde_json::from_str::<serde_json::Number>(written) else {
                return wrong("this is no number");
            };
            found.push((at, Token::Number(number)));
            rest = rest.get(length..).unwrap_or("");
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            found.push((at, Token::Name(rest.get(..length).unwrap_or("").to_owned())));
            rest = rest.get(length..).unwrap_or("");
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            found.push((at, Token::Mark(mark)));
            rest = rest.get(mark.len()..).unwrap_or("");
        } else {
            return wrong("this character belongs to no expression");
        }
    }
}

/// A text between quotes and how many bytes it takes with them.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some((value, at + 1));
        }
        if character != '\\' {
            value.push(character);
            continue;
        }
        value.push(match characters.next()?.1 {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits: String = (0..4).map_while(|_| characters.next()).map(|(_, digit)| digit).collect();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
            }
            kept @ ('\\' | '"' | '\'') => kept,
            _ => return None,
        });
    }
    None
}

struct Parser<'t> {
    tokens: &'t [(usize, Token)],
    place: usize,
    depth: usize,
}

// === impl Parser ===

impl<'t> Parser<'t> {
    fn peek(&self) -> &'t Token {
        self.tokens.get(self.place).map_or(&Token::End, |(_, token)| token)
    }

    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, Wrong> {
        let at = self.tokens.get(self.place).or(self.tokens.last()).map_or(1, |(at, _)| *at);
        Err(Wrong { at, reason: reason.into() })
    }

    /// Takes a mark that is optional.
    fn has(&mut self, mark: &str) -> bool {
        let is_there = matches!(self.peek(), Token::Mark(known) if *known == mark);
        self.place += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, mark: &str) -> Result<(), Wrong> {
        if self.has(mark) { Ok(()) } else { self.wrong(format!("{mark} is missing before {}", shown(self.peek()))) }
    }

    fn name(&mut self) -> Result<&'t str, Wrong> {
        match self.peek() {
            Token::Name(name) => {
                self.place += 1;
                Ok(name)
            }
            other => self.wrong(format!("a name belongs here, not {}", shown(other))),
        }
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return self.wrong(format!("an expression is {MOST_DEPTH} levels deep at most"));
        }
        let made = work(self);
        self.depth -= 1;
        made
    }

    fn choice(&mut self) -> Result<Node, Wrong> {
        self.deeper(|parser| {
            let condition = parser.or()?;
            if !parser.has("?") {
                return Ok(condition);
            }
            let yes = parser.or()?;
            parser.expect(":")?;
            let no = parser.choice()?;
            Ok(Node::Choice(Box::new(condition), Box::new(yes), Box::new(no)))
        })
    }

    /// Parts that one operator joins, from left to right.
    fn chain(
        &mut self,
        mark: &str,
        part: fn(&mut Self) -> Result<Node, Wrong>,
        join: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Result<Node, Wrong> {
        let mut node = part(self)?;
        let mut parts = 1;
        while self.has(mark) {
            parts += 1;
            // The tree is as deep as the chain is long.
            if parts > MOST_PARTS {
                return self.wrong(format!("{mark} joins {MOST_PARTS} parts at most"));
            }
            node = join(Box::new(node), Box::new(part(self)?));
        }
        Ok(node)
    }

    fn or(&mut self) -> Result<Node, Wrong> {
        self.chain("||", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Node, Wrong> {
        self.chain("&&", Self::relation, Node::And)
    }

    fn relation(&mut self) -> Result<Node, Wrong> {
        let left = self.sum()?;
        const COMPARISONS: &[(&str, Comparison)] = &[
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = COMPARISONS.iter().find(|(mark, _)| self.has(mark)) {
            let right = self.sum()?;
            return Ok(Node::Compare(*comparison, Box::new(left), Box::new(right)));
        }
        if *self.peek() == Token::Name("in".to_owned()) {
            self.place += 1;
            let right = self.sum()?;
            return Ok(Node::In(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Node, Wrong> {
        self.chain("+", Self::unary, Node::Add)
    }

    fn unary(&mut self) -> Result<Node, Wrong> {
        if self.has("!") {
            return self.deeper(|parser| Ok(Node::Not(Box::new(parser.unary()?))));
        }
        if self.has("-") {
            return self.deeper(|parser| Ok(Node::Negative(Box::new(parser.unary()?))));
        }
        let mut node = self.primary()?;
        for _ in 0..MOST_DEPTH {
            if self.has(".") {
                let name = self.name()?;
                node = if self.has("(") {
                    self.method(node, name)?
                } else {
                    Node::Member(Box::new(node), name.to_owned())
                };
            } else if self.has("[") {
                let index = self.choice()?;
                self.expect("]")?;
                node = Node::Index(Box::new(node), Box::new(index));
            } else {
                return Ok(node);
            }
        }
        self.wrong(format!("a path has {MOST_DEPTH} members at most"))
    }

    /// A function of what stands before the point; its parenthesis is open.
    fn method(&mut self, of: Node, name: &str) -> Result<Node, Wrong> {
        let quantifier = match name {
            "exists" => Some(Quantifier::Exists),
            "all" => Some(Quantifier::All),
            _ => None,
        };
        if let Some(quantifier) = quantifier {
            let element = self.name()?.to_owned();
            self.expect(",")?;
            let each = self.choice()?;
            self.expect(")")?;
            return Ok(Node::Each(quantifier, Box::new(of), element, Box::new(each)));
        }
        if matches!(name, "size" | "lowerAscii") {
            self.expect(")")?;
            let function = if name == "size" { Function::Size } else { Function::LowerAscii };
            return Ok(Node::Call(function, Box::new(of), None));
        }
        let function = match name {
            "startsWith" => Some(Function::StartsWith),
            "endsWith" => Some(Function::EndsWith),
            "contains" => Some(Function::Contains),
            "matches" => None,
            _ => return self.wrong(format!("{name} is no function: they are startsWith, endsWith, contains, matches, size, lowerAscii, exists and all")),
        };
        if function.is_none() {
            // The pattern is made ready once, so it has to be a text and no field.
            let Token::Text(pattern) = self.peek() else { return self.wrong("matches takes a pattern between quotes") };
            let made = Pattern::new(pattern, true);
            self.place += usize::from(made.is_ok());
            return match made {
                Ok(pattern) => self.expect(")").map(|()| Node::Matches(Box::new(of), pattern)),
                Err(reason) => self.wrong(reason),
            };
        }
        let argument = self.choice()?;
        self.expect(")")?;
        Ok(Node::Call(function.unwrap_or(Function::Contains), Box::new(of), Some(Box::new(argument))))
    }

    fn primary(&mut self) -> Result<Node, Wrong> {
        let token = self.peek();
        if self.has("(") {
            let node = self.choice()?;
            self.expect(")")?;
            return Ok(node);
        }
        if self.has("[") {
            let mut list = Vec::new();
            while !self.has("]") {
                list.push(self.choice()?);
                if !self.has(",") {
                    self.expect("]")?;
                    break;
                }
            }
            return Ok(Node::List(list));
        }
        match token {
            Token::Text(text) => {
                self.place += 1;
                Ok(Node::Literal(Value::from(text.as_str())))
            }
            Token::Number(number) => {
                self.place += 1;
                Ok(Node::Literal(Value::Number(number.clone())))
            }
            Token::Name(name) if RESERVED.contains(&name.as_str()) || name == "in" => {
                self.wrong(format!("{name} is a word of the language and no field"))
            }
            Token::Name(name) => {
                self.place += 1;
                self.named(name)
            }
            other => self.wrong(format!("a value belongs here, not {}", shown(other))),
        }
    }

    fn named(&mut self, name: &str) -> Result<Node, Wrong> {
        match name {
            "true" => return Ok(Node::Literal(Value::Bool(true))),
            "false" => return Ok(Node::Literal(Value::Bool(false))),
            "null" => return Ok(Node::Literal(Value::Null)),
            _ => {}
        }
        if !self.has("(") {
            return Ok(Node::Name(name.to_owned()));
        }
        let argument = self.choice()?;
        let made = match (name, argument) {
            ("has", Node::Member(of, member)) => Node::Has(of, member),
            ("has", _) => return self.wrong("has() takes a member, such as has(metadata.team)"),
            ("size", of) => Node::Call(Function::Size, Box::new(of), None),
            _ => return self.wrong(format!("{name} is no function: has() and size() stand before what they take")),
        };
        self.expect(")")?;
        Ok(made)
    }
}
