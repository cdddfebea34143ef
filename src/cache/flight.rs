//! Which questions this isolate has on their way to a provider, so that the same question asked meanwhile can wait for
//! the answer instead of being sent, too. Plain data: no request may touch another's promises or streams.

/// The longest that a request waits for another's answer, in milliseconds.
pub const PATIENCE_MS: u64 = 10_000;

/// How often it looks, in milliseconds.
pub const LOOK_MS: u64 = 15;

/// A question whose request was ended by the platform is forgotten after this, in milliseconds.
const FORGOTTEN_MS: u64 = 120_000;

/// With more on their way no request waits for another.
const MAX_QUESTIONS: usize = 512;

struct Question {
    key: String,
    since: u64,
    /// When the answer was kept, or known not to be.
    done: Option<u64>,
}

/// What to do after the cache had no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the provider, and say when that is done.
    Ask,
    /// Another asks.
    Wait,
    /// Another's answer has come since the cache was looked into.
    LookAgain,
}

#[derive(Default)]
pub struct Flight(Vec<Question>);

impl Flight {
    /// `looked_at` is when the cache was asked.
    pub fn next(&mut self, key: &str, looked_at: u64, now_ms: u64) -> Next {
        self.0.retain(|question| {
            let (age, patience) = match question.done {
                Some(done) => (now_ms.saturating_sub(done), PATIENCE_MS),
                None => (now_ms.saturating_sub(question.since), FORGOTTEN_MS),
            };
            age <= patience
        });
        if let Some(question) = self.0.iter_mut().find(|question| question.key == key) {
            match question.done {
                None => return Next::Wait,
                Some(done) if done >= looked_at => return Next::LookAgain,
                Some(_) => (question.since, question.done) = (now_ms, None),
            }
        } else if self.0.len() < MAX_QUESTIONS {
            self.0.push(Question { key: key.to_owned(), since: now_ms, done: None });
        }
        Next::Ask
    }

    /// Whether a question is still on its way.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|question| question.key == key && question.done.is_none())
    }

    /// The answer is there, or will not be.
    pub fn done(&mut self, key: &str, now_ms: u64) {
        if let Some(question) = self.0.iter_mut().find(|question| question.key == key) {
            question.done = Some(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_and_the_others_wait_for_the_answer() {
        let mut flight = Flight::default();
        assert_eq!(flight.next("a", 0, 1), Next::Ask);
        assert_eq!((flight.next("a", 0, 1), flight.next("b", 0, 1)), (Next::Wait, Next::Ask));
        assert!(flight.has("a"));
        flight.done("a", 5);
        assert!(!flight.has("a") && flight.has("b"));
        // Who had looked before the answer came looks again; who looked afterwards and found nothing asks.
        assert_eq!(flight.next("a", 4, 6), Next::LookAgain);
        assert_eq!(flight.next("a", 6, 7), Next::Ask);
        assert_eq!(flight.next("a", 7, 8), Next::Wait);
    }

    #[test]
    fn a_question_that_nobody_finishes_is_forgotten() {
        let mut flight = Flight::default();
        assert_eq!(flight.next("a", 0, 0), Next::Ask);
        assert_eq!(flight.next("a", 0, FORGOTTEN_MS), Next::Wait);
        assert_eq!(flight.next("a", 0, FORGOTTEN_MS + 1), Next::Ask);
    }

    #[test]
    fn the_list_has_an_end() {
        let mut flight = Flight::default();
        for n in 0..MAX_QUESTIONS * 2 {
            assert_eq!(flight.next(&n.to_string(), 0, 0), Next::Ask);
        }
        assert_eq!(flight.0.len(), MAX_QUESTIONS);
        assert_eq!(flight.next("700", 0, 0), Next::Ask);
    }
}
