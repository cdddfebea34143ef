//! What the Worker and a gateway's Durable Object tell each other, as JSON. The object knows no settings: each message
//! brings the limits that hold for it, so a changed setting holds as soon as the Worker knows it.

use super::window::{Technique, Window};
use super::{Demand, Reading, Takes};
use serde_json::Value;

/// What is asked of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// May a request pass? Answered with a reading for each demand.
    Admit { id: String, demands: Vec<Demand> },
    /// What it did cost, and what the things did that it was about. Answered with a reading for each demand.
    Settle { id: String, cost: u64, demands: Vec<Demand>, charges: Vec<Charge> },
    /// Where the counters of rules stand. The demands name no parts.
    Show { demands: Vec<Demand> },
    /// The gateway is no more.
    Forget,
}

/// Something that is paid once, however often it is asked for. It is paid from the budgets of the request that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The provider, and its id of the thing.
    pub thing: String,
    /// True for the request that made it, which began at this time in milliseconds.
    pub made_at: Option<u64>,
    /// What it did cost, once that is known.
    pub cost: Option<u64>,
    /// What counts until then.
    pub meanwhile: u64,
}

/// One of a rule's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub part: String,
    pub reading: Reading,
}

// === impl Message ===

impl Message {
    pub fn to_text(&self) -> String {
        let nothing = (String::new(), 0, &[][..]);
        let (name, (id, cost, demands)) = match self {
            Self::Admit { id, demands } => ("admit", (id.clone(), 0, demands.as_slice())),
            Self::Settle { id, cost, demands, .. } => ("settle", (id.clone(), *cost, demands.as_slice())),
            Self::Show { demands } => ("show", (String::new(), 0, demands.as_slice())),
            Self::Forget => ("forget", nothing),
        };
        let demands: Value = demands.iter().map(demand_to_json).collect();
        let mut message = vec![name.into(), id.into(), cost.into(), demands];
        if let Self::Settle { charges, .. } = self
            && !charges.is_empty()
        {
            message.push(charges.iter().map(Charge::to_json).collect());
        }
        Value::Array(message).to_string()
    }

    pub fn parse(text: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(text).ok()?;
        let id = message.get(1)?.as_str()?.to_owned();
        let demands = message.get(3)?.as_array()?.iter().map(demand).collect::<Option<Vec<Demand>>>()?;
        match message.get(0)?.as_str()? {
            "admit" => Some(Self::Admit { id, demands }),
            "settle" => {
                let charges = message.get(4).and_then(Value::as_array).into_iter().flatten();
                let charges = charges.map(Charge::parse).collect::<Option<Vec<Charge>>>()?;
                Some(Self::Settle { id, cost: message.get(2)?.as_u64()?, demands, charges })
            }
            "show" => Some(Self::Show { demands }),
            "forget" => Some(Self::Forget),
            _ => None,
        }
    }
}

// === impl Charge ===

impl Charge {
    fn to_json(&self) -> Value {
        Value::Array(vec![self.thing.as_str().into(), self.made_at.into(), self.cost.into(), self.meanwhile.into()])
    }

    fn parse(value: &Value) -> Option<Self> {
        let number = |place: usize| value.get(place).and_then(Value::as_u64);
        let thing = value.get(0)?.as_str()?.to_owned();
        Some(Self { thing, made_at: number(1), cost: number(2), meanwhile: number(3)? })
    }
}

pub fn demand_to_json(demand: &Demand) -> Value {
    let (takes, amount) = match demand.takes {
        Takes::One => ("one", 0),
        Takes::Later => ("later", 0),
        Takes::Reserve(amount) => ("reserve", amount),
    };
    Value::Array(vec![
        demand.rule.as_str().into(),
        demand.part.as_str().into(),
        demand.window.length_ms.into(),
        demand.window.technique.name().into(),
        demand.limit.into(),
        takes.into(),
        amount.into(),
    ])
}

