//! `/accounts/{account}/ai-gateway/evaluation-types`: what an evaluation can measure.

use crate::base::json::json;
use crate::evaluate::{EvaluationType, TYPES};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::params::chosen;
use crate::http::query::Query;
use serde_json::Value;

const MAX_PER_PAGE: u64 = 50;

/// When the types came into being; they are part of the program.
const SINCE: &str = "2026-11-21T00:00:00.000Z";

/// `GET /accounts/{account}/ai-gateway/evaluation-types`
pub fn list(query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let order = chosen(query, "order_by", &["mandatory", "id", "name", "type"])?;
    let descending = chosen(query, "order_by_direction", &["asc", "desc"])? == "desc";
    // The mandatory ones first, otherwise in the order of the table.
    let key = |known: &EvaluationType| match order {
        "mandatory" => {
            if known.mandatory {
                ""
            } else {
                "optional"
            }
        }
        "id" => known.id,
        "name" => known.name,
        _ => known.kind,
    };
    // Inserted one by one: the standard library's sort, with all its special cases, is 10 KB for twenty entries. Among equals the
    // order stays that of the table in both directions: what comes first has to work without settings.
    let mut types: Vec<&EvaluationType> = Vec::new();
    for known in TYPES {
        let is_before = |other: &&EvaluationType| match descending {
            true => key(other) >= key(known),
            false => key(other) <= key(known),
        };
        types.insert(types.partition_point(is_before), known);
    }
    let shown: Vec<Value> = types
        .iter()
        .skip(page.offset() as usize)
        .take(page.per_page as usize)
        .map(|known| {
            json!({
                "id": known.id,
                "name": known.name,
                "description": known.description,
                "type": known.kind,
                "enable": true,
                "mandatory": known.mandatory,
                "created_at": SINCE,
                "modified_at": SINCE,
            })
        })
        .collect();
    let info = page.info(shown.len(), TYPES.len() as u64);
    Ok(Reply::list(shown, info))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Plan;

    #[test]
    fn the_three_of_the_original_come_first() {
        let ids = |query: &str| -> Vec<String> {
            let reply: Value = serde_json::from_str(&list(&Query::parse(query)).unwrap().body).unwrap();
            reply["result"].as_array().unwrap().iter().map(|kind| kind["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids("per_page=5")[..3], ["cost", "speed", "human_feedback"]);
        assert_eq!(ids("per_page=50").len(), TYPES.len());
        assert!(ids("page=9").is_empty());
        assert_eq!(ids("order_by=id")[0], "answer_matches");
        assert_eq!(ids("order_by=id&order_by_direction=desc&per_page=50").last().unwrap(), "answer_matches");
    }

    #[test]
    fn whichever_comes_first_works_without_settings() {
        for order in ["mandatory", "id", "name", "type"] {
            for direction in ["asc", "desc"] {
                let reply = list(&Query::parse(&format!("order_by={order}&order_by_direction={direction}"))).unwrap();
                let reply: Value = serde_json::from_str(&reply.body).unwrap();
                let asked = json!({ "evaluation_type_ids": [reply["result"][0]["id"]] });
                assert!(Plan::parse(asked.as_object().unwrap()).is_ok(), "{order} {direction}: {asked}");
            }
        }
    }
}
