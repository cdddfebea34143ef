//! What budgets are charged for a request. That is not always what its row says it cost: a caller without a token may say of its
//! own row what it likes, but not of a budget that many share.

use crate::limit::spend;

/// What is known of the cost of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charge {
    /// By prices, as if the caller had said nothing.
    pub priced: Option<f64>,
    /// By a caller who may be believed.
    pub said: Option<f64>,
}

// === impl Charge ===

impl Charge {
    /// What it comes to. `unsaid` is what the request may have cost where prices do not say it. Where money is set aside
    /// (`reserves`) what a caller says may raise the amount, but not lower it.
    pub fn amount(&self, unsaid: Option<u64>, reserves: bool) -> u64 {
        let priced = self.priced.map(spend::from_dollars).or(unsaid).unwrap_or(0);
        match self.said.map(spend::from_dollars) {
            None => priced,
            Some(said) if reserves => said.max(priced),
            Some(said) => said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_believed_but_not_below_the_price_where_money_is_set_aside() {
        let amount = |priced, said, unsaid: Option<f64>, reserves| {
            let amount = Charge { priced, said }.amount(unsaid.map(spend::from_dollars), reserves);
            spend::dollars(amount)
        };
        for (priced, said, unsaid, freely, with_reserve) in [
            (Some(2.0), None, None, 2.0, 2.0),
            (None, None, None, 0.0, 0.0),
            (None, None, Some(3.0), 3.0, 3.0),
            (Some(2.0), Some(0.0), None, 0.0, 2.0),
            (Some(2.0), Some(5.0), None, 5.0, 5.0),
            (None, Some(1.0), Some(3.0), 1.0, 3.0),
            (None, Some(1.0), None, 1.0, 1.0),
        ] {
            assert_eq!(
                (amount(priced, said, unsaid, false), amount(priced, said, unsaid, true)),
                (freely, with_reserve)
            );
        }
    }
}
