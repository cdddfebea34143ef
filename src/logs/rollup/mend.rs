//! Rows of `tallies` that cannot be added up. One of them would keep all others from it, for every gateway: what can be
//! made out of it is, and the rest is put aside.

use crate::db::put_aside::{self, TALLIES};
use crate::db::store::{Statement, Store, StoreError, row};
use crate::logs::rollup::STATUSES;
use crate::logs::rollup::figures::LENGTH;
use serde_json::Value;

/// Rows that are read at once. Each may have some hundred kilobytes.
const AT_ONCE: usize = 20;

/// What stands before the figures: gateway, time, provider and model.
const KEYS: usize = 4;

row! {
    struct Left {
        id: String,
        tallies: String,
    }
}

/// Looks through the first rows, which could not be added up. Returns how many it has mended or put aside.
pub async fn mend(store: &impl Store, first: usize, now_ms: u64) -> Result<u64, StoreError> {
    let (mut changed, mut seen, mut after) = (0, 0, String::new());
    while seen < first {
        let page = "SELECT id, tallies FROM tallies WHERE id > ?1 ORDER BY id LIMIT ?2";
        let page = Statement::new(page, [after.as_str().into(), (AT_ONCE as i64).into()]);
        let (rows, others) = store.readable::<Left>(page).await?;
        changed += others.len() as u64;
        put_aside::unreadable(store, TALLIES, &others, now_ms).await?;
        let count = rows.len();
        for Left { id, tallies } in rows {
            if let Err(reason) = check(&tallies) {
                let whole = filled(&tallies);
                let statements = match check(&whole) {
                    Ok(()) => vec![Statement::new(
                        "UPDATE tallies SET tallies = ?2 WHERE id = ?1",
                        [id.as_str().into(), whole.into()],
                    )],
                    Err(_) => put_aside::moved(TALLIES, &id, &reason, &tallies, now_ms),
                };
                store.batch(statements).await?;
                changed += 1;
            }
            after = id;
        }
        seen += AT_ONCE;
        if count < AT_ONCE {
            break;
        }
    }
    Ok(changed)
}

/// Whether a text is what [`super::Tally::json`] writes.
fn check(text: &str) -> Result<(), String> {
    let rows: Vec<Vec<Value>> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let fault = |row: &Vec<Value>| {
        let (keys, figures) = row.split_at_checked(KEYS)?;
        let [gateway, time, provider, model] = keys else { return None };
        let named = gateway.is_i64() && time.is_u64() && provider.is_string() && model.is_string();
        (named && figures.len() <= LENGTH + STATUSES && figures.iter().all(Value::is_number)).then_some(())
    };
    match rows.iter().position(|row| fault(row).is_none()) {
        Some(place) => Err(format!("its row {place} is not of gateway, time, provider, model and figures")),
        None => Ok(()),
    }
}

/// A text with 0 where nothing stands for a figure: an older version wrote an infinity like that.
fn filled(text: &str) -> String {
    let mut whole = String::with_capacity(text.len() + 8);
    let (mut in_string, mut escaped, mut is_open) = (false, false, false);
    for char in text.chars() {
        if in_string {
            (in_string, escaped) = (escaped || char != '"', char == '\\' && !escaped);
        } else {
            if matches!(char, ',' | ']') && is_open {
                whole.push('0');
            }
            in_string = char == '"';
            if !char.is_ascii_whitespace() {
                is_open = char == ',';
            }
        }
        whole.push(char);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_for_an_infinity_is_nothing() {
        for (given, wanted) in [
            (r#"[[1,2,"a","b",3,,4]]"#, r#"[[1,2,"a","b",3,0,4]]"#),
            (r#"[[1,2,"a,,b","\",,]",3,,],[1,2,"a","",,]]"#, r#"[[1,2,"a,,b","\",,]",3,0,0],[1,2,"a","",0,0]]"#),
            ("[]", "[]"),
        ] {
            assert_eq!(filled(given), wanted);
            assert_eq!(check(wanted), Ok(()), "{wanted}");
        }
        for other in ["", "x", "{}", "[5]", "[[1,2,3,4]]", r#"[[null,2,"a","b"]]"#, r#"[[1,2,"a","b","5"]]"#] {
            assert!(check(other).is_err() && check(&filled(other)).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_whole_stays_as_it_is(model in "\\PC{0,20}", figures in prop::collection::vec(any::<f64>(), 0..LENGTH)) {
            let mut row = vec![Value::from(1), Value::from(2), Value::from("openai"), Value::from(model)];
            row.extend(figures.into_iter().filter(|figure| figure.is_finite()).map(Value::from));
            let text = Value::from(vec![Value::from(row)]).to_string();
            prop_assert_eq!(filled(&text), text.as_str());
            prop_assert_eq!(check(&text), Ok(()));
        }

        #[test]
        fn any_text_is_looked_at_without_harm(text in "\\PC{0,60}") {
            let _ = check(&filled(&text));
        }
    }
}
