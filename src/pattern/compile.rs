//! From the text of a pattern to its states.

use crate::pattern::program::{First, Look, MAX_PATTERN, Program, Set, State};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassAsciiKind, ClassBracketed, ClassPerlKind, ClassSet, ClassSetItem, Flag, Flags as Given,
    FlagsItemKind, GroupKind, RepetitionKind, RepetitionRange,
};

/// How often a part of a pattern may be asked for at least or at most, by `{…}`.
const MAX_REPEATED: u32 = 1_000;

/// A pattern has no more states than this; with repetitions in repetitions they multiply.
const MAX_STATES: usize = 30_000;

/// How deep groups may be in groups.
const MAX_NESTED: u32 = 50;

/// Behind which state what comes next is to be put, and on which of its sides.
type Loose = Vec<(u32, Side)>;

#[derive(Clone, Copy)]
enum Side {
    First,
    Second,
}

/// A part of a program: where it begins, and what is to lead to whatever follows.
struct Fragment {
    start: u32,
    ends: Loose,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    case_insensitive: bool,
    multi_line: bool,
    dot_matches_new_line: bool,
    crlf: bool,
}

struct Compiler {
    program: Program,
    flags: Flags,
    /// Parts that were compiled. Repetitions of nothing have no states, and would be repeated without end.
    parts: usize,
}

pub(super) fn compile(pattern: &str, case_sensitive: bool) -> Result<Program, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("it is longer than {MAX_PATTERN} bytes"));
    }
    let ast = ParserBuilder::new().nest_limit(MAX_NESTED).build().parse(pattern);
    let ast = ast.map_err(|error| format!("at character {}, {}", error.span().start.column, error.kind()))?;
    let flags = Flags { case_insensitive: !case_sensitive, ..Flags::default() };
    let mut compiler = Compiler { program: Program::default(), flags, parts: 0 };
    let whole = compiler.part(&ast)?;
    let end = compiler.add(State::Match)?;
    compiler.join(&whole.ends, end);
    compiler.program.start = whole.start;
    compiler.program.first = compiler.first();
    Ok(compiler.program)
}

// === impl Compiler ===

impl Compiler {
    fn add(&mut self, state: State) -> Result<u32, String> {
        if self.program.states.len() >= MAX_STATES {
            return Err(format!("it is too large: written out, it has more than {MAX_STATES} parts"));
        }
        self.program.states.push(state);
        Ok(self.program.states.len() as u32 - 1)
    }

    /// Lets loose ends lead somewhere.
    fn join(&mut self, ends: &[(u32, Side)], target: u32) {
        for (end, side) in ends {
            match (self.program.states.get_mut(*end as usize), side) {
                (Some(State::One(_, next) | State::Any(_, next) | State::Look(_, next)), _)
                | (Some(State::Split(next, _)), Side::First)
                | (Some(State::Split(_, next)), Side::Second) => *next = target,
                _ => {}
            }
        }
    }

    /// A part that is one state.
    fn single(&mut self, state: State) -> Result<Fragment, String> {
        let start = self.add(state)?;
        Ok(Fragment { start, ends: vec![(start, Side::First)] })
    }

    /// A part that is there without any character.
    fn empty(&mut self) -> Result<Fragment, String> {
        let start = self.add(State::Split(0, 0))?;
        Ok(Fragment { start, ends: vec![(start, Side::First), (start, Side::Second)] })
    }

