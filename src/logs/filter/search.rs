//! The logs that a query string describes: filters, and a search.

use crate::base::fault::Invalid;
use crate::http::query::Query;
use crate::logs::filter::parse;
use crate::logs::filter::sql::Selection;
use crate::logs::filter::terms::Filters;

/// The logs that a query's filters and search describe.
pub fn selection(gateway: i64, query: &Query) -> Result<Selection, Invalid> {
    Ok(searched(gateway, &parse::from_query(query)?, query))
}

/// The logs that filters and a query's search describe.
pub fn searched(gateway: i64, filters: &Filters, query: &Query) -> Selection {
    searched_by(Selection::new(gateway, filters), query)
}

/// A selection with what a query searches for.
pub fn searched_by(mut selection: Selection, query: &Query) -> Selection {
    if let Some(text) = query.get("search").map(str::trim).filter(|text| !text.is_empty()) {
        selection.search(text);
    }
    selection
}