pub fn demand(value: &Value) -> Option<Demand> {
    let text = |place: usize| value.get(place)?.as_str();
    let number = |place: usize| value.get(place)?.as_u64();
    let takes = match text(5)? {
        "one" => Takes::One,
        "later" => Takes::Later,
        "reserve" => Takes::Reserve(number(6)?),
        _ => return None,
    };
    let window = Window { length_ms: number(2)?.max(1), technique: Technique::parse(text(3)?)? };
    Some(Demand { rule: text(0)?.to_owned(), part: text(1)?.to_owned(), window, limit: number(4)?, takes })
}

fn reading_to_json(reading: &Reading) -> Value {
    let Reading { used, reserved, remaining, resets_in_ms, retry_in_ms } = *reading;
    Value::from([used, reserved, remaining, resets_in_ms, retry_in_ms].as_slice())
}

fn reading(value: &Value) -> Option<Reading> {
    let number = |place: usize| value.get(place)?.as_u64();
    Some(Reading {
        used: number(0)?,
        reserved: number(1)?,
        remaining: number(2)?,
        resets_in_ms: number(3)?,
        retry_in_ms: number(4)?,
    })
}

pub fn readings_to_text(readings: &[Reading]) -> String {
    readings.iter().map(reading_to_json).collect::<Value>().to_string()
}

/// The readings of so many demands.
pub fn readings(text: &str, demands: usize) -> Option<Vec<Reading>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let readings = value.as_array()?.iter().map(reading).collect::<Option<Vec<Reading>>>()?;
    (readings.len() == demands).then_some(readings)
}

/// The counters of each rule that was asked for.
pub fn shown_to_text(rules: &[Vec<Shown>]) -> String {
    let counter = |shown: &Shown| Value::Array(vec![shown.part.as_str().into(), reading_to_json(&shown.reading)]);
    let rule = |counters: &Vec<Shown>| counters.iter().map(counter).collect::<Value>();
    rules.iter().map(rule).collect::<Value>().to_string()
}

pub fn shown(text: &str) -> Option<Vec<Vec<Shown>>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let counter =
        |value: &Value| Some(Shown { part: value.get(0)?.as_str()?.to_owned(), reading: reading(value.get(1)?)? });
    value.as_array()?.iter().map(|rule| rule.as_array()?.iter().map(counter).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demands() -> Vec<Demand> {
        let window = Window { length_ms: 60_000, technique: Technique::Sliding };
        let demand =
            |takes| Demand { rule: "rate/a".into(), part: "\"\\\u{1}é".into(), window, limit: u64::MAX, takes };
        vec![demand(Takes::One), demand(Takes::Later), demand(Takes::Reserve(u64::MAX))]
    }

    #[test]
    fn what_is_said_is_understood() {
        for message in [
            Message::Admit { id: "x".into(), demands: demands() },
            Message::Settle { id: "x".into(), cost: 5, demands: demands(), charges: vec![] },
            Message::Settle {
                id: "x".into(),
                cost: 5,
                demands: demands(),
                charges: vec![
                    Charge { thing: "openai a b".into(), made_at: Some(7), cost: None, meanwhile: 3 },
                    Charge { thing: "openai".into(), made_at: None, cost: Some(9), meanwhile: 0 },
                ],
            },
            Message::Show { demands: demands() },
            Message::Forget,
        ] {
            assert_eq!(Message::parse(&message.to_text()), Some(message));
        }
        let reading = Reading { used: 1, reserved: 2, remaining: u64::MAX, resets_in_ms: 4, retry_in_ms: 5 };
        assert_eq!(readings(&readings_to_text(&[reading]), 1), Some(vec![reading]));
        assert_eq!(readings(&readings_to_text(&[reading]), 2), None);
        let rules = vec![vec![Shown { part: "[\"a\"]".into(), reading }], vec![]];
        assert_eq!(shown(&shown_to_text(&rules)), Some(rules));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_harm(text in "\\PC{0,60}") {
            let _ = (Message::parse(&text), readings(&text, 0), shown(&text));
        }
    }
}