    fn part(&mut self, ast: &Ast) -> Result<Fragment, String> {
        self.parts += 1;
        if self.parts > 4 * MAX_STATES {
            return Err(format!("it is too large: written out, it has more than {MAX_STATES} parts"));
        }
        match ast {
            Ast::Empty(_) => self.empty(),
            Ast::Flags(set) => {
                self.flags = self.flags.with(&set.flags);
                self.empty()
            }
            Ast::Literal(literal) => self.literal(literal.c),
            Ast::Dot(_) => {
                let newline = [('\n', true), ('\r', self.flags.crlf)];
                let excluded = newline.into_iter().filter(|(_, is)| *is && !self.flags.dot_matches_new_line);
                let excluded = excluded.map(|(char, _)| (u32::from(char), u32::from(char))).collect();
                self.set(Set::new(excluded).negated())
            }
            Ast::Assertion(assertion) => {
                let look = self.flags.look(&assertion.kind);
                self.single(State::Look(look, 0))
            }
            Ast::ClassUnicode(_) => Err(UNICODE.to_owned()),
            Ast::ClassPerl(class) => self.set(perl(&class.kind, class.negated)),
            Ast::ClassBracketed(class) => {
                let set = self.bracketed(class)?;
                self.set(set)
            }
            Ast::Repetition(repetition) => {
                let (least, most) = match &repetition.op.kind {
                    RepetitionKind::ZeroOrOne => (0, Some(1)),
                    RepetitionKind::ZeroOrMore => (0, None),
                    RepetitionKind::OneOrMore => (1, None),
                    RepetitionKind::Range(RepetitionRange::Exactly(times)) => (*times, Some(*times)),
                    RepetitionKind::Range(RepetitionRange::AtLeast(times)) => (*times, None),
                    RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => (*least, Some(*most)),
                };
                if least.max(most.unwrap_or(0)) > MAX_REPEATED {
                    return Err(format!("a part of it is repeated more than {MAX_REPEATED} times"));
                }
                self.repeated(&repetition.ast, least, most)
            }
            Ast::Group(group) => {
                let outer = self.flags;
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags = self.flags.with(flags);
                }
                let part = self.part(&group.ast);
                self.flags = outer;
                part
            }
            Ast::Concat(concat) => {
                let mut parts = concat.asts.iter();
                let Some(first) = parts.next() else { return self.empty() };
                let mut whole = self.part(first)?;
                for ast in parts {
                    let next = self.part(ast)?;
                    self.join(&whole.ends, next.start);
                    whole.ends = next.ends;
                }
                Ok(whole)
            }
            Ast::Alternation(alternation) => {
                let mut ends = Vec::new();
                let mut start = None;
                for ast in &alternation.asts {
                    let part = self.part(ast)?;
                    ends.extend(part.ends);
                    start = Some(match start {
                        None => part.start,
                        Some(before) => self.add(State::Split(before, part.start))?,
                    });
                }
                match start {
                    Some(start) => Ok(Fragment { start, ends }),
                    None => self.empty(),
                }
            }
        }
    }

    fn literal(&mut self, char: char) -> Result<Fragment, String> {
        if self.flags.case_insensitive && char.is_ascii_alphabetic() {
            let code = u32::from(char);
            return self.set(Set::new(vec![(code, code)]).folded());
        }
        self.single(State::One(char, 0))
    }

    fn set(&mut self, set: Set) -> Result<Fragment, String> {
        let known = self.program.sets.iter().rposition(|known| *known == set);
        let at = known.unwrap_or_else(|| {
            self.program.sets.push(set);
            self.program.sets.len() - 1
        });
        self.single(State::Any(at as u32, 0))
    }

    fn repeated(&mut self, ast: &Ast, least: u32, most: Option<u32>) -> Result<Fragment, String> {
        let flags = self.flags;
        let mut whole: Option<Fragment> = None;
        let mut last = None;
        for _ in 0..least {
            self.flags = flags;
            let next = self.part(ast)?;
            last = Some(next.start);
            whole = Some(match whole {
                None => next,
                Some(before) => {
                    self.join(&before.ends, next.start);
                    Fragment { start: before.start, ends: next.ends }
                }
            });
        }
        if let (None, Some(last), Some(before)) = (most, last, &whole) {
            // The last time leads back to itself.
            let split = self.add(State::Split(last, 0))?;
            self.join(&before.ends, split);
            return Ok(Fragment { start: before.start, ends: vec![(split, Side::Second)] });
        }
        let mut ends = Vec::new();
        for _ in 0..most.map_or(1, |most| most.saturating_sub(least)) {
            self.flags = flags;
            let split = self.add(State::Split(0, 0))?;
            let next = self.part(ast)?;
            self.join(&[(split, Side::First)], next.start);
            ends.push((split, Side::Second));
            let (start, before) = whole.map_or((split, Vec::new()), |whole| (whole.start, whole.ends));
            self.join(&before, split);
            whole = Some(match most {
                Some(_) => Fragment { start, ends: next.ends },
                None => {
                    self.join(&next.ends, split);
                    Fragment { start, ends: Vec::new() }
                }
            });
        }
        match whole {
            Some(whole) => Ok(Fragment { start: whole.start, ends: [ends, whole.ends].concat() }),
            None => self.empty(),
        }
    }

    fn bracketed(&self, class: &ClassBracketed) -> Result<Set, String> {
        let ClassSet::Item(item) = &class.kind else { return Err(NESTED.to_owned()) };
        let mut ranges = Vec::new();
        gather(item, &mut ranges)?;
        // What is negated is the set with both cases: all but x is not everything.
        let set = Set::new(ranges);
        let set = if self.flags.case_insensitive { set.folded() } else { set };
        Ok(if class.negated { set.negated() } else { set })
    }

    /// With which characters a match can begin.
    fn first(&self) -> Option<First> {
        let mut first = First::default();
        let mut seen = vec![false; self.program.states.len()];
        let mut next = vec![self.program.start];
        while let Some(at) = next.pop() {
            match seen.get_mut(at as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match *self.program.states.get(at as usize)? {
                State::One(char, _) => first.add(char),
                State::Any(set, _) => first.add_all(self.program.sets.get(set as usize)?),
                State::Split(one, other) => next.extend([one, other]),
                State::Look(_, behind) => next.push(behind),
                State::Match => return None,
            }
        }
        Some(first)
    }
}

