//! Numbers in texts, by the means of serde_json, which is in the Worker anyway. The standard library's own reading and
//! writing of floating point would add 20 KB.

use serde_json::Number;

/// A number that is one. SQL and JSON know no other: an infinity that comes into a sum that many share stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finite(f64);

// === impl Finite ===

impl Finite {
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// A number as JSON writes it.
pub fn parse(text: &str) -> Option<f64> {
    serde_json::from_str::<f64>(text).ok().filter(|number| number.is_finite())
}

/// The shortest text that is read back as this number; whole numbers have no point. What is no number is `null`, so that
/// JSON stays JSON.
pub fn text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return (number as i64).to_string();
    }
    Number::from_f64(number).map_or_else(|| "null".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_json_calls_a_number_is_one() {
        for (written, number) in [("5", 5.0), ("-0.25", -0.25), ("1e3", 1_000.0)] {
            assert_eq!(parse(written), Some(number));
        }
        for other in ["", "x", "NaN", "inf", "007", "5 apples", "1e999", "+1", "null", "\"5\""] {
            assert_eq!(parse(other), None, "{other}");
        }
        for none in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!((text(none).as_str(), Finite::new(none)), ("null", None));
        }
        assert_eq!((text(75.0), text(-0.5), text(0.1)), ("75".to_owned(), "-0.5".to_owned(), "0.1".to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(number in -1e12f64..1e12) {
            prop_assert!((parse(&text(number)).unwrap() - number).abs() <= number.abs() * 1e-15);
        }

        #[test]
        fn whatever_is_written_is_json(bits: u64) {
            let number = f64::from_bits(bits);
            let read: serde_json::Value = serde_json::from_str(&text(number)).unwrap();
            prop_assert_eq!(read.is_null(), !number.is_finite());
            prop_assert_eq!(Finite::new(number).map(Finite::get), number.is_finite().then_some(number));
        }
    }
}
