//! Reads what stands at known places of a JSON document, in one pass, and steps over everything else without keeping it.
//!
//! A document of a provider holds its own words and those of models and users side by side, under the same names. So
//! nothing is looked for: a shape says which members of an object count, and what is inside of those.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The members of an object that count, by their names. The name is given back so that it outlives the document.
pub type Shape = fn(&str) -> Option<(&'static str, Take)>;

/// What is kept of a member. A value of another type counts as missing: an odd field must not hide the others.
#[derive(Clone, Copy)]
pub enum Take {
    /// A text that is not empty.
    Text,
    /// All of it, whatever it is. Only for objects that providers alone fill, and for errors.
    Json,
    /// An object of a shape, or a list of those.
    Inside(Shape),
    /// The same, or a text.
    TextOrInside(Shape),
    /// Only that it is there.
    Seen,
    /// How many members a list has.
    Length,
}

/// What was found at a place.
#[derive(Debug, PartialEq)]
pub enum Node<'a> {
    Text(Cow<'a, str>),
    Json(Value),
    Object(Vec<(&'static str, Node<'a>)>),
    List(Vec<Node<'a>>),
    Seen,
    Length(u64),
}

/// So many objects of a list are kept, the last one in any case: facts are in the first and in the last.
const MAX_LIST: usize = 1_024;

/// Hands the object that a document is to `take`, or the objects of the list that it is, one by one: those of a list that
/// broke off are complete in themselves. A document that is no JSON to its end says nothing.
pub fn read<'a>(document: &'a [u8], shape: Shape, take: &mut dyn FnMut(Node<'a>)) {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let found = deserializer.deserialize_any(Top { shape, take: &mut *take });
    if let Ok(Some(node)) = found
        && deserializer.end().is_ok()
    {
        take(node);
    }
}

/// Names what a shape has, as a function.
macro_rules! shape {
    ($(#[$doc:meta])* $vis:vis $shape:ident { $($name:literal => $take:expr,)* }) => {
        $(#[$doc])*
        $vis fn $shape(name: &str) -> Option<(&'static str, Take)> {
            match name {
                $($name => Some(($name, $take)),)*
                _ => None,
            }
        }
    };
}
pub(crate) use shape;

// === impl Node ===

impl<'a> Node<'a> {
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            // The last of several members of the same name counts, as everywhere.
            Self::Object(members) => members.iter().rev().find(|(member, _)| *member == name).map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// All texts of a member that is there several times.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let members = match self {
            Self::Object(members) => members.as_slice(),
            _ => &[],
        };
        members.iter().filter(move |(member, _)| *member == name).filter_map(|(_, node)| match node {
            Self::Text(text) => Some(text.as_ref()),
            _ => None,
        })
    }

    /// The text of the first of several members that has one.
    pub fn first_text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.text(name))
    }

    pub fn json(&self, name: &str) -> Option<&Value> {
        match self.get(name)? {
            Self::Json(value) => Some(value),
            _ => None,
        }
    }

    pub fn length(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Self::Length(length) => Some(*length),
            _ => None,
        }
    }

    /// The objects of a list.
    pub fn list(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self::List(nodes)) => nodes,
            _ => &[],
        }
    }
}

/// The whole document.
struct Top<'t, 'de> {
    shape: Shape,
    take: &'t mut dyn FnMut(Node<'de>),
}

impl<'de> Visitor<'de> for Top<'_, 'de> {
    type Value = Option<Node<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        object(self.shape, map).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while let Some(found) = list.next_element_seed(Place(Take::Inside(self.shape)))? {
            if let Some(node @ Node::Object(_)) = found {
                (self.take)(node);
            }
        }
        Ok(None)
    }
}

/// Reads the value of a member. `None` is what is null, empty or of another type.
struct Place(Take);

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Option<Node<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            Take::Json => {
                let value: Value = serde::Deserialize::deserialize(deserializer)?;
                Ok((!value.is_null()).then_some(Node::Json(value)))
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Option<Node<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        match self.0 {
            Take::Inside(shape) | Take::TextOrInside(shape) => object(shape, map).map(Some),
            _ => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(self.seen())
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (Take::Inside(shape) | Take::TextOrInside(shape)) = self.0 else {
            let mut length = 0;
            while list.next_element::<IgnoredAny>()?.is_some() {
                length += 1;
            }
            return Ok(if matches!(self.0, Take::Length) { Some(Node::Length(length)) } else { self.seen() });
        };
        let mut nodes = Vec::new();
        // A list within the list is no list of objects.
        while let Some(found) = list.next_element_seed(Element(shape))? {
            if let Some(node) = found {
                if nodes.len() == MAX_LIST {
                    nodes.pop();
                }
                nodes.push(node);
            }
        }
        Ok((!nodes.is_empty()).then_some(Node::List(nodes)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(self.text(|| Cow::Borrowed(text), text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.text(|| Cow::Owned(text.to_owned()), text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(self.seen())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(self.seen())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(self.seen())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(self.seen())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.seen())
    }
}

/// Reads an object of a list.
struct Element(Shape);

impl<'de> DeserializeSeed<'de> for Element {
    type Value = Option<Node<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let found = deserializer.deserialize_any(Place(Take::Inside(self.0)))?;
        Ok(found.filter(|node| matches!(node, Node::Object(_))))
    }
}

fn object<'de, A: MapAccess<'de>>(shape: Shape, mut map: A) -> Result<Node<'de>, A::Error> {
    let mut members = Vec::new();
    while let Some(member) = map.next_key_seed(Name(shape))? {
        match member {
            None => {
                map.next_value::<IgnoredAny>()?;
            }
            Some((name, take)) => {
                if let Some(node) = map.next_value_seed(Place(take))? {
                    members.push((name, node));
                }
            }
        }
    }
    Ok(Node::Object(members))
}

/// Looks up the name of a member without keeping it.
struct Name(Shape);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(&'static str, Take)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<(&'static str, Take)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.0)(name))
    }
}

// === impl Place ===

impl Place {
    fn seen<'a>(&self) -> Option<Node<'a>> {
        matches!(self.0, Take::Seen).then_some(Node::Seen)
    }

    fn text<'a>(&self, keep: impl FnOnce() -> Cow<'a, str>, text: &str) -> Option<Node<'a>> {
        match self.0 {
            Take::Text | Take::TextOrInside(_) if !text.is_empty() => Some(Node::Text(keep())),
            _ => self.seen(),
        }
    }
}
