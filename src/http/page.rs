//! Pages of a list: `page` and `per_page`, with bounds.

use crate::db::store::{Bind, FromRow, Statement, Store, StoreError, row};
use crate::http::envelope::{ApiError, ResultInfo};
use crate::http::params::number;
use crate::http::query::Query;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub page: u64,
    pub per_page: u64,
}

/// No list has more pages. A larger number is read as this one, which is a page past the end as well.
const MAX_PAGE: u64 = 1 << 40;

impl Page {
    /// Reads a page of `per_page` entries (20 where the caller does not say), of which `max` are allowed.
    pub fn parse(query: &Query, max: u64) -> Result<Self, ApiError> {
        let page = number(query, "page", 1, u64::MAX)?.unwrap_or(1);
        let per_page = number(query, "per_page", 1, max)?.unwrap_or(20);
        Ok(Self { page: page.min(MAX_PAGE), per_page })
    }

    pub fn limit(self) -> i64 {
        self.per_page as i64
    }

    pub fn offset(self) -> i64 {
        (self.page - 1).saturating_mul(self.per_page) as i64
    }

    /// Reads the page of a list, and counts the whole: `columns` of what `matching` (a table and its condition) finds.
    pub async fn read<T: FromRow>(
        self,
        store: &impl Store,
        columns: &str,
        matching: &str,
        order: &str,
        mut binds: Vec<Bind>,
    ) -> Result<(Vec<T>, ResultInfo), StoreError> {
        row! {
            struct Count {
                n: u64,
            }
        }
        let count = Statement::new(format!("SELECT count(*) AS n FROM {matching}"), binds.clone());
        let total = store.row::<Count>(count).await?.map_or(0, |count| count.n);
        let (limit, offset) = (binds.len() + 1, binds.len() + 2);
        binds.extend([self.limit().into(), self.offset().into()]);
        let sql = format!("SELECT {columns} FROM {matching} ORDER BY {order} LIMIT ?{limit} OFFSET ?{offset}");
        let rows: Vec<T> = store.rows(Statement::new(sql, binds)).await?;
        let info = self.info(rows.len(), total);
        Ok((rows, info))
    }

    pub fn info(self, count: usize, total_count: u64) -> ResultInfo {
        ResultInfo { count: count as u64, page: self.page, per_page: self.per_page, total_count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_and_named() {
        let parse = |text| Page::parse(&Query::parse(text), 50);
        assert_eq!(parse("").unwrap(), Page { page: 1, per_page: 20 });
        assert_eq!(parse("page=3&per_page=50").unwrap().offset(), 100);
        for wrong in ["per_page=51", "per_page=0", "page=0", "page=-1", "page=x", "page=", "page=99999999999999999999"]
        {
            let error = parse(wrong).unwrap_err();
            let field = wrong.split('=').next().unwrap();
            assert_eq!((error.status, error.code, error.path.last().map(String::as_str)), (400, 7001, Some(field)));
        }
        for far in [MAX_PAGE, u64::MAX] {
            let text = format!("page={far}");
            assert_eq!(Page::parse(&Query::parse(&text), 50).unwrap().page, MAX_PAGE);
        }
    }
}