const UNICODE: &str = "\\p and \\P are not supported; write the characters or ranges that are meant";

const NESTED: &str = "sets of characters within sets, and operations on them (&&, --, ~~), are not supported";

fn gather(item: &ClassSetItem, ranges: &mut Vec<(u32, u32)>) -> Result<(), String> {
    match item {
        ClassSetItem::Empty(_) => {}
        ClassSetItem::Literal(literal) => ranges.push((u32::from(literal.c), u32::from(literal.c))),
        ClassSetItem::Range(range) => ranges.push((u32::from(range.start.c), u32::from(range.end.c))),
        ClassSetItem::Ascii(class) => ranges.extend(ascii(&class.kind, class.negated).ranges),
        ClassSetItem::Perl(class) => ranges.extend(perl(&class.kind, class.negated).ranges),
        ClassSetItem::Unicode(_) => return Err(UNICODE.to_owned()),
        ClassSetItem::Bracketed(_) => return Err(NESTED.to_owned()),
        ClassSetItem::Union(union) => {
            for item in &union.items {
                gather(item, ranges)?;
            }
        }
    }
    Ok(())
}

fn perl(kind: &ClassPerlKind, negated: bool) -> Set {
    let kind = match kind {
        ClassPerlKind::Digit => ClassAsciiKind::Digit,
        ClassPerlKind::Space => ClassAsciiKind::Space,
        ClassPerlKind::Word => ClassAsciiKind::Word,
    };
    ascii(&kind, negated)
}

fn ascii(kind: &ClassAsciiKind, negated: bool) -> Set {
    let ranges: &[(char, char)] = match kind {
        ClassAsciiKind::Alnum => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        ClassAsciiKind::Alpha => &[('A', 'Z'), ('a', 'z')],
        ClassAsciiKind::Ascii => &[('\0', '\x7f')],
        ClassAsciiKind::Blank => &[('\t', '\t'), (' ', ' ')],
        ClassAsciiKind::Cntrl => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        ClassAsciiKind::Digit => &[('0', '9')],
        ClassAsciiKind::Graph => &[('!', '~')],
        ClassAsciiKind::Lower => &[('a', 'z')],
        ClassAsciiKind::Print => &[(' ', '~')],
        ClassAsciiKind::Punct => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        ClassAsciiKind::Space => &[('\t', '\r'), (' ', ' ')],
        ClassAsciiKind::Upper => &[('A', 'Z')],
        ClassAsciiKind::Word => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        ClassAsciiKind::Xdigit => &[('0', '9'), ('A', 'F'), ('a', 'f')],
    };
    let set = Set::new(ranges.iter().map(|(from, to)| (u32::from(*from), u32::from(*to))).collect());
    if negated { set.negated() } else { set }
}

// === impl Flags ===

impl Flags {
    fn with(mut self, given: &Given) -> Self {
        let mut on = true;
        for item in &given.items {
            match item.kind {
                FlagsItemKind::Negation => on = false,
                FlagsItemKind::Flag(Flag::CaseInsensitive) => self.case_insensitive = on,
                FlagsItemKind::Flag(Flag::MultiLine) => self.multi_line = on,
                FlagsItemKind::Flag(Flag::DotMatchesNewLine) => self.dot_matches_new_line = on,
                FlagsItemKind::Flag(Flag::CRLF) => self.crlf = on,
                // Who is greedy changes what is found and not whether; the parser has seen to whitespace; and characters are
                // always those of Unicode, with words and digits of ASCII.
                FlagsItemKind::Flag(Flag::SwapGreed | Flag::IgnoreWhitespace | Flag::Unicode) => {}
            }
        }
        self
    }

    fn look(self, kind: &AssertionKind) -> Look {
        match kind {
            AssertionKind::StartLine if !self.multi_line => Look::Start,
            AssertionKind::EndLine if !self.multi_line => Look::End,
            AssertionKind::StartLine if self.crlf => Look::StartOfLineCrlf,
            AssertionKind::EndLine if self.crlf => Look::EndOfLineCrlf,
            AssertionKind::StartLine => Look::StartOfLine,
            AssertionKind::EndLine => Look::EndOfLine,
            AssertionKind::StartText => Look::Start,
            AssertionKind::EndText => Look::End,
            AssertionKind::WordBoundary => Look::Word,
            AssertionKind::NotWordBoundary => Look::NoWord,
            AssertionKind::WordBoundaryStart | AssertionKind::WordBoundaryStartAngle => Look::WordStart,
            AssertionKind::WordBoundaryEnd | AssertionKind::WordBoundaryEndAngle => Look::WordEnd,
            AssertionKind::WordBoundaryStartHalf => Look::WordStartHalf,
            AssertionKind::WordBoundaryEndHalf => Look::WordEndHalf,
        }
    }
}
